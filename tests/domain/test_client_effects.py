"""What a rotation asks of each client follows from what the lab renders for it."""

from pathlib import PurePath

import pytest

from bootstrap.domain.client_effects import Effort, effects
from bootstrap.domain.labfile import parse_lab

ROOT = PurePath("/srv/lab")


def efforts(text: str) -> dict[str, Effort]:
    lab = parse_lab("version = 1\n" + text, ROOT)
    return {effect.client: effect.effort for effect in effects(lab, "keyturn")}


def test_a_usual_lab() -> None:
    assert efforts("") == {
        "droid": Effort.NOTHING,
        "droid --settings": Effort.RESTART,
        "exec --client": Effort.NOTHING,
        "Claude Code": Effort.RESTART,
        "Open WebUI": Effort.NEW_KEY,
        "shell, direnv": Effort.NOTHING,
        "other shells": Effort.NEXT_LOGIN,
        "CI": Effort.NEW_KEY,
    }


def test_targets_that_are_switched_off_need_nothing() -> None:
    off = "droid_settings = false\ndroid_overlay = false\nenvrc = false\ndroid_key_helper = true\n"
    found = efforts(f'[gateway]\nauth = "master-key"\n[targets]\n{off}')
    assert {"droid", "droid --settings", "shell, direnv", "exec --client"} & set(found) == set()
    assert found["droid, key helper"] is Effort.NOTHING


def test_programs_with_a_file_of_ones_own_may_have_to_start_again() -> None:
    found = efforts('[[files]]\npath = "~/tool.env"\ntemplate = "tool.env.j2"\n')
    assert found["[[files]]"] is Effort.RESTART


def test_clients_that_no_model_is_for_are_left_out() -> None:
    model = '[[models]]\nalias = "a"\nbackend = "echo"\nclients = ["droid"]\n'
    found = efforts(f"echo = false\n{model}")
    assert "Claude Code" not in found
    assert "Open WebUI" not in found
    assert "droid" in found


def test_a_client_with_a_key_of_its_own_is_asked_for_nothing_unless_that_was_rotated() -> None:
    lab = parse_lab("version = 1\nclient_keys = true\n", ROOT)
    master = {e.client: e.effort for e in effects(lab, "keyturn")}
    assert master == {
        **dict.fromkeys(("claude", "droid", "openai", "openwebui"), Effort.NOTHING),
        "exec --client": Effort.NOTHING,
        "shell, direnv": Effort.NOTHING,
        "other shells": Effort.NEXT_LOGIN,
        "CI": Effort.NEW_KEY,
    }
    droid = effects(lab, "keyturn", ["KEYTURN_CLIENT_KEY_DROID"])
    assert [(e.client, e.effort) for e in droid] == [
        ("droid", Effort.NOTHING),
        ("droid --settings", Effort.RESTART),
    ]
    others = ["KEYTURN_CLIENT_KEY_CLAUDE", "KEYTURN_CLIENT_KEY_OPENWEBUI"]
    assert [(e.client, e.effort) for e in effects(lab, "keyturn", others)] == [
        ("claude", Effort.RESTART),
        ("Open WebUI", Effort.NEW_KEY),
    ]
    assert effects(lab, "keyturn", ["OPENAI_API_KEY"]) == ()


def test_a_client_without_models_has_no_key_and_needs_nothing() -> None:
    model = '[[models]]\nalias = "a"\nbackend = "echo"\nclients = ["droid"]\n'
    lab = parse_lab(f"version = 1\necho = false\nclient_keys = true\n{model}", ROOT)
    assert {"claude", "openwebui"} & {e.client for e in effects(lab, "keyturn")} == set()


@pytest.mark.parametrize(
    ("config", "effort", "words"),
    [
        ("~/.config/lab-secrets/openwebui.env", Effort.RESTART, "reads openwebui.env when it"),
        ("~/open-webui/webui.db", Effort.NEW_KEY, "enter it: keyturn get"),
        ("~/open-webui/openwebui.env", Effort.NEW_KEY, "enter it: keyturn get"),
    ],
)
@pytest.mark.parametrize("own", ["false", "true"])
def test_open_webui_is_restarted_only_where_it_obeys_its_env_file(
    config: str, effort: Effort, words: str, own: str
) -> None:
    text = f'version = 1\nclient_keys = {own}\n[clients.openwebui]\nconfig = "{config}"\n'
    on = parse_lab(f"{text}set_up = true\n", ROOT)
    names = [on.key_name("openwebui")]
    (found,) = [e for e in effects(on, "keyturn", names) if e.client == "Open WebUI"]
    assert (found.effort, words in found.words) == (effort, True)
    off = effects(parse_lab(text, ROOT), "keyturn", names)
    assert [e.effort for e in off if e.client == "Open WebUI"] == [Effort.NEW_KEY]
