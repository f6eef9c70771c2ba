"""Where a key was found, how bad that is, what it means, and what to type next."""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from bootstrap.domain.base_errors import ExitCode
from bootstrap.domain.scan_keys import SoughtKey, State
from bootstrap.domain.scanning import Hit


class Kind(Enum):
    """What kind of place it is."""

    FILE = "file"
    FILE_NAME = "file name"
    ENVIRONMENT = "environment"  # of a running process
    ARGUMENTS = "arguments"  # of a running process: every user of the machine can read them
    MANAGER = "manager"  # what `systemd --user` hands to every program
    LOG = "log"  # the gateway's, in the journal
    HISTORY = "history"  # of git
    TIMETABLE = "timetable"  # crontab


@dataclass(frozen=True)
class Place:
    """Something that was searched.

    Attributes:
        kind: What it is.
        name: A path, or `process 123 (droid)`. Bytes, since a file may be called anything, even
            like a key: `shown_name` is for people.
        part: What of it: a variable, a commit.
        declared: Whether lab.toml has the keys in force there.
    """

    kind: Kind
    name: bytes
    part: bytes = b""
    declared: bool = False


@dataclass(frozen=True)
class Item:
    """Something to search.

    Attributes:
        place: What it is.
        chunks: Its bytes, in pieces of any size; read once. May raise OSError.
        settled: Says more about the place where something was found; not asked otherwise.
    """

    place: Place
    chunks: Iterable[bytes]
    settled: Callable[[], Place] | None = None


class Level(Enum):
    """How bad it is."""

    ERROR = "error"  # it still opens something
    WARNING = "warning"  # it is of no use any more, but may mislead
    EXPECTED = "expected"


@dataclass(frozen=True)
class Find:
    """A key in a place.

    Attributes:
        key: Which.
        place: Where; its name and part hold no key.
        lines: In which lines, from 1; empty where lines mean nothing.
        offset: Where it lies first, in bytes from 0.
        encoded: Whether it is only there in another spelling, such as base64.
    """

    key: SoughtKey
    place: Place
    lines: tuple[int, ...] = ()
    offset: int = 0
    encoded: bool = False

    @property
    def level(self) -> Level:
        """How bad it is."""
        if not self.key.is_accepted:
            return Level.WARNING
        if self.place.declared:
            return Level.EXPECTED
        if self.place.kind is not Kind.ENVIRONMENT:
            return Level.ERROR
        # That is how `exec` and direnv hand a key over.
        return Level.WARNING if self.key.is_replaced else Level.EXPECTED

    @property
    def means(self) -> str:
        """What it means, in one clause."""
        if self.level is Level.EXPECTED:
            return "it belongs there" if self.place.declared else "that is how programs get it"
        if self.key.is_accepted:
            return _RISK[self.place.kind]
        if self.key.made_elsewhere:
            return "of no use here; whoever made it may accept it until you revoke it there"
        return _HARMLESS[self.place.kind]

    @property
    def next(self) -> str:
        """What to do about it."""
        if self.level is Level.EXPECTED:
            return ""
        kind, name = self.place.kind, shown_name(self.place.name)
        if kind is Kind.FILE:
            return self._next_for_file()
        if kind is Kind.MANAGER:
            return f"systemctl --user unset-environment {shown_name(self.place.part)}"
        if kind is Kind.ARGUMENTS:
            return "start it again with the key in its environment: keyturn exec -- PROGRAM"
        if kind is Kind.FILE_NAME:
            return "rename or remove it"
        if kind is Kind.TIMETABLE:
            return "take it out: crontab -e"
        if kind is Kind.ENVIRONMENT:
            return f"start {name} again; from a shell that has the variable, start that first"
        if self.key.is_accepted:
            return f"make it worthless: {self._rotation}"
        return "nothing; it cannot be used" if not self.key.made_elsewhere else "revoke it there"

    @property
    def _rotation(self) -> str:
        name = self.key.name.split(", ")[0]
        if self.key.is_replaced:
            return "keyturn rotate --resume"
        if name.startswith("client "):
            return f"keyturn key rotate {name.removeprefix('client ')}"
        if self.key.state is State.OTHER:
            return "keyturn recover"
        return "keyturn rotate --now" if name == "LITELLM_MASTER_KEY" else f"keyturn rotate {name}"

    def _next_for_file(self) -> str:
        name, path = self.place.name, quoted(self.place.name)
        if self.place.declared:
            return "keyturn apply, in the lab that writes it; a client's own file: keyturn doctor"
        kept = (b".keyturn-backup", b"/adopted/", b"/keyturn/doctor/")
        if any(part in name for part in kept):
            return f"if you need the backup no more: shred -u -- {path}"
        if b"/.factory/" in name or b"/.claude/" in name:
            return f"remove it if you can spare it: shred -u -- {path}"
        if b"history" in name.rpartition(b"/")[2]:
            return "delete the line, with all shells closed that would write it again"
        take_out = "take it out; programs get the key by: keyturn exec, keyturn get"
        return f"{take_out}; if it was seen: {self._rotation}" if self.key.is_accepted else take_out


