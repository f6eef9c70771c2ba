"""Copies of what `keyturn doctor --fix` replaced: one folder a run, 0700, every file in it 0600.

A copy may hold a key, so only the newest few runs are kept, and undoing one removes it.
"""

import json
import os
import shutil
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters.disk import explained
from bootstrap.adapters.files import LocalFiles
from bootstrap.domain.content import Content, FileState, Write
from bootstrap.domain.doctor.fix_run import FixRun, Saved
from bootstrap.domain.errors import RecoveryNeededError
from bootstrap.domain.secret import Secret

_NOTE = "run.json"
_KEPT = 5


class FolderFixLog:
    """Runs as folders `0001`, `0002` … below one folder.

    Args:
        folder: Where; made with the first run.
    """

    def __init__(self, folder: PurePath) -> None:
        self._folder = Path(folder)
        self._files = LocalFiles()

    def new(self) -> FixRun:
        """Return an empty run; nothing is written yet."""
        runs = self._runs()
        number = int(runs[-1].name) + 1 if runs else 1
        return FixRun(PurePath(self._folder / f"{number:04}"))

    def save(self, run: FixRun) -> None:
        """Put the run and its copies on disk.

        Raises:
            TargetError: It cannot be written.
        """
        writes = []
        for number, saved in enumerate(run.files):
            copy = PurePath(run.folder, f"{number}.copy")
            # Once written a copy stays as it is: it holds the state before the whole run.
            if saved.before is not None and self._files.observe(copy) is None:
                writes.append(Write(copy, saved.before.content, 0o600, None))
        note = PurePath(run.folder, _NOTE)
        found = self._files.observe(note)
        text = json.dumps(_to_json(run), indent=1).encode("utf-8", "surrogateescape")
        expected = found.content.digest if found else None
        self._files.replace_all([*writes, Write(note, Content(text + b"\n"), 0o600, expected)])
        for old in self._runs()[:-_KEPT]:
            self._remove(old)

    def last(self) -> FixRun | None:
        """Return the newest run, or None.

        Raises:
            RecoveryNeededError: Its note is damaged.
        """
        runs = [folder for folder in self._runs() if _has_note(folder)]
        if not runs:
            return None
        folder = PurePath(runs[-1])
        found = self._files.observe(PurePath(folder, _NOTE))
        try:
            return self._from_json(folder, json.loads(found.content.data if found else b""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RecoveryNeededError(
                f"the note of doctor's last fix in {folder} is damaged",
                why="it does not say what stood where",
                fix=f"look at the copies in {folder}, then remove it: rm -r {folder}",
            ) from None

    def drop(self, run: FixRun) -> None:
        """Remove a run and its copies."""
        self._remove(Path(run.folder))

    def tidy(self) -> None:
        """Remove what is left of runs that were killed before they changed anything."""
        for folder in self._runs():
            if not _has_note(folder):
                self._remove(folder)

    def _runs(self) -> list[Path]:
        """Return the folders of runs, the oldest first."""
        if not self._folder.is_dir():
            return []
        found = (path for path in self._folder.iterdir() if path.name.isdecimal())
        return sorted(found, key=lambda path: int(path.name))

    def _remove(self, folder: Path) -> None:
        with explained(folder):
            (folder / _NOTE).unlink(missing_ok=True)
            shutil.rmtree(folder)

    def _from_json(self, folder: PurePath, value: Any) -> FixRun:
        files = []
        for number, row in enumerate(value["files"]):
            before = None
            if row["mode"] is not None:
                copy = self._files.observe(PurePath(folder, f"{number}.copy"))
                if copy is None:
                    raise KeyError(number)
                before = FileState(copy.content, int(row["mode"]), str(row["path"]))
            files.append(Saved(PurePath(row["path"]), before, tuple(row["after"])))
        commands = tuple(tuple(map(str, words)) for words in value["undo"])
        return FixRun(folder, tuple(files), commands, tuple(map(str, value["lasting"])))


def _has_note(folder: Path) -> bool:
    """Tell whether the run changed anything: the note is written before that, and goes first."""
    return os.path.lexists(folder / _NOTE)


def written_out(secret: Secret) -> str:
    """Return a key as text, on its way into the file of a client."""
    return secret.reveal()


def _to_json(run: FixRun) -> dict[str, object]:
    return {
        "files": [
            {
                "path": str(saved.path),
                "mode": None if saved.before is None else saved.before.mode,
                "after": list(saved.after),
            }
            for saved in run.files
        ],
        "undo": [list(words) for words in run.commands],
        "lasting": list(run.lasting),
    }
