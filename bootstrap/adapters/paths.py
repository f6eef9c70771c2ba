"""The little of `os.path` that `keyturn exec` needs; what is unusual is left to `os.path` itself.

Loading `os` takes a tenth of the whole run.
"""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_KIND, _REGULAR, _FOLDER = 0o170000, 0o100000, 0o040000


def is_regular(found: posix.stat_result) -> bool:
    """Tell whether what stat() found is a regular file."""
    return found.st_mode & _KIND == _REGULAR


def is_file(path: str) -> bool:
    """Tell whether there is a regular file at `path`, or behind a link there."""
    try:
        return is_regular(posix.stat(path))
    except (OSError, ValueError):
        return False


def is_folder(path: str) -> bool:
    """Tell whether there is a folder at `path`, or behind a link there."""
    try:
        return posix.stat(path).st_mode & _KIND == _FOLDER
    except (OSError, ValueError):
        return False


def is_program(path: str) -> bool:
    """Tell whether there is a file at `path` that we may run."""
    return is_file(path) and posix.access(path, posix.X_OK)


def words(error: OSError) -> str:
    """Return what the system says of an error, in lower case; never its own text."""
    return posix.strerror(error.errno or 0).lower()


def xdg_folder(environ: "Mapping[str, str]", name: str) -> str:
    """Return the folder that an XDG variable names; empty where it names none.

    The XDG specification: a relative path is invalid, and to be ignored.
    """
    path = environ.get(name, "")
    return path if path.startswith("/") else ""


def is_void(name: str, value: str) -> bool:
    """Tell whether this is an XDG variable with a relative path, see `xdg_folder`.

    We hand none on to a program that would look in another place than we do.
    """
    return name.startswith("XDG_") and name.endswith(("_HOME", "_DIR")) and value[:1] != "/"


def without_waiting(path: str, flags: int) -> int:
    """Open `path` (for open()'s `opener`) also where it is a pipe that nobody writes to."""
    return posix.open(path, flags | posix.O_NONBLOCK | posix.O_CLOEXEC)


def working_folder() -> str:
    """Return the working directory; empty where it has been deleted, as if it were `/`."""
    try:
        return posix.getcwd()
    except FileNotFoundError:
        return ""


def folder_of(path: str) -> str:
    """Return the folder that an absolute, normalized path is in."""
    return path.rpartition("/")[0] or "/"


def absolute(path: str, start: str | None = None) -> str:
    """Return `path` absolute and normalized, `~` expanded.

    Args:
        path: Relative to `start` unless absolute.
        start: An absolute folder; None for the working directory.
    """
    whole = f"{start}/{path}" if start and path[:1] not in ("/", "~") else path
    parts = whole.split("/")
    if not parts[0] and len(parts) > 1 and not {"", ".", ".."} & set(parts[1:]):
        return whole
    import os

    return os.path.abspath(os.path.expanduser(whole))  # noqa: PTH100, PTH111
