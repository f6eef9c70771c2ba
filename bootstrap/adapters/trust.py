"""Whether a path can be written without somebody else being able to swap it under us."""

import os
import stat
from pathlib import Path

from bootstrap.domain.errors import TargetError


def real_path(path: Path) -> Path:
    """Return the file behind `path`, after checking every step of the way to it.

    A symlink is followed only when the user or root made it: dotfile managers link
    `settings.json` into a repository of the user's own. A folder that others may write to is
    accepted only with the sticky bit (as /tmp), where nobody can rename another user's entries.

    Raises:
        TargetError: Somebody else could have planted a part of the path.
    """
    mine = {0, os.geteuid()}
    _check_steps(path, mine)
    try:
        real = path.resolve(strict=False)
    except (OSError, RuntimeError):
        raise TargetError(
            f"{path} is not usable", why="its symlinks form a loop", fix=f"rm {path}"
        ) from None
    _check_steps(real, mine)
    return real


def _check_steps(path: Path, mine: set[int]) -> None:
    for step in (*reversed(path.parents), path):
        try:
            found = step.lstat()
        except FileNotFoundError:
            return
        except NotADirectoryError:
            raise TargetError(
                f"{path} cannot be written",
                why=f"{step.parent} is not a folder",
                fix=f"rm {step.parent}",
            ) from None
        except OSError as error:
            raise _unreadable(path, error) from None
        if found.st_uid not in mine:
            raise TargetError(
                f"{path} is not safe to use",
                why=f"{step} belongs to another user (uid {found.st_uid})",
                fix=f'remove it, or give it back: sudo chown "$USER" {step}',
            )
        open_to_all = stat.S_ISDIR(found.st_mode) and found.st_mode & 0o002
        if open_to_all and not found.st_mode & stat.S_ISVTX:
            raise TargetError(
                f"{path} is not safe to use",
                why=f"anybody may write in {step}",
                fix=f"chmod o-w {step}",
            )


def _unreadable(path: Path, error: OSError) -> TargetError:
    return TargetError(
        f"{path} cannot be read",
        why=os.strerror(error.errno or 0).lower(),
        fix=f"ls -ld {path.parent}",
    )
