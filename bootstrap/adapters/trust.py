# ruff: noqa: PTH115, PTH118, PTH120 - each file that is looked at costs this at every step
"""Whether a path can be written without somebody else being able to swap it under us."""

import os
import stat
from pathlib import Path, PurePath

from bootstrap.adapters.paths import words
from bootstrap.domain.errors import TargetError

_MOST_LINKS = 40  # as the kernel's own limit


def real_path(path: Path) -> Path:
    """Return the file behind `path`, after checking every step of the way to it.

    A symlink is followed only when the user or root made it: dotfile managers link
    `settings.json` into a repository of the user's own. A folder that others may write to is
    accepted only with the sticky bit (as /tmp), where nobody can rename another user's entries.

    Args:
        path: Absolute; what is missing of it counts as fine.

    Raises:
        TargetError: Somebody else could have planted a part of the path.
    """
    reached = path.anchor
    _check(path, reached, _lstat(path, reached))
    ahead = list(reversed(path.parts[1:]))
    links = 0
    while ahead:
        part = ahead.pop()
        step = os.path.dirname(reached) if part == ".." else os.path.join(reached, part)
        found = _lstat(path, step)
        _check(path, step, found)
        if found is None or not stat.S_ISLNK(found.st_mode):
            reached = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise TargetError(
                f"{path} is not usable", why="its symlinks form a loop", fix=f"rm {step}"
            )
        behind = PurePath(os.readlink(step))
        if behind.is_absolute():
            reached = behind.anchor
        ahead += reversed(behind.parts[1:] if behind.is_absolute() else behind.parts)
    return Path(reached)


def _lstat(path: Path, step: str) -> os.stat_result | None:
    """Return what stands at `step` of `path`, or None."""
    try:
        return os.lstat(step)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        folder = Path(step).parent
        raise TargetError(
            f"{path} cannot be written",
            why=f"{folder} is not a folder",
            fix=f"name another place, or look at it and move it away: ls -ld {folder}",
        ) from None
    except OSError as error:
        raise TargetError(
            f"{path} cannot be read",
            why=words(error),
            fix=f"ls -ld {Path(step).parent}",
        ) from None


def _check(path: Path, step: str, found: os.stat_result | None) -> None:
    """Refuse a step that another user owns, or could put something else in the place of."""
    if found is None:
        return
    if found.st_uid not in (0, os.geteuid()):
        raise TargetError(
            f"{path} is not safe to use",
            why=f"{step} belongs to another user (uid {found.st_uid})",
            fix=f'remove it, or give it back: sudo chown "$USER" {step}',
        )
    open_to_all = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_IWOTH
    if open_to_all and not found.st_mode & stat.S_ISVTX:
        raise TargetError(
            f"{path} is not safe to use",
            why=f"anybody may write in {step}",
            fix=f"chmod o-w {step}",
        )
