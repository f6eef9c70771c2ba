"""Who only does what doctor says gets from faults that were planted in a lab back to green.

Once with a gateway that starts at once, and once, among the slow tests, with the real LiteLLM.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootstrap.adapters.supervisor_state import LOG_FILE
from support import homes, labs
from support.doctor import by_hand, legacy_entry
from support.labs import MASTER, CliLab, stopped_after
from support.litellm import real_litellm
from support.sops_lab import REAL_SOPS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
STALE = "sk-test-of-yesterday-0123456789abcdef0123456789"
WEAK = "sk-test-weak"
MORE = """\
[backends.mock]
kind = "openai-compatible"
url = "http://127.0.0.1:9/v1"
[[models]]
alias = "qwen"
backend = "mock"
"""


@pytest.fixture(scope="module", params=["light", pytest.param("litellm", marks=pytest.mark.slow)])
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CliLab]:
    base = tmp_path_factory.mktemp("followed")
    home = base / "home"
    home.mkdir(mode=0o700)
    made = labs.make(base, home, write=False)
    if request.param == "litellm":
        made.wrapper = real_litellm()
    made.write(more=MORE)
    with stopped_after(made):
        made.ok("bootstrap", str(made.root))
        yield made


def bad(lab: CliLab) -> dict[str, dict[str, Any]]:
    """Return what doctor warns of, by code; that nobody is at the made-up backend is known."""
    rows = lab.call("doctor", "--json").json["findings"]
    assert lab.key not in "".join(lab.said)
    worse = (row for row in rows if row["severity"] in ("warning", "error"))
    return {row["code"]: row for row in worse if row["code"] != "KT501"}


def follow(lab: CliLab, codes: set[str], command: str) -> None:
    """See these faults found, do what is said about each, and see nothing left."""
    found = bad(lab)
    assert codes <= found.keys(), found.keys()
    assert {found[code]["command"] for code in codes} == {command}, found
    assert command.startswith("keyturn ")
    lab.ok(*command.split()[1:])
    assert bad(lab) == {}


def entry(lab: CliLab, **changes: object) -> dict[str, object]:
    url = f"http://127.0.0.1:{lab.port}/v1"
    return by_hand(**{"baseUrl": url, "apiKey": lab.key, **changes})


def test_a_fresh_lab_is_green(lab: CliLab) -> None:
    assert bad(lab) == {}


def test_one_apply_mends_all_that_droid_was_given_by_hand(lab: CliLab) -> None:
    document = json.loads(lab.settings.read_text())
    document["customModels"] += [
        entry(lab, apiKey="env:LITELLM_MASTER_KEY", displayName="a"),
        entry(lab, apiKey="${LITELLM_MASTER_KEY}", displayName="b"),
        entry(lab, apiKey=f" {lab.key}", displayName="c"),
        entry(lab, apiKey="YOUR_API_KEY", displayName="d"),
        entry(lab, apiKey=None, displayName="e"),
        entry(lab, apiKey=STALE, displayName="f"),
        entry(lab, baseUrl="http://localhost:4999/v1", displayName="g"),
    ]
    lab.settings.write_text(json.dumps(document, indent=2))
    old = legacy_entry(base_url=f"http://127.0.0.1:{lab.port}/v1/", api_key=STALE)
    legacy = lab.settings.with_name("config.json")
    legacy.write_text(json.dumps({"custom_models": [old]}))
    legacy.chmod(0o600)
    wanted = {"KT103", "KT107", "KT109", "KT116", "KT118", "KT119", "KT122", "KT125"}
    found = bad(lab)
    assert {found[code]["command"] for code in wanted} == {"keyturn apply"}
    lab.ok("apply")
    # An address elsewhere may be meant, so that only doctor changes it.
    follow(lab, {"KT106"}, "keyturn doctor --fix KT106")


def test_an_entry_that_keyturn_made_and_somebody_edited_is_put_right(lab: CliLab) -> None:
    document = json.loads(lab.settings.read_text())
    models = document["customModels"]
    ours, echo = (next(m for m in models if m["model"] == n) for n in ("qwen", "lab-echo"))
    ours["apiKey"] = STALE
    lab.settings.write_text(json.dumps(document, indent=2))
    follow(lab, {"KT107"}, "keyturn doctor --fix KT107")
    del ours["apiKey"], echo["provider"]
    lab.settings.write_text(json.dumps(document, indent=2))
    follow(lab, {"KT103"}, "keyturn apply --force")


def test_files_of_the_gateway_that_were_edited_are_written_anew(lab: CliLab) -> None:
    config = Path(lab.places.litellm, "config.yaml")
    text = config.read_text()
    for old, new in (
        ("drop_params: true", "drop_params: false"),
        ("os.environ/KEYTURN_INTERNAL_KEY", STALE),
    ):
        assert old in text
        text = text.replace(old, new)
    config.write_text(text + "router_settings: {default_fallbacks: [gone]}\n")
    lab.env_file.write_text(f"export {MASTER}={STALE}\n")
    service = lab.state / "service.json"
    service.write_text(service.read_text() + " \n")
    codes = {"KT309", "KT312", "KT313", "KT318", "KT406"}
    follow(lab, codes, "keyturn apply --force")
    config.write_text("a: [")
    follow(lab, {"KT320"}, "keyturn apply --force")


def test_a_gateway_that_was_stopped_is_started(lab: CliLab) -> None:
    lab.service.stop()
    follow(lab, {"KT304"}, "keyturn apply")


def test_a_gateway_that_is_older_than_its_files_is_restarted(lab: CliLab) -> None:
    env = Path(lab.places.gateway_env)
    kept = env.read_text()
    now = env.stat().st_mtime + 60
    env.write_text(re.sub(r"(KEYTURN_INTERNAL_KEY='?)sk-", r"\1sk-test-other-", kept))
    os.utime(env, (now, now))
    found = bad(lab)
    assert {"KT306", "KT307"} <= found.keys()
    assert found["KT306"]["command"] == found["KT307"]["command"] == "keyturn service restart"
    lab.ok("service", "restart")
    assert "KT307" not in bad(lab)
    env.write_text(kept)
    lab.ok("service", "restart")
    assert bad(lab) == {}


def put(lab: CliLab, value: str) -> None:
    """Change the master key in the store as somebody does who does not know of keyturn."""
    subprocess.run(
        [REAL_SOPS, "set", "--value-stdin", lab.store, f'["{MASTER}"]'],
        input=json.dumps(value).encode(),
        env=homes.environment(lab.home),
        cwd=lab.root,
        check=True,
    )


def test_a_key_that_was_changed_in_the_store_is_put_in_force(lab: CliLab) -> None:
    put(lab, STALE)
    follow(lab, {"KT302", "KT107"}, "keyturn apply")
    assert lab.key == STALE


def test_a_key_in_the_log_is_one_to_replace(lab: CliLab) -> None:
    old = lab.key
    with (lab.state / LOG_FILE).open("a") as log:
        log.write(f"POST /v1/models Bearer {old}\n")
    row = bad(lab)["KT317"]
    assert (row["severity"], "keyturn rotate" in row["mend"]) == ("error", True)
    lab.ok("rotate")
    assert bad(lab) == {}
    assert old not in "".join(lab.said)


def test_a_weak_key_is_replaced(lab: CliLab) -> None:
    put(lab, WEAK)
    lab.call("apply")
    found = bad(lab)
    assert found["KT303"]["command"] == "keyturn rotate"
    done = lab.call("rotate")
    assert (done.code, bad(lab)) == (0, {}), done.err
    assert lab.key != WEAK
