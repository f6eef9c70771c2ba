"""What each client has to do next, in words that work when pasted."""

import shlex
from pathlib import PurePath

from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.next_steps import next_steps
from bootstrap.domain.places import Places

PLACES = Places(*(PurePath(f"/home/me{part}") for part in ("", "/.config", "/s", "/c", "/f")))


def steps(lab_text: str) -> dict[str, str]:
    """Return what to do, by client."""
    lab = parse_lab(lab_text, PurePath("/home/me/lab"))
    return dict(next_steps(lab, PLACES, "/usr/bin/keyturn"))


def test_each_client_that_the_lab_serves_gets_its_words() -> None:
    found = steps("[gateway]\nport = 4123\n")
    assert list(found) == ["droid", "Claude Code", "Open WebUI", "shell", "CI"]
    assert "custom:lab-echo" in found["droid"]
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:4123 " in found["Claude Code"]
    assert '"$(/usr/bin/keyturn get LITELLM_MASTER_KEY)"' in found["Claude Code"]
    assert "http://127.0.0.1:4123/v1" in found["Open WebUI"]
    assert found["shell"] == "cd /home/me/lab && direnv allow"


def test_clients_that_no_model_is_for_and_targets_that_are_off_get_none() -> None:
    found = steps(
        "echo = false\n[targets]\nenvrc = false\ndroid_key_helper = true\n"
        '[backends.ollama]\nkind = "ollama"\n'
        '[[models]]\nalias = "m"\nbackend = "ollama"\nclients = ["openwebui"]\n'
    )
    assert list(found) == ["Open WebUI", "CI", "droid without a key on disk"]
    assert found["droid without a key on disk"].endswith(
        "/home/me/.config/keyturn/droid-managed.json"
    )


def test_paths_with_spaces_stay_one_word() -> None:
    lab = parse_lab("[targets]\ndroid_key_helper = true\n", PurePath("/home/me/my lab"))
    home = PurePath("/home/m e")
    places = Places(home, home / ".config", home / "s", home / "c", home / "f")
    found = dict(next_steps(lab, places, "'/opt/my tools/keyturn'"))
    assert "$('/opt/my tools/keyturn' get LITELLM_MASTER_KEY)" in found["Claude Code"]
    assert found["shell"] == "cd '/home/me/my lab' && direnv allow"
    helper = found["droid without a key on disk"]
    assert shlex.split(helper)[1] == (
        "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH=/home/m e/.config/keyturn/droid-managed.json"
    )


def test_a_lab_that_is_not_the_registered_one_is_named() -> None:
    lab = parse_lab("", PurePath("/home/me/lab"))
    found = dict(next_steps(lab, PLACES, "keyturn --lab /home/me/lab"))
    assert '"$(keyturn --lab /home/me/lab get LITELLM_MASTER_KEY)"' in found["Claude Code"]


def test_droid_gets_none_where_its_settings_are_left_alone() -> None:
    assert "droid" not in steps("[targets]\ndroid_settings = false\n")
