"""What `keyturn scan` searches on this machine."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from bootstrap.adapters.paths import xdg_folder
from bootstrap.adapters.scan_files import FolderHaystack, Start, home_files
from bootstrap.adapters.scan_forms import hunter_for, too_short
from bootstrap.adapters.scan_git import GitHaystack
from bootstrap.adapters.scan_processes import ProcessHaystack
from bootstrap.adapters.scan_programs import ProgramHaystack
from bootstrap.domain.client_ways import kept_files
from bootstrap.domain.errors import UsageError
from bootstrap.domain.places import Places
from bootstrap.domain.scanning import Hunter
from bootstrap.wiring import found_lab
from bootstrap.workflows.scan import Haystack, Sought, declared
from bootstrap.workflows.tools import Tools

_MOST_DATA_BYTES = 1 << 30


def hunter(sought: Sought) -> tuple[Hunter, list[str]]:
    """Return what finds the keys, and the names of those too short to be looked for."""
    short = [name for name, secret in sought.values.items() if too_short(secret)]
    return hunter_for(sought.keys, sought.values.values()), short


def haystacks(
    tools: Tools, asked: Sequence[str], *, only: bool, spared: Collection[str]
) -> list[Haystack]:
    """Return what is searched.

    Args:
        tools: The lab and everything around it.
        asked: Paths that the user named.
        only: Search nothing else.
        spared: Paths to leave out.

    Raises:
        UsageError: One of the paths does not exist.
        ConfigError: The current folder is gone.
    """
    named = [Start(existing(path), asked=True) for path in asked]
    keep = declared(tools)
    leave = [existing(path) for path in spared]
    if only:
        return [FolderHaystack(named, [Path(path) for path in keep], leave, "what you named")]
    kept = [Start(path) for path in map(Path, kept_files(tools.lab, tools.places)) if path.exists()]
    starts = [*named, *kept, *_default_places(tools.places, tools.lab.root)]
    unit = tools.service.name if tools.service.kind == "systemd" else None
    return [
        FolderHaystack(starts, [Path(path) for path in keep], leave),
        ProcessHaystack(),
        ProgramHaystack(unit, as_root=os.getuid() == 0),
        GitHaystack(tools.lab.root),
    ]


def _default_places(places: Places, root: PurePath) -> list[Start]:
    """Return where keys are apt to lie: the lab, the clients' and the shells' files, settings."""
    home = Path(places.home)
    data = Path(xdg_folder(os.environ, "XDG_DATA_HOME") or home / ".local" / "share")
    folders = (root, places.factory, places.claude, places.config, places.state)
    return [
        *(Start(path) for path in home_files(home)),
        *(Start(Path(folder)) for folder in folders if Path(folder).is_dir()),
        *([Start(data, most_bytes=_MOST_DATA_BYTES)] if data.is_dir() else []),
    ]


def existing(text: str) -> Path:
    """Return a path that the user wrote, absolute.

    Raises:
        UsageError: It does not exist.
        ConfigError: The current folder is gone.
    """
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - never raises
    path = Path(found_lab.working_directory(), path)
    if not os.path.lexists(path):
        raise UsageError(
            f"{text!a} cannot be searched",
            why="there is no such file or folder",
            fix="name another one",
        )
    return path
