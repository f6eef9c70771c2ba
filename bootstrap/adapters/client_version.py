"""Which version of a client is installed: read beside the program, else asked of it once."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path, PurePath

from bootstrap.adapters.json_file import JsonFile
from bootstrap.adapters.looking import installations
from bootstrap.adapters.process import run
from bootstrap.domain.errors import LabError
from bootstrap.domain.versions import as_numbers, version_in

LIMIT_S = 3.0


class ClientVersions:
    """Program -> its version, empty where that cannot be told.

    The package that a program belongs to says it, or the name of its file. A program of which
    neither is so is run with `--version`, in an empty home, and its answer kept until the program
    changes.

    Args:
        folder: Where the answers are kept; ours alone.
        limit_s: For how long a program may take to answer.
    """

    def __init__(self, folder: PurePath, limit_s: float = LIMIT_S) -> None:
        self._file = JsonFile(folder / "client-versions.json")
        self._limit_s = limit_s
        self._known: dict[str, str] = {}

    def __call__(self, program: str) -> str:
        """Return the version of the program that PATH leads to first."""
        if program not in self._known:
            self._known[program] = self._find(program)
        return self._known[program]

    def _find(self, program: str) -> str:
        found = next(iter(installations(program, os.environ)), None)
        if found is None:
            return ""
        name = found.real.name
        return found.version or (name if as_numbers(name) else self._asked(Path(found.real)))

    def _asked(self, program: Path) -> str:
        try:
            state = program.stat()
        except OSError:
            return ""
        mark = f"{state.st_mtime_ns} {state.st_size}"
        rows = self._load()
        kept = rows.get(str(program), [])
        if len(kept) == 2 and kept[0] == mark:
            return kept[1]
        answer = _ask(program, self._limit_s)
        if answer is None:
            return ""
        with suppress(LabError):  # it is asked again then
            self._file.save({**rows, str(program): [mark, answer]})
        return answer

    def _load(self) -> dict[str, list[str]]:
        rows = self._file.load()
        if isinstance(rows, dict) and all(_is_row(row) for row in rows.values()):
            return rows
        return {}


def _is_row(row: object) -> bool:
    return isinstance(row, list) and all(isinstance(item, str) for item in row)


def _ask(program: Path, limit_s: float) -> str | None:
    """Return what `--version` says; None where it did not end in time, or cannot be run.

    It sees no variable of ours but PATH, and no home.
    """
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            environment = {"PATH": os.environ.get("PATH", ""), "HOME": home}
            done = run([str(program), "--version"], env=environment, cwd=home, timeout_s=limit_s)
    except OSError:
        return None
    return version_in(done.stdout.decode(errors="replace")) if done.returncode == 0 else ""
