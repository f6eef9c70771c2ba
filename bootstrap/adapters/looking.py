"""Look at files, programs and processes for doctor: whatever is there, nothing stops it."""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePath

from bootstrap.adapters.disk import read, resolved
from bootstrap.adapters.paths import words
from bootstrap.domain.content import Content, FileState
from bootstrap.domain.doctor.facts import FoundFile, Installation, RunningProgram
from bootstrap.domain.errors import LabError
from bootstrap.domain.secret import Secret

_PROC = Path("/proc")
_MOST_BYTES = 16 * 1024 * 1024
_MOST_PARENTS = 6


def look_at(path: PurePath) -> FoundFile:
    """Return what stands at `path`; a file that cannot be read has a problem instead of a state.

    Symlinks are followed, whoever owns them: the program that is looked after follows them, too.
    """
    try:
        real = resolved(path)
        found = read(path, real)
    except LabError as error:
        return FoundFile(path, problem=error.why)
    except OSError as error:
        return FoundFile(path, problem=words(error))
    if found is None:
        return FoundFile(path)
    if len(found[0]) > _MOST_BYTES:
        return FoundFile(path, problem="it is bigger than 16 MiB")
    return FoundFile(path, FileState(Content(found[0]), found[1], str(real)))


def listed(folder: PurePath, pattern: str) -> list[Path]:
    """Return the paths in `folder` that match, sorted; none where it cannot be read."""
    try:
        return sorted(Path(folder).glob(pattern))
    except OSError:
        return []


def installations(name: str, environment: Mapping[str, str]) -> tuple[Installation, ...]:
    """Return every program of that name that PATH leads to, in its order."""
    found: dict[str, Installation] = {}
    for folder in environment.get("PATH", "").split(os.pathsep):
        path = Path(folder, name)
        if not folder.startswith("/") or str(path) in found:
            continue
        with suppress(OSError):
            if path.is_file() and os.access(path, os.X_OK):
                real = resolved(path)
                found[str(path)] = Installation(PurePath(path), PurePath(real), _version(real))
    return tuple(found.values())


def _version(program: Path) -> str:
    """Return the version of the npm package that a program belongs to, or an empty text.

    The program itself is not asked: a client's `--version` takes a second and writes files.
    """
    for folder in list(program.parents)[:_MOST_PARENTS]:
        with suppress(OSError, ValueError):
            package = json.loads((folder / "package.json").read_bytes())
            version = package.get("version") if isinstance(package, dict) else None
            if isinstance(version, str) and version.isprintable():
                return version[:40]
    return ""


def running(name: str, home: PurePath, variables: Collection[str]) -> tuple[RunningProgram, ...]:
    """Return the processes of this user, and of this home, whose program has that name.

    Args:
        name: The program's file name.
        home: Those with another HOME are somebody else's business, such as a test's.
        variables: Those of its environment that are wanted.
    """
    found = ((pid, environment_of(pid)) for pid in _pids_of(name))
    return tuple(
        RunningProgram(pid, name, {n: Secret(v) for n, v in values.items() if n in variables and v})
        for pid, values in found
        if values.get("HOME") == str(home)
    )


def _pids_of(name: str) -> Iterator[int]:
    own = os.getpid()
    # Texts, not paths: of a thousand processes one or none is of interest.
    for entry in os.listdir(_PROC):  # noqa: PTH208
        if not entry.isdigit() or int(entry) == own:
            continue
        with suppress(OSError):  # it ended meanwhile, or is not ours
            program = os.readlink(f"{_PROC}/{entry}/exe").rpartition("/")[2]  # noqa: PTH115
            if program.removesuffix(" (deleted)") == name and _is_ours(entry):
                yield int(entry)


def _is_ours(entry: str) -> bool:
    return (_PROC / entry).stat().st_uid == os.getuid()


def environment_of(pid: int) -> dict[str, str]:
    """Return the variables that a process was started with; none where they cannot be read."""
    try:
        block = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.decode("utf-8", "replace").partition("=") for item in block.split(b"\0"))
    return {name: value for name, _, value in pairs}
