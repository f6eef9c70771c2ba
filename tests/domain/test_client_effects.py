"""What a rotation asks of each client follows from what the lab renders for it."""

from pathlib import PurePath

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
        "OpenWebUI": Effort.NEW_KEY,
        "shell, direnv": Effort.NOTHING,
        "other shells": Effort.NEXT_LOGIN,
        "CI": Effort.NEW_KEY,
    }


def test_targets_that_are_switched_off_need_nothing() -> None:
    off = "droid_settings = false\ndroid_overlay = false\nenvrc = false\ndroid_key_helper = true\n"
    found = efforts(f'[gateway]\nauth = "master-key"\n[targets]\n{off}')
    assert {"droid", "droid --settings", "shell, direnv", "exec --client"} & set(found) == set()
    assert found["droid, key helper"] is Effort.NOTHING


def test_clients_that_no_model_is_for_are_left_out() -> None:
    model = '[[models]]\nalias = "a"\nbackend = "echo"\nclients = ["droid"]\n'
    found = efforts(f"echo = false\n{model}")
    assert "Claude Code" not in found
    assert "OpenWebUI" not in found
    assert "droid" in found
