"""The lab and its secrets, without what its gateway takes: `get` and `list` wait for no more.

The rest is in `bootstrap.wiring.labs`.
"""

import shutil
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from bootstrap.adapters import machine
from bootstrap.adapters.disk import resolved
from bootstrap.adapters.find_lab import find_lab, no_lab, read_lab
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.lab import Lab
from bootstrap.domain.labfile import parse_lab
from bootstrap.wiring.own_files import check_own_files
from bootstrap.wiring.providers import Providers
from bootstrap.workflows.resolve import Resolver

if TYPE_CHECKING:
    from bootstrap.wiring.client_packages import ClientPackages


def locate(given: str | None) -> PurePath | None:
    """Return the lab's folder, or None where there is none to be found."""
    found = find_lab(given, str(machine.places().default_lab))
    # Resolved, since the state of a lab is filed under its path: a symlink is no second lab.
    return None if found is None else absolute(Path(found))


def require(given: str | None) -> PurePath:
    """Return the lab's folder.

    Raises:
        ConfigError: There is none.
    """
    root = locate(given)
    if root is None:
        raise no_lab(str(machine.places().default_lab))
    return root


def load(
    root: PurePath, profile: str | None = None, packages: "ClientPackages | None" = None
) -> Lab:
    """Return the lab at `root`.

    Args:
        root: Its folder.
        profile: A profile instead of the lab file's.
        packages: What brings clients; without it those are passed over.

    Raises:
        ConfigError: It is malformed, or its [[files]] would overwrite what keyturn works with.
    """
    text = read_lab(str(root))
    if packages is None:
        lab = parse_lab(text, root, profile, only="")
    else:
        lab = parse_lab(text, root, profile, brought=packages)
    check_own_files(lab)
    return lab


def keyturn_program() -> str:
    """Return the absolute path of this keyturn, as other programs should call it."""
    beside = Path(sys.executable).parent / "keyturn"
    if beside.is_file():
        return str(beside)
    return shutil.which("keyturn") or str(Path(sys.argv[0]).resolve())


def absolute(folder: Path) -> PurePath:
    """Return `folder` absolute, with `~` expanded and symlinks resolved.

    Raises:
        ConfigError: No program could be told its name.
    """
    try:
        path = resolved(folder.expanduser())
        str(path).encode()
    except (OSError, RuntimeError, ValueError):  # a loop, an unknown ~user, no UTF-8, a NUL
        raise ConfigError(
            f"{str(folder)!a} is no folder for a lab",
            why="its path cannot be resolved, or is not UTF-8",
            fix="choose another folder",
        ) from None
    return PurePath(path)


def home() -> PurePath:
    """Return the user's home."""
    return machine.places().home


def resolver(root: PurePath, source: str | None = None) -> Resolver:
    """Return what finds the secrets of the lab at `root`."""
    return Resolver(load(root).secrets, Providers(root), source)


def working_directory() -> PurePath:
    """Return the current folder, absolute.

    Raises:
        ConfigError: It is gone.
    """
    try:
        return absolute(Path.cwd())
    except FileNotFoundError:
        raise ConfigError(
            "this folder is gone", why="it was removed", fix="cd somewhere else"
        ) from None