_RISK = {
    Kind.FILE: "whoever reads that file can use the key",
    Kind.FILE_NAME: "whoever lists that folder can use the key",
    Kind.ENVIRONMENT: "that program will be refused when the grace time ends",
    Kind.ARGUMENTS: "every user of this machine can read the arguments of a process",
    Kind.MANAGER: "every program that systemd starts for you is given the key",
    Kind.LOG: "whoever reads that log can use the key",
    Kind.HISTORY: "whoever has a copy of the repository can use the key, for good",
    Kind.TIMETABLE: "whoever reads the crontab, or mail about it, can use the key",
}
_USELESS = "it opens nothing any more"
_HARMLESS = {
    Kind.FILE: f"{_USELESS}, but a program that reads it there is refused",
    Kind.FILE_NAME: f"{_USELESS}, but somebody may believe it does",
    Kind.ENVIRONMENT: f"{_USELESS}: that program is refused until it starts anew",
    Kind.ARGUMENTS: f"{_USELESS}: that program is refused until it starts anew",
    Kind.MANAGER: f"{_USELESS}, but every program that systemd starts is given it",
    Kind.LOG: _USELESS,
    Kind.HISTORY: _USELESS,
    Kind.TIMETABLE: f"{_USELESS}: that job is refused",
}


def find_of(key: SoughtKey, place: Place, hits: Iterable[Hit], *, text: bool) -> Find:
    """Return one find for all hits of a key in a place; without `text` lines mean nothing."""
    ordered = sorted(hits, key=lambda hit: hit.offset)
    lines = tuple(dict.fromkeys(hit.line for hit in ordered)) if text else ()
    return Find(key, place, lines, ordered[0].offset, all(hit.encoded for hit in ordered))


def exit_code(finds: Iterable[Find]) -> int:
    """Return 1 where a key that is still good lies where it should not, 3 for old ones only."""
    levels = {find.level for find in finds}
    if Level.ERROR in levels:
        return ExitCode.FAILED
    return ExitCode.DRIFT if Level.WARNING in levels else ExitCode.DONE


def shown_name(name: bytes) -> str:
    """Return a name for people: whatever a terminal could obey, or is no UTF-8, is escaped."""
    text = name.decode("utf-8", "surrogateescape")
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def quoted(name: bytes) -> str:
    """Return a name as a shell takes it."""
    shown = shown_name(name)
    if shown.encode() == name:
        return shlex.quote(shown)
    inner = "".join(
        f"\\{c}" if c in "\\'" else c if c.isprintable() else _escaped(c)
        for c in name.decode("utf-8", "surrogateescape")
    )
    return f"$'{inner}'"


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
