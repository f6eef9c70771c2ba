"""A rendered file that its reader would refuse is refused before anything is written."""

from pathlib import Path, PurePath

import pytest

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.targets import ENV_FILE, GATEWAY_ENV, Target, targets
from bootstrap.domain.validate import validate
from support.fakes import make_places

LAB = parse_lab("version = 1", PurePath("/lab"))
MASTER = "LITELLM_MASTER_KEY"
CONFIG = """
model_list:
  - {model_name: lab-echo, litellm_params: {model: openai/lab-echo}}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
"""
UNIT = "[Service]\nExecStart=/bin/true\n"
ENTRY = (
    '{"model": "m", "id": "custom:keyturn-m", "displayName": "m", "baseUrl": "http://h:1/v1", '
    '"apiKey": "k", "provider": "generic-chat-completion-api", "maxOutputTokens": 1}'
)


def check_it(check: str, data: str | bytes) -> None:
    """Validate the data as a target with that check."""
    target = Target("it", PurePath("/home/me/it"), "folder/it.j2", check)
    raw = data.encode() if isinstance(data, str) else data
    validate(target, raw, LAB, frozenset({MASTER}))


@pytest.mark.parametrize(
    ("check", "data"),
    [
        ("litellm", CONFIG),
        ("json", '{"a": 1}'),
        ("python", "x = 1\n"),
        ("env", "# c\nA=b\n"),
        ("unit", UNIT),
        ("droid", f'{{"customModels": [{ENTRY}]}}'),
        ("shell", "true\n"),
    ],
)
def test_what_its_reader_takes_passes(check: str, data: str) -> None:
    check_it(check, data)


@pytest.mark.parametrize(
    ("check", "data", "why"),
    [
        ("litellm", "model_list: []", "model_list lacks lab-echo"),
        ("litellm", CONFIG.replace(MASTER, "OTHER"), "it refers to a variable"),
        ("json", '{"a":\nsk-test', "not JSON: line 2"),
        ("json", b"\xff\xfe\xfd", "not JSON: encoding"),
        ("python", "x =\n", "not Python: line 1"),
        ("python", "x = '\0'", "not Python: line"),
        ("env", "A=b\nA=c\n", "line 2: A is set again"),
        ("env", "export A=sk-test", "line 1: begins with 'export'"),
        ("unit", "[Service]\n", "it lacks ExecStart="),
        ("unit", "", "it lacks [Service], ExecStart="),
        ("droid", '{"customModels": [sk-test', "line 1"),
        ("droid", f'{{"customModels": [{ENTRY.replace("/v1", "")}]}}', "customModels[0]: baseUrl"),
        ("shell", "true", "it does not end with a newline"),
    ],
)
def test_what_its_reader_would_refuse_is_explained_without_quoting_it(
    check: str, data: str | bytes, why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_it(check, data)
    assert caught.value.what == "/home/me/it would not work"
    assert caught.value.fix == "edit templates/folder/it.j2 of the lab"
    assert why in caught.value.why
    assert "sk-test" not in caught.value.why


@pytest.mark.parametrize("kind", ["systemd", "supervisor"])
def test_every_rendered_target_has_a_check(
    tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    lab = parse_lab("version = 1\n[targets]\ndroid_key_helper = true\n", PurePath("/lab"))
    for target in targets(lab, make_places(tmp_path_factory.mktemp("home")), kind):
        if target.template is not None:
            with pytest.raises(ConfigError):
                validate(target, b"\x00{", lab, frozenset())


def test_an_env_file_without_its_key_is_refused() -> None:
    found = {target.name: target for target in targets(LAB, make_places(Path("/h")), "systemd")}
    for name, key in ((ENV_FILE, MASTER), (GATEWAY_ENV, "KEYTURN_INTERNAL_KEY")):
        validate(found[name], f"{key}=x\n".encode(), LAB, frozenset())
        for data in (b"", b"# mine\n", f"# {key}=x\n".encode()):
            with pytest.raises(ConfigError) as caught:
                validate(found[name], data, LAB, frozenset())
            assert caught.value.why == f"it lacks {key}="
