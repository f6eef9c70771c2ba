"""`[[files]]`: files of the user's own that hold a key."""

from pathlib import PurePath

import pytest

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.places import Places
from bootstrap.domain.targets import Target, targets

HOME = PurePath("/home/me")
PLACES = Places(HOME, HOME / ".config", HOME / ".state", HOME / ".cache", HOME / ".factory")
ROW = '[[files]]\npath = "{path}"\ntemplate = "{template}"\n'


def extra(path: str, template: str = "tool.env.j2", *, rows: int = 1) -> list[Target]:
    row = ROW.format(path=path, template=template)
    lab = parse_lab("version = 1\n" + row * rows, PurePath("/labs/mine"))
    return [target for target in targets(lab, PLACES, "systemd") if target.template == template]


@pytest.mark.parametrize(
    ("path", "place", "check"),
    [
        ("~/.config/tool/tool.env", HOME / ".config/tool/tool.env", "env"),
        ("/srv/tool/settings.json", PurePath("/srv/tool/settings.json"), "json"),
        ("~/.toolrc", HOME / ".toolrc", "text"),
    ],
)
def test_a_file_is_a_private_target_that_restarts_nothing(
    path: str, place: PurePath, check: str
) -> None:
    (target,) = extra(path)
    assert (target.path, target.check, target.mode) == (place, check, 0o600)
    assert target.touches.value == "nothing"


@pytest.mark.parametrize(
    "path", ["tool.env", "~other/tool.env", "/srv/../etc/tool", "~/a//b", "~/", "/srv/a\\nb"]
)
def test_a_path_that_does_not_say_where_it_leads_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"files\[0\]\.path") as caught:
        extra(path)
    assert "without '.', '..', '//'" in caught.value.why


@pytest.mark.parametrize("template", ["/etc/passwd", "../outside.j2", "a//b"])
def test_a_template_is_one_of_the_labs(template: str) -> None:
    with pytest.raises(ConfigError, match=r"files\[0\]\.template"):
        extra("~/.toolrc", template)


def test_the_same_file_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"files\[1\]\.path"):
        extra("~/.toolrc", rows=2)


def test_a_file_that_the_lab_renders_anyway_is_refused() -> None:
    with pytest.raises(ConfigError, match="rendered twice") as caught:
        extra("~/.config/litellm/config.yaml")
    assert "litellm-config" in caught.value.why


def test_an_unknown_key_is_named() -> None:
    text = 'version = 1\n[[files]]\npath = "~/.toolrc"\ntemplate = "t.j2"\nmod = "0644"\n'
    with pytest.raises(ConfigError, match=r"files\[0\]\.mod"):
        parse_lab(text, PurePath("/labs/mine"))
