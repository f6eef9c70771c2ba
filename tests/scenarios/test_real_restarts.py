"""The real LiteLLM under load: a new configuration, new keys; nothing refused, nothing cut off."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.adapters.listeners import LocalPorts
from support.labs import CliLab
from support.load import Retired, key_in, load_on
from support.real_labs import MODEL, STREAM_S, RealLab, real_lab
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(450)]


def rotate_only(real: RealLab) -> None:
    """Rotate without a restart: that of this kind was just seen."""
    rotate_under_load(real.lab, (), ())


def rotate_all_ways(real: RealLab) -> None:
    """Rotate, also with a restart, and then the key of a provider."""
    rotate_under_load(real.lab, (), (), ("--restart",))
    real.rotate_provider_key()


@pytest.mark.parametrize(
    ("kind", "then"),
    [("supervisor", rotate_all_ways), ("systemd", rotate_only)],
    ids=["supervisor, then all rotations", "systemd"],
)
def test_an_apply_and_rotations_lose_nothing(
    kind: str, then: Callable[[RealLab], None], tmp_path: Path, home: Path
) -> None:
    with real_lab(tmp_path, home, kind) as real:
        lab, pid = real.lab, real.lab.pid
        real.change()
        with load_on(lab.port, lab.key, MODEL) as load:
            ran = lab.ok("apply")
        assert "a second one serves meanwhile" in ran.err
        assert lab.pid != pid
        assert load.lost == 0, load.problems()
        assert load.kept.resets == 0
        assert load.streams.longest_s >= STREAM_S
        assert load.fresh.sent > 100
        then(real)
        lab.ok("check")
        see_with_doctor(lab)
    assert LocalPorts().listener(lab.port) is None


def see_with_doctor(lab: CliLab) -> None:
    """See that doctor finds nothing in this lab, and what LiteLLM itself would not say."""
    assert worse(lab) == {}
    config = Path(lab.places.litellm, "config.yaml")
    kept = config.read_text()
    assert f'model_name: "{MODEL}"' in kept
    odd = "model_list:\n  - {model_name: odd, litellm_params: {model: olama/x}}\n"
    text = kept.replace("model_list:\n", odd, 1)
    config.write_text(f"{text}router_settings: {{default_fallbacks: [gone]}}\n")
    found = worse(lab)
    config.write_text(kept)
    # Both are errors: the providers are known from the LiteLLM that is installed.
    assert {code: found[code] for code in ("KT313", "KT314")} == {
        "KT313": "error",
        "KT314": "error",
    }
    assert "KT306" in found


def worse(lab: CliLab) -> dict[str, str]:
    """Return what doctor warns of, by code, but for the backend, which is none of LiteLLM's."""
    rows = lab.call("doctor", "--json").json["findings"]
    assert lab.key not in "".join(lab.said)
    bad = (row for row in rows if row["severity"] in ("warning", "error"))
    return {row["code"]: row["severity"] for row in bad if not row["code"].startswith("KT5")}


def rotate_under_load(lab: CliLab, *rotations: tuple[str, ...]) -> None:
    """Rotate with each of the options; clients that read their settings again lose nothing."""
    with Retired(lab.port) as retired, load_on(lab.port, key_in(lab.settings), MODEL) as load:
        for options in rotations:
            pid, old = lab.pid, lab.key
            lab.ok("rotate", *options)
            retired.add(old)
            assert (lab.pid != pid) == ("--restart" in options)
        until(lambda: retired.refused > len(rotations))
    assert load.lost == 0, load.problems()
    assert load.kept.resets == 0
    assert load.streams.longest_s >= STREAM_S
    assert (retired.accepted, retired.problems) == (0, [])
