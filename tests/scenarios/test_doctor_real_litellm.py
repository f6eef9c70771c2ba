"""Faults of its files that the real LiteLLM starts with: found, and mended as doctor says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.secret import Secret
from support import labs
from support.labs import CliLab, stopped_after
from support.litellm import Upstream, real_litellm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
STALE = "sk-test-of-yesterday-0123456789abcdef0123456789"
MORE = """
[backends.mock]
kind = "openai-compatible"
url = "http://127.0.0.1:{port}/v1"
[[models]]
alias = "qwen"
backend = "mock"
"""
# Written by hand below our own: a model whose key nobody has set, a fallback to nothing.
BY_HAND = """
  - model_name: unset
    litellm_params:
      {{model: openai/x, api_base: "http://127.0.0.1:{port}/v1", api_key: os.environ/NOT_SET}}
router_settings: {{fallbacks: [{{unset: [gone]}}]}}
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliLab]:
    base = tmp_path_factory.mktemp("faults")
    home = base / "home"
    home.mkdir(mode=0o700)
    upstream = Upstream(base)
    made = labs.make(base, home, write=False)
    made.wrapper = real_litellm()
    made.write(more=MORE.format(port=upstream.port))
    try:
        with stopped_after(made):
            made.ok("bootstrap", str(made.root))
            yield made
    finally:
        upstream.stop()


def bad(lab: CliLab) -> dict[str, dict[str, Any]]:
    """Return what doctor warns of, by code; that the backend lists no models is known."""
    rows = lab.call("doctor", "--json").json["findings"]
    assert lab.key not in "".join(lab.said)
    worse = (row for row in rows if row["severity"] in ("warning", "error"))
    return {row["code"]: row for row in worse if row["code"] != "KT502"}


def plant(lab: CliLab) -> None:
    """Edit the gateway's files as a hand does, and have it run with them."""
    config = Path(lab.places.litellm, "config.yaml")
    text, _, _ = config.read_text().partition("general_settings:")
    assert "drop_params: true" in text
    text = text.replace("drop_params: true", "drop_params: false")
    port = lab.file.read_text().partition("http://127.0.0.1:")[2].partition("/")[0]
    head, _, rest = text.partition("model_list:\n")
    models, routing = BY_HAND.format(port=port).split("router_settings")
    config.write_text(f"{head}model_list:{models}{rest}router_settings{routing}")
    lab.env_file.write_text(f"export LITELLM_MASTER_KEY={STALE}\n")
    lab.call("service", "restart")


def test_what_a_hand_wrote_wrong_is_found_and_one_command_mends_it(lab: CliLab) -> None:
    assert bad(lab) == {}
    gateway, key = HttpGateway(f"http://127.0.0.1:{lab.port}"), Secret(lab.key)
    plant(lab)
    assert gateway.models(None).status == 200, "LiteLLM is closed without a master key now"
    assert gateway.complete(key, "unset").status == 500
    found = bad(lab)
    assert {"KT301", "KT311", "KT313", "KT318", "KT406"} <= found.keys()
    assert found["KT301"]["severity"] == "error"
    assert "NOT_SET" in found["KT311"]["seen"]
    assert "gone" in found["KT313"]["seen"]
    assert found["KT301"]["command"] == "keyturn service stop && keyturn apply"
    lab.ok("service", "stop")
    assert "keyturn apply --force" in lab.call("apply").error["fix"]
    assert {found[code]["command"] for code in ("KT313", "KT318", "KT406")} == {
        "keyturn apply --force"
    }
    lab.ok("apply", "--force")
    assert (gateway.models(None).status, gateway.models(key).status) == (401, 200)
    assert gateway.complete(key, "qwen").status == 200
    assert bad(lab) == {}
