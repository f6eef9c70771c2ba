"""How bad a key in a place is, what it means, and what to type next."""

from typing import Any

import pytest

from bootstrap.domain.scan_keys import SoughtKey, State
from bootstrap.domain.scan_places import (
    Find,
    Kind,
    Level,
    Place,
    exit_code,
    find_of,
    quoted,
    shown_name,
)
from bootstrap.domain.scanning import Hit

MASTER = "LITELLM_MASTER_KEY"


def key(state: State, name: str = MASTER, **more: Any) -> SoughtKey:
    return SoughtKey(name, "1a2b3c4d", state, **more)


def find(state: State, kind: Kind = Kind.FILE, name: bytes = b"/a/b", **more: Any) -> Find:
    declared = more.pop("declared", False)
    return Find(key(state, **more), Place(kind, name, b"NAME", declared))


@pytest.mark.parametrize("kind", list(Kind))
def test_each_place_says_what_it_means_and_what_to_do(kind: Kind) -> None:
    for state in State:
        found = find(state, kind)
        assert found.means
        assert bool(found.next) == (found.level is not Level.EXPECTED)


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        (find(State.IN_FORCE), Level.ERROR, "if it was seen: keyturn rotate --now"),
        (find(State.IN_FORCE, declared=True), Level.EXPECTED, ""),
        (find(State.IN_FORCE, Kind.ENVIRONMENT), Level.EXPECTED, ""),
        (find(State.IN_FORCE, Kind.ARGUMENTS), Level.ERROR, "keyturn exec"),
        (find(State.IN_FORCE, Kind.HISTORY), Level.ERROR, "worthless: keyturn rotate --now"),
        (find(State.OTHER, Kind.LOG), Level.ERROR, "keyturn recover"),
        (find(State.ACCEPTED, Kind.ENVIRONMENT, is_replaced=True), Level.WARNING, "again"),
        (find(State.ACCEPTED, Kind.LOG, is_replaced=True), Level.ERROR, "rotate --resume"),
        (find(State.GONE), Level.WARNING, "take it out"),
        (find(State.GONE, declared=True), Level.WARNING, "keyturn apply"),
        (find(State.GONE, name=b"/h/.bash_history"), Level.WARNING, "delete the line"),
        (find(State.GONE, name=b"/h/a.keyturn-backup-1"), Level.WARNING, "shred -u -- /h/a"),
        (find(State.GONE, name=b"/h/.factory/x y"), Level.WARNING, "shred -u -- '/h/.factory/x y'"),
        (find(State.GONE, Kind.HISTORY), Level.WARNING, "nothing"),
        (find(State.GONE, Kind.MANAGER), Level.WARNING, "unset-environment NAME"),
        (find(State.GONE, Kind.LOG, made_elsewhere=True), Level.WARNING, "revoke it there"),
    ],
)
def test_a_key_that_is_still_good_is_an_error(found: Find, level: Level, words: str) -> None:
    assert found.level is level
    assert words in found.next


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("client ci", "keyturn key rotate ci"),
        ("OPENAI_API_KEY, B", "keyturn rotate OPENAI_API_KEY"),
    ],
)
def test_each_key_is_made_worthless_in_its_own_way(name: str, command: str) -> None:
    found = Find(key(State.ACCEPTED, name), Place(Kind.HISTORY, b"git: a"))
    assert found.next == f"make it worthless: {command}"


def test_the_worst_decides_the_exit_status() -> None:
    gone, good = find(State.GONE), find(State.IN_FORCE)
    assert exit_code([]) == exit_code([find(State.IN_FORCE, declared=True)]) == 0
    assert (exit_code([gone]), exit_code([gone, good])) == (3, 1)


def test_all_hits_of_a_key_in_a_place_are_one_find() -> None:
    hits = [Hit("k", 90, 7), Hit("k", 5, 2, encoded=True), Hit("k", 95, 7)]
    place = Place(Kind.FILE, b"/a")
    found = find_of(key(State.GONE), place, hits, text=True)
    assert (found.lines, found.offset, found.encoded) == ((2, 7), 5, False)
    assert find_of(key(State.GONE), place, hits[1:2], text=False).lines == ()
    assert find_of(key(State.GONE), place, hits[1:2], text=False).encoded


@pytest.mark.parametrize(
    ("name", "shown", "in_a_shell"),
    [
        (b"/a/b", "/a/b", "/a/b"),
        (b"/a b", "/a b", "'/a b'"),
        ("/ä".encode(), "/ä", "'/ä'"),
        (b"/a\nb\xff'", "/a\\x0ab\\xff'", "$'/a\\x0ab\\xff\\''"),
        (b"/\x1b[31m", "/\\x1b[31m", "$'/\\x1b[31m'"),
    ],
)
def test_a_terminal_is_shown_no_name_that_it_could_obey(
    name: bytes, shown: str, in_a_shell: str
) -> None:
    assert shown_name(name) == shown
    assert quoted(name) == in_a_shell


def test_a_copy_that_a_fix_of_doctors_kept_is_a_backup() -> None:
    copy = Place(Kind.FILE, b"/h/.local/state/keyturn/doctor/0002/0.copy")
    assert (
        "need the backup no more"
        in find_of(key(State.IN_FORCE), copy, [Hit("k", 5, 2)], text=True).next
    )
