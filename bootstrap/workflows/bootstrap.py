"""From a bare machine to a proven gateway: init, install, apply, start, check."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import PurePath

from bootstrap.domain.errors import UsageError
from bootstrap.ports import Progress
from bootstrap.workflows.apply import Applied, apply
from bootstrap.workflows.init import Desk, Made, init
from bootstrap.workflows.tools import Tools


@dataclass(frozen=True)
class Builder:
    """How `bootstrap` gets hold of the world once it knows where the lab is.

    Attributes:
        locate: The lab's folder, or None where there is none yet.
        here: The working directory.
        home: The user's home, where no lab is made by accident.
        desk: Root -> what `init` needs.
        tools: Root -> the lab's tools.
        settle: Brings a rotation that a crash left open to its end.
        lock: Root -> the lab's lock.
        register: Makes the lab the default one; True if it was not.
    """

    locate: Callable[[], PurePath | None]
    here: PurePath
    home: PurePath
    desk: Callable[[PurePath], Desk]
    tools: Callable[[PurePath], Tools]
    settle: Callable[[Tools], object]
    lock: Callable[[PurePath], AbstractContextManager[object]]
    register: Callable[[PurePath], bool]


@dataclass(frozen=True)
class Bootstrapped:
    """What `bootstrap` did.

    Attributes:
        tools: The lab's tools, for the summary.
        made: What `init` made.
        applied: What `apply` did.
        program: The gateway's program.
        installed: Whether that had to be installed.
        registered: Whether the lab became the default one.
    """

    tools: Tools
    made: Made
    applied: Applied
    program: PurePath
    installed: bool
    registered: bool


def bootstrap(
    builder: Builder,
    progress: Progress,
    *,
    folder: PurePath | None = None,
    port: int | None = None,
    start: bool = True,
    force: bool = False,
) -> Bootstrapped:
    """Make the lab where there is none, and bring this machine to what it says.

    Args:
        builder: How to get hold of the world.
        progress: Where to say what is going on.
        folder: Where to make or find the lab; default: the one found, else the working directory.
        port: The gateway's port for a new lab.
        start: Start and prove the gateway.
        force: Overwrite what was edited by hand, keeping backups.

    Raises:
        LabError: Something could not be done; running it again goes on from there.
    """
    root = folder or choose_root(builder.locate(), builder.here, builder.home)
    with builder.lock(root):
        with progress.step(f"lab {root}"):
            made = init(builder.desk(root), port=port)
        tools = builder.tools(root)
        with _noted(progress, made):
            builder.settle(tools)
            missing = tools.installer.installed() is None
            if missing and not start:  # else `apply` does it, once it knows that nothing conflicts
                tools.installer.install(progress)
            applied = apply(tools, force=force, start=start)
        registered = builder.register(root)
    return Bootstrapped(tools, made, applied, tools.program, missing, registered)


def choose_root(
    found: PurePath | None, here: PurePath, home: PurePath, command: str = "bootstrap"
) -> PurePath:
    """Return where the lab is, or is to be made: the one found, else the working directory.

    Raises:
        UsageError: That would be the home folder, or the root of the file system.
    """
    if found is not None:
        return found
    if here in (home, PurePath("/")):
        raise UsageError(
            f"no lab is made in {here}",
            why="it would spread over your home folder",
            fix=f"name a folder of its own: keyturn {command} ~/lab",
        )
    return here


@contextmanager
def _noted(progress: Progress, made: Made) -> Iterator[None]:
    """Say that a new identity must be backed up even where a later step fails."""
    try:
        yield
    except BaseException:
        if made.identity is not None:
            progress.note(f"A new age identity is in {made.identity}: back it up.")
        raise
