"""Refuse a lab file whose [[files]] or clients would overwrite what keyturn works with."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from bootstrap.adapters import age, machine
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.lab import Lab
from bootstrap.domain.off_limits import RULES, Kept, Taken, off_limits
from bootstrap.domain.places import Places
from bootstrap.domain.targets import targets


def check_own_files(lab: Lab) -> None:
    """Refuse a file of the user's own that leads to one of keyturn's, through symlinks as well.

    The same goes for a file of a client that a package brings.

    Raises:
        ConfigError: There is one; names its key path.
    """
    if not lab.files and not lab.brought:
        return
    places = machine.places()
    bare = replace(lab, files=(), brought={})
    taken = Taken(replace(kept, path=_real(kept.path)) for kept in _kept(bare))
    _check_clients(lab, places, taken)
    for number, file in enumerate(lab.files):
        place = file.place(places.home)
        real = _real(place)
        hit = taken.hindered_by(real)
        if hit is None and real.name == RULES:
            hit = "what says who can decrypt"
        if hit is not None:
            way = "" if real == place else f" (it leads to {real})"
            raise ConfigError(
                f"lab.toml: files[{number}].path",
                why=f"{place}{way} is {hit}",
                fix='name a file that nothing else uses, such as "~/.config/tool/tool.env"',
            )
        taken.add(Kept(real, f"that of files[{number}], too"))


def _check_clients(lab: Lab, places: Places, taken: Taken) -> None:
    """Refuse the files of clients of packages that stand on what is taken, and take the others."""
    if not lab.brought:
        return
    for target in targets(replace(lab, files=()), places, "supervisor"):
        if target.client not in lab.brought:
            continue
        real = _real(target.path)
        hit = taken.hindered_by(real)
        if hit is not None:
            raise ConfigError(
                f"the client {target.client} of a package cannot be set up",
                why=f"its file {target.path} is {hit}",
                fix=f"remove [clients.{target.client}] from {lab.file}, and tell its maker",
            )
        taken.add(Kept(real, f"a file of the client {target.client}"))


def _kept(lab: Lab) -> Iterator[Kept]:
    yield from off_limits(lab, machine.places())
    names = ("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE")
    named = [os.environ.get(name) for name in names]
    for path in (age.identity_file(), *(Path(name).absolute() for name in named if name)):
        yield Kept(PurePath(path), "the identity that opens the store")


def _real(path: PurePath) -> PurePath:
    """Return where a path leads; what is missing or cannot be looked at counts as it is written."""
    return PurePath(os.path.realpath(path))
