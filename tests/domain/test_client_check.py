"""What a package brings is looked at before it is used."""

from dataclasses import replace
from typing import Any

import pytest

from bootstrap.domain.client import HELPER, LITERAL, VARIABLE, ClientFile, Preset, Setup, Way
from bootstrap.domain.client_check import problem_of
from bootstrap.domain.clients import PRESETS
from bootstrap.domain.targets import Owner

FILE = ClientFile("x-settings", "config", "x/settings.json", "x/settings.json.j2", "json")
BEST = Way(HELPER, FILE.name, None, "at once", "no key at rest", since="1.2", does="runs it")
LAST = Way(LITERAL, FILE.name, None, "at its next start", "the key stands there")
SETUP = Setup("X", "x", ("1.2.3",), (BEST, LAST), LITERAL, ("ask", "{model}"), (FILE,))
SOUND = Preset("x", key=("X_KEY",), environment={"X_URL": "{gateway}"}, setup=SETUP)


def wrongly(**changes: Any) -> Preset:
    return replace(SOUND, **changes)


def with_file(**changes: Any) -> Preset:
    return with_setup(files=(replace(FILE, **changes),))


def with_way(**changes: Any) -> Preset:
    return with_setup(ways=(replace(BEST, **changes), LAST))


def with_setup(**changes: Any) -> Preset:
    return replace(SOUND, setup=replace(SETUP, **changes))


def test_a_sound_one_is_taken_with_or_without_files() -> None:
    assert problem_of("x", SOUND) == ""
    assert problem_of("x", replace(SOUND, setup=None)) == ""
    assert problem_of("x", replace(SOUND, lists="claude")) == ""


@pytest.mark.parametrize(
    ("brought", "words"),
    [
        (None, "it is no bootstrap.domain.client.Preset"),
        (Preset, "it is no bootstrap.domain.client.Preset"),
        (replace(SOUND, name="y"), "its name"),
        (replace(SOUND, key=()), "no variable carries its key"),
        (replace(SOUND, remove=("A B",)), "variables"),
        (replace(SOUND, lists="nobody"), "lists"),
        (replace(SOUND, settings="X"), "settings and stores"),
        (replace(SOUND, stores=True), "settings and stores"),
        (replace(SOUND, environment={"X": "{model} {key}"}), "environment names {key}"),
        (wrongly(environment=7), "another type"),
        (wrongly(setup=7), "another type"),
        (with_setup(default=VARIABLE), "its ways"),
        (with_setup(ways=(LAST, LAST)), "its ways"),
        (with_setup(ways=(replace(BEST, name="magic"), LAST)), "its ways"),
        (with_setup(probe=("{file}",)), "probe names {file}"),
        (with_way(target="other"), "the way helper names a file"),
        (with_way(switch="x"), "the way helper has a switch"),
        (with_way(does=""), "the way helper lacks"),
        (with_way(since="one"), "version that is not like 1.2.3"),
        (with_way(environment={"X": "{key}"}), "helper names {key}"),
        (with_setup(ways=(replace(LAST, before="2.0", does="x"),)), "default way"),
        (with_file(name="settings"), "the way helper names a file"),
        (with_setup(files=(FILE, replace(FILE, name="y-x"))), "does not begin with its own"),
        (with_file(base="/etc"), "does not stand below"),
        (with_file(path="/etc/passwd"), "does not stand below"),
        (with_file(path="../other"), "does not stand below"),
        (with_file(path=""), "does not stand below"),
        (with_file(path="a\nb"), "does not stand below"),
        (with_file(owner=Owner.CLAUDE), "owner or a switch"),
        (with_file(check="droid"), "the check"),
        (with_file(template=None), "the template"),
        (with_file(template="litellm/config.yaml.j2"), "the template"),
        (with_file(template="x/../litellm/x"), "the template"),
    ],
)
def test_one_that_is_not_is_refused_and_said_why(brought: object, words: str) -> None:
    assert words in problem_of("x", brought)


def test_a_file_that_is_called_as_one_of_ours_is_refused() -> None:
    unit = replace(FILE, name="unit-socket", template="unit/x.j2")
    ways = tuple(replace(way, target=unit.name) for way in SETUP.ways)
    preset = replace(with_setup(files=(unit,), ways=ways), name="unit")
    assert "is one of ours" in problem_of("unit", preset)


def test_a_name_that_can_be_no_name_of_a_key_is_refused() -> None:
    assert "name" in problem_of("a b", replace(SOUND, name="a b"))


def test_our_own_differ_only_in_what_is_kept_for_us() -> None:
    kept = ("settings and stores", "has a switch", "owner or a switch", "the check of the file",
            "does not begin", "the template", "its default way")  # fmt: skip
    for name, preset in PRESETS.items():
        problem = problem_of(name, preset)
        assert not problem or any(words in problem for words in kept), problem
