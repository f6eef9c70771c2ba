"""Take over a gateway that somebody set up by hand: its key, its models, its clients.

The key in force stays: it moves into the store, and every copy that keyturn knows of becomes one
that it renders, or a command that asks for it. Whatever is changed is copied first. The old
gateway serves until everything is ready, and is started again where the new one does not come up.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePath
from types import TracebackType
from typing import Any, Protocol

from bootstrap.domain.content import Content, Write
from bootstrap.domain.errors import LabError, cause_of
from bootstrap.domain.found_models import Found
from bootstrap.domain.secret import Secret
from bootstrap.domain.targets import targets
from bootstrap.ports import Files, Progress
from bootstrap.workflows.adopt_note import Note, read_note, write_note
from bootstrap.workflows.apply import Applied, apply
from bootstrap.workflows.conflicts import refuse_other_lab
from bootstrap.workflows.import_models import Import, carry_out, plan_import
from bootstrap.workflows.init import Desk, init
from bootstrap.workflows.planning import make_plan
from bootstrap.workflows.tools import Tools


class Old(Protocol):
    """The gateway that runs now."""

    label: str

    def stop(self) -> None:
        """End it, and wait until its port is free; ServiceError where it goes on."""

    @property
    def to_come(self) -> Mapping[str, Any]:
        """How a later run knows it where it was started, but not yet noted as that."""

    def start(self) -> Mapping[str, Any]:
        """Start it again as it was; returns how a later run knows it, for the note."""


@dataclass(frozen=True)
class Edit:
    """A file of somebody's in which a key stands.

    Attributes:
        path: Which.
        what: What becomes of the key there, one clause.
        make: The file without the key, from what it is.
    """

    path: PurePath
    what: str
    make: Callable[[bytes], bytes] = field(repr=False)


@dataclass(frozen=True)
class Adoptee:
    """What was found.

    Attributes:
        root: The folder of the lab, there already or still to be.
        port: The gateway's.
        keys: Keys that are kept, by the secret's name; without a master key a fresh one is made.
        key_from: Where the master key was found, for people.
        accepted: Whether the gateway that runs accepts it; None where none runs.
        weakness: Why it is not good enough for a key, or None.
        config: The config that was read, or None.
        found: Its catalogue, or None.
        old: The gateway that runs and is not keyturn's, or None.
        edits: Files from which the key goes.
        targets: Files that keyturn will write, and that are there.
        version: The LiteLLM that is installed in keyturn's place already, or None.
        envrc: Whether the lab's folder has an .envrc that is not keyturn's, and stays.
        claude: Whether Claude Code's own settings hold the key, so that keyturn writes them, too.
        unfinished: Whether an earlier run was cut off in the middle.
        serves_none: Whether none of the gateway's models can be carried over.
    """

    root: PurePath
    port: int
    keys: Mapping[str, Secret]
    key_from: str
    accepted: bool | None
    weakness: str | None
    config: PurePath | None
    found: Found | None
    old: Old | None
    edits: tuple[Edit, ...]
    targets: tuple[PurePath, ...]
    version: str | None = None
    envrc: bool = False
    claude: bool = False
    unfinished: bool = False
    serves_none: bool = False

    def __bool__(self) -> bool:
        return bool(self.config or self.old or self.edits or self.claude or self.unfinished)

    @property
    def switches(self) -> str:
        """What a lab.toml without [targets] gets for what is there already."""
        rows = ["envrc = false  # there was one before"] if self.envrc else []
        rows += ["claude_settings = true  # they held the key"] if self.claude else []
        return "\n".join(["[targets]", *rows, ""]) if rows else ""


@dataclass(frozen=True)
class AdoptDesk:
    """How `adopt` gets hold of the world.

    Attributes:
        files: The file system.
        desk: What `init` needs.
        tools: Makes the lab's tools, once it is there.
        settle: Brings a rotation that a crash left open to its end.
        lock: Holds the lab's lock.
        register: Makes the lab the default one.
        holders: Of all the usual places, the files in which one of the keys stands.
        keep: The folder for copies of what is changed.
    """

    files: Files
    desk: Desk
    tools: Callable[[], Tools]
    settle: Callable[[Tools], object]
    lock: Callable[[], AbstractContextManager[object]]
    register: Callable[[], bool]
    holders: Callable[[], list[PurePath]]
    keep: PurePath


@dataclass(frozen=True)
class Adopted:
    """What `adopt` did.

    Attributes:
        tools: The lab's tools, for the summary.
        applied: What `apply` did.
        imported: What came into lab.toml, or None.
        backups: (original, copy) for each file that was changed.
        edited: Files that the key went from.
        leftovers: Files that hold the key still, and are not keyturn's.
    """

    tools: Tools
    applied: Applied
    imported: Import | None
    backups: tuple[tuple[PurePath, PurePath], ...]
    edited: tuple[PurePath, ...]
    leftovers: tuple[PurePath, ...]


def adopt(adoptee: Adoptee, using: AdoptDesk, progress: Progress) -> Adopted:
    """Take the gateway over.

    Raises:
        LabError: Something could not be done. Files are as before, and the old gateway runs; the
            lab and its store stay, so that the next run goes on.
    """
    with using.lock():
        with progress.step(f"lab {adoptee.root}"):
            init(using.desk, port=adoptee.port, keys=adoptee.keys, version=adoptee.version)
            imported = _import(adoptee, using)
        tools = using.tools()
        using.settle(tools)
        if tools.installer.installed() is None:
            tools.installer.install(progress)  # while the old gateway serves
        plan = make_plan(tools, force=True)
        refuse_other_lab(tools, make_plan(tools))
        paths = [c.target.path for c in plan.changes if c.write is not None]
        edits = [edit.path for edit in adoptee.edits]
        backups = _keep(using, [*paths, *edits])
        before = read_note(using.files, using.keep) or Note(adoptee.config)
        using.files.sweep([*before.edits, *edits])
        note = before.with_edits(edits)
        write_note(using.files, using.keep, note)
        with _Return(tools, paths, backups, adoptee.old, partial(_note_again, using, note)):
            if adoptee.old is not None:
                with progress.step(f"stop the old gateway ({adoptee.old.label})"):
                    adoptee.old.stop()
            edited = _edit(using.files, adoptee.edits)
            applied = apply(tools, force=True, copies=False)
        using.register()
        write_note(using.files, using.keep, None)
    declared = {t.path for t in targets(tools.lab, tools.places, tools.service.kind)}
    left = [path for path in using.holders() if path not in declared]
    return Adopted(tools, applied, imported, backups, edited, tuple(left))


def _import(adoptee: Adoptee, using: AdoptDesk) -> Import | None:
    """Add the models, and leave an .envrc alone that is somebody's."""
    store, root = using.desk.store, adoptee.root
    found = adoptee.found or Found("")
    ready = plan_import(using.files, store, root, found, extra=adoptee.switches)
    carry_out(using.files, store, ready)
    return ready if adoptee.found is not None else None


