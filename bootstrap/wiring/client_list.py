"""What `keyturn clients` looks at on this machine."""

import shutil
from functools import partial
from pathlib import PurePath

from bootstrap.adapters.client_probe import ProbeMemory, ask, keys_in
from bootstrap.adapters.find_lab import read_lab
from bootstrap.domain.catalogue import FILE
from bootstrap.domain.client_presets import parse_presets
from bootstrap.domain.labfile import parse_toml
from bootstrap.domain.table import Table
from bootstrap.wiring.client_packages import ClientPackages
from bootstrap.wiring.client_versions import versions
from bootstrap.workflows.clients import ClientDesk
from bootstrap.workflows.tools import Tools


def desk(tools: Tools) -> ClientDesk:
    """Return what looking at the lab's clients takes."""
    lab = tools.lab
    packages = ClientPackages()
    presets = parse_presets(Table(parse_toml(read_lab(str(lab.root))), "", FILE), packages)
    others = [name for name in packages.names() if name not in presets]
    problems = packages.problems(others)
    installed = {p.name: p for name in others if (p := packages.loaded(name))}

    def path_of(program: str) -> PurePath | None:
        found = shutil.which(program)
        return None if found is None else PurePath(found)

    return ClientDesk(
        lab=lab,
        places=tools.places,
        presets={**presets, **installed},
        problems=tuple(problems),
        key=lambda client: tools.resolver.resolve(lab.key_name(client)).secret,
        installed=path_of,
        held=lambda file, path: keys_in(file, path, lab.gateway.url),
        version=versions(tools.places),
        run=partial(ask, hidden=tuple(lab.secrets)),
        now=tools.clock.now,
        memory=ProbeMemory(tools.places.lab_state(lab.root)),
    )
