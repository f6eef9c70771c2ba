"""Which clients are set up, in which way, with which key, and whether they were seen working."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

from bootstrap.domain.client import HELPER, ClientFile, Preset, Setup, Way
from bootstrap.domain.client_presets import environment_of
from bootstrap.domain.client_ways import chosen_way
from bootstrap.domain.errors import LabError, UsageError
from bootstrap.domain.lab import ECHO_ALIAS, ECHO_ANSWER, Lab
from bootstrap.domain.places import Places
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.sighting import Sighting


class Memory(Protocol):
    """What earlier probes saw."""

    def load(self) -> Mapping[str, Sighting]:
        """Return it by client; empty where there is nothing."""

    def save(self, seen: Mapping[str, Sighting]) -> None:
        """Replace it."""


@dataclass(frozen=True)
class ClientDesk:
    """What looking at clients needs from outside.

    Attributes:
        lab: The lab.
        places: This machine's homes.
        presets: Every client by name.
        problems: Of installed packages that bring a client which cannot be used.
        key: Client -> the key that it is to send, as the store has it.
        installed: Program -> its path, or None.
        held: (description of a file, its path) -> the keys that stand in it for the gateway; None
            where there is no file.
        version: Program -> the version that is installed; empty where that is not known.
        run: Runs a program with variables added, and with the key in one, if that is how it gets
            it. Returns its status and output, or why it could not be run.
        now: Epoch seconds.
        memory: What earlier probes saw.
    """

    lab: Lab
    places: Places
    presets: Mapping[str, Preset]
    problems: tuple[LabError, ...]
    key: Callable[[str], Secret]
    installed: Callable[[str], PurePath | None]
    held: Callable[[ClientFile, PurePath], tuple[Secret, ...] | None]
    version: Callable[[str], str]
    run: Callable[
        [tuple[str, ...], Mapping[str, str], tuple[str, Secret] | None], tuple[int, str] | str
    ]
    now: Callable[[], float]
    memory: Memory


@dataclass(frozen=True)
class ClientRow:
    """A client as it is set up on this machine.

    Attributes:
        name: As lab.toml names it.
        setup: How it can be set up.
        way: How it gets the key; None where the lab does not set it up.
        why: Why in that way, or why not at all.
        file: The file that keyturn writes for it, or None.
        written: Whether that file is there; True where the way needs none.
        fingerprints: Of the keys that stand in the file, or of the one that a command fetches.
        current: Whether that is the key in force, and nothing else.
        program: Where the program is installed, or None.
        version: Of that program; empty where it is not known.
        seen: What the last probe saw, or None.
    """

    name: str
    setup: Setup
    way: Way | None
    why: str
    file: PurePath | None
    written: bool
    fingerprints: tuple[str, ...]
    current: bool
    program: PurePath | None
    version: str
    seen: Sighting | None = field(default=None)


def clients(desk: ClientDesk) -> list[ClientRow]:
    """Return every client that can be set up, in the order of the presets."""
    seen = desk.memory.load()
    return [
        _row(desk, name, preset.setup, seen.get(name))
        for name, preset in desk.presets.items()
        if preset.setup is not None
    ]


def probe(desk: ClientDesk) -> list[ClientRow]:
    """Ask one question through each client that is set up and installed; remember what came.

    Raises:
        UsageError: The lab has no model that answers without a backend.
    """
    echo = next((model for model in desk.lab.models if model.alias == ECHO_ALIAS), None)
    if echo is None:
        raise UsageError(
            f"there is no {ECHO_ALIAS} to ask",
            why="echo is false in lab.toml, or the profile lacks it",
            fix="remove echo = false; it needs no backend and costs nothing",
        )
    seen = dict(desk.memory.load())
    for row in clients(desk):
        if row.program is not None and row.way is not None and row.setup.probe:
            seen[row.name] = _ask(desk, row, row.way)
    desk.memory.save(seen)
    return clients(desk)


def _row(desk: ClientDesk, name: str, setup: Setup, seen: Sighting | None) -> ClientRow:
    program = None if setup.program is None else desk.installed(setup.program)
    version = "" if setup.program is None or program is None else desk.version(setup.program)
    way, why = chosen_way(name, setup, desk.lab, version)
    file = next((f for f in setup.files if way is not None and f.name == way.target), None)
    path = None if file is None else file.place(desk.places)
    held = () if file is None or path is None else desk.held(file, path)
    keys = held or ()
    if way is not None and way.name == HELPER and held is not None and not keys:
        keys = (desk.key(name),)  # the command asks keyturn
    return ClientRow(
        name,
        setup,
        way,
        why,
        path,
        held is not None,
        tuple(dict.fromkeys(key.fingerprint() for key in keys)),
        all(key == desk.key(name) for key in keys) and held is not None,
        program,
        version,
        seen,
    )


def _ask(desk: ClientDesk, row: ClientRow, way: Way) -> Sighting:
    file, gateway = str(row.file or ""), desk.lab.gateway.url
    own = {
        name: value.replace("{file}", file).replace("{gateway}", gateway)
        for name, value in way.environment.items()
    }
    harmless = environment_of(desk.presets[row.name], gateway, None)
    fixed = {name: value for name, value in harmless.items() if "URL" not in name}
    words = (word.replace("{model}", ECHO_ALIAS) for word in row.setup.probe)
    key = desk.key(row.name)
    variable = desk.lab.key_name(row.name) if way.key == MASTER_KEY else way.key
    carried = None if variable is None else (variable, key)
    answer = desk.run((str(row.program), *words), {**fixed, **own}, carried)
    mark = key.fingerprint()
    if isinstance(answer, str):
        return Sighting(desk.now(), False, mark, answer)
    status, output = answer
    if status == 0 and ECHO_ANSWER in output:
        return Sighting(desk.now(), True, mark)
    detail = f"it ended with {status}" if status else "another answer came"
    return Sighting(desk.now(), False, mark, detail)