def _keep(using: AdoptDesk, paths: Collection[PurePath]) -> tuple[tuple[PurePath, PurePath], ...]:
    """Copy each file that is there into the folder for copies, 0600."""
    copies = []
    for path in dict.fromkeys(paths):
        found = using.files.observe(path)
        if found is None:
            continue
        name = "%".join(path.parts[1:])
        number, copy = 1, using.keep / name
        while (there := using.files.observe(copy)) is not None and there.content != found.content:
            number, copy = number + 1, using.keep / f"{name}.{number}"
        if there is None:
            using.files.replace_all([Write(copy, found.content, 0o600, None)])
        copies.append((path, copy))
    return tuple(copies)


def _edit(files: Files, edits: Sequence[Edit]) -> tuple[PurePath, ...]:
    """Take the key out of every file, all or none."""
    writes = []
    for edit in edits:
        found = files.observe(edit.path)
        if found is None:
            continue
        content = Content(edit.make(found.content.data))
        if content != found.content:
            writes.append(Write.over(found, edit.path, content, found.mode))
    files.replace_all(writes)
    return tuple(write.path for write in writes)


def _note_again(using: AdoptDesk, note: Note, started: Mapping[str, Any]) -> None:
    """Note that the old gateway was started again, so that the next run waits for it."""
    write_note(using.files, using.keep, replace(note, started=started))


class _Return:
    """Where the block fails: stops the new gateway, puts every file back, starts the old one."""

    def __init__(
        self,
        tools: Tools,
        written: Collection[PurePath],
        backups: Sequence[tuple[PurePath, PurePath]],
        old: Old | None,
        started: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._tools, self._started = tools, started
        paths = dict.fromkeys([*written, *(path for path, _ in backups)])
        self._before = {path: tools.files.observe(path) for path in paths}
        self._old = old

    def __enter__(self) -> None:
        """Nothing is to be done yet."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if failure is None:
            return
        progress = self._tools.progress
        with progress.step("undo: every file and the old gateway as before"):
            try:
                self._tools.service.stop()
                self._tools.files.replace_all(list(self._writes()))
            except LabError as second:
                progress.note(f"Not everything is back: {cause_of(second)}. See the copies.")
            if self._old is not None:
                with suppress(LabError):  # the next run may then come too early
                    self._started(self._old.to_come)
                started = self._old.start()
                with suppress(LabError):
                    self._started(started)

    def _writes(self) -> Iterator[Write]:
        for path, before in self._before.items():
            now = self._tools.files.observe(path)
            if now == before:
                continue
            content, mode = (before.content, before.mode) if before else (None, 0o600)
            yield Write.over(now, path, content, mode)
