"""Start sops ahead of everything else, so that it decrypts while the rest of us is being loaded.

A run of `keyturn exec` that was given what [exec] names, and whose first source was a sops file,
notes how it ran sops. The next one in that lab starts the same at once: the installed command
(scripts/keyturn) even before Python. Here is decided what that is worth: nothing that it depends
on may have changed, and whoever wants that very file decrypted takes it over. All else goes its
usual way, and what nobody took is killed.
"""

import posix
import time

from bootstrap.adapters import exec_cache
from bootstrap.adapters.variables import variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.adapters.spawn import Child

_KIND = "ahead"
_MOST_BYTES = 1 << 20
_DECIDING = ("PATH", "KEYTURN_SOPS")
_EARLY_OUTPUT = 9  # of scripts/keyturn
_RECENT_NS = 2_000_000_000


class _Work:
    """One call of sops: its argument list, its configuration, and what it decrypts."""

    def __init__(self, argv: "Sequence[str]", config: str, file: str, data: bytes) -> None:
        self.argv = list(argv)
        self.config = config
        self.file = file
        self.data = data
        self.heading = b""  # what stands before its output


class _State:
    """What goes on in this process."""

    started: "tuple[_Work | None, Child] | None" = None
    done: _Work | None = None


def start(early: int = 0) -> None:
    """Start what the last run did; see the module.

    Args:
        early: The number of the process that scripts/keyturn started for that; 0: none.
    """
    from bootstrap.adapters.ending import end_on_signals
    from bootstrap.adapters.spawn import Child, StartedChild, can_spawn

    if early:
        posix.set_inheritable(_EARLY_OUTPUT, False)
        _State.started = None, StartedChild(early, _EARLY_OUTPUT)
        end_on_signals()
    try:
        work = _known_work(bool(early))
    except Exception:  # noqa: BLE001 - the usual way meets it too, and explains it
        work = None
    if work is None or not can_spawn(work.argv[0], None):
        abandon()
        return
    if _State.started is not None:
        # As what it was started it says itself: the note may have been another one then.
        work.heading = "\n".join((work.config, work.file, *work.argv, "")).encode()
        _State.started = work, _State.started[1]
        return
    from bootstrap.adapters.sops_environment import sops_environment

    end_on_signals()
    child = Child(work.argv, work.data, sops_environment(variables(), work.config))
    _State.started = work, child  # before it is: whatever comes, `abandon` ends it
    try:
        child.start()
    except OSError:
        _State.started = None


def take(argv: "Sequence[str]", data: bytes, timeout_s: float) -> bytes | None:
    """Return what sops printed for `data` if it was started for that, and did it; else None."""
    if _State.started is None:
        return None
    work, child = _State.started
    if work is None or work.argv != list(argv) or work.data != data:
        return None
    import _json  # noqa: F401 - will be needed; loading it now costs nothing

    try:
        status, output, _ = child.finish(timeout_s)
    except TimeoutError:
        return None
    finally:
        _State.started = None
    if status != 0 or not output.startswith(work.heading):
        return None
    return output[len(work.heading) :]


def abandon() -> None:
    """End what was started and nobody took."""
    if _State.started is not None:
        _State.started[1].kill()
        _State.started = None


def note(argv: "Sequence[str]", config: str, file: str, data: bytes) -> None:
    """Take note that sops was run like this, with success."""
    if _State.done is None:
        _State.done = _Work(argv, config, file, data)


def remember(root: str) -> None:
    """Have the next run in this lab start with what was noted first."""
    work, environ = _State.done, variables()
    if work is None:
        return
    try:
        surroundings = _surroundings(work, environ)
    except OSError:  # it is being replaced just now
        return
    # In this order scripts/keyturn reads them.
    parts = (*surroundings, work.config, work.file, *work.argv)
    if any("\n" in part for part in parts):
        return
    from bootstrap.adapters.find_lab import stat_lab

    text = "\n".join(parts)
    lab = stat_lab(root)
    if exec_cache.recall(_KIND, root, lab, environ) != text:
        exec_cache.remember(_KIND, root, lab, text, environ)


def _known_work(is_running: bool) -> _Work | None:
    """Return what to start, or None where it is not known, or something has changed.

    Args:
        is_running: It was started already, so what it reads must not have changed since.
    """
    from bootstrap.adapters.find_lab import find_lab, registry, stat_lab

    environ = variables()
    root = find_lab(None, registry(environ))
    text = root and exec_cache.recall(_KIND, root, stat_lab(root), environ)
    if not text:
        return None
    size = len(_DECIDING) + 1
    parts = text.split("\n")
    surroundings, (config, file, *argv) = parts[:size], parts[size:]
    handle = posix.open(file, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    try:
        data = posix.read(handle, _MOST_BYTES)
        if is_running and time.time_ns() - posix.fstat(handle).st_ctime_ns < _RECENT_NS:
            return None
    finally:
        posix.close(handle)
    work = _Work(argv, config, file, data)
    fits = _surroundings(work, environ) == surroundings and 0 < len(data) < _MOST_BYTES
    return work if fits else None


def _surroundings(work: _Work, environ: "Mapping[str, str]") -> list[str]:
    """Return what decides which sops is run."""
    program = posix.stat(work.argv[0])
    return [
        *(environ.get(name, "") for name in _DECIDING),
        f"{program.st_ino} {program.st_mtime_ns} {program.st_size}",
    ]
