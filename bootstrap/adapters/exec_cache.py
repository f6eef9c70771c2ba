"""Remembers what `keyturn exec` needs of a lab file for as long as the file stays the same.

One small file per lab and kind in the user's cache, 0600, names and references only. Its place
follows from the lab's path, so that scripts/keyturn finds it without a process. A file that
somebody else could have written is not believed, one that cannot be written costs only time.
"""

import posix

from bootstrap import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_RECENT_NS = 2_000_000_000
_MOST_BYTES = 1 << 24  # a million secrets
_FORMAT = "keyturn-exec-2"
_END = "\nend\n"


def recall(
    kind: str, root: str, lab: posix.stat_result, environ: "Mapping[str, str]"
) -> str | None:
    """Return what was remembered for the lab file in the state `lab`, or None.

    Args:
        kind: What it is about, a word.
        root: The lab's folder.
        lab: What stat() says of its lab file now.
        environ: Where XDG_CACHE_HOME and HOME are looked up.
    """
    try:
        path = _path(kind, root, environ)
        flags = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK
        handle = posix.open(path, flags)
    except OSError:
        return None
    try:
        found = posix.fstat(handle)
        if found.st_uid != posix.geteuid() or found.st_mode & 0o077 or found.st_size > _MOST_BYTES:
            return None
        text = posix.read(handle, found.st_size).decode()
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        posix.close(handle)
    state = _state(root, lab)
    if not text.startswith(state) or not text.endswith(_END):
        return None
    return text[len(state) : -len(_END)]


def remember(
    kind: str, root: str, lab: posix.stat_result, text: str, environ: "Mapping[str, str]"
) -> None:
    """Keep `text` for the lab file in the state `lab`; see `recall`.

    Not in a CI job, which shall find nothing written, and not for a file that changed a moment
    ago: it could change again within the same tick of the file system's clock.
    """
    import os
    import time

    newest = max(lab.st_mtime_ns, lab.st_ctime_ns)
    if environ.get("CI") or time.time_ns() - newest < _RECENT_NS:
        return
    try:
        path = _path(kind, root, environ)
        data = f"{_state(root, lab)}{text}{_END}".encode()
        temporary = f"{path}.{os.getpid()}"
        os.stat(environ.get("HOME", ""))  # noqa: PTH116 - no cache makes a home
        for folder in (_base(environ), os.path.dirname(path)):  # noqa: PTH120
            os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(temporary, flags, 0o600)
    except (OSError, UnicodeEncodeError):
        return
    try:
        os.write(handle, data)
        os.rename(temporary, path)  # noqa: PTH104
    except OSError:
        os.unlink(temporary)  # noqa: PTH108
    finally:
        os.close(handle)


def _base(environ: "Mapping[str, str]") -> str:
    base = environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            raise FileNotFoundError
        base = f"{home}/.cache"
    return f"{base}/keyturn"


def _path(kind: str, root: str, environ: "Mapping[str, str]") -> str:
    return f"{_base(environ)}/{kind}{root}/note"


def _state(root: str, lab: posix.stat_result) -> str:
    """Return a line that changes whenever the lab file, its place or keyturn does."""
    parts = (lab.st_dev, lab.st_ino, lab.st_size, lab.st_mtime_ns, lab.st_ctime_ns)
    return " ".join((_FORMAT, __version__, *map(str, parts), ascii(root))) + "\n"
