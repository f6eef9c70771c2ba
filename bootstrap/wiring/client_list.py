"""What `keyturn clients` looks at on this machine."""

import shutil
from pathlib import PurePath

from bootstrap.adapters.client_probe import ProbeMemory, ask, keys_in
from bootstrap.adapters.find_lab import read_lab
from bootstrap.domain.catalogue import FILE
from bootstrap.domain.client_presets import parse_presets
from bootstrap.domain.labfile import parse_toml
from bootstrap.domain.table import Table
from bootstrap.workflows.clients import ClientDesk
from bootstrap.workflows.tools import Tools


def desk(tools: Tools) -> ClientDesk:
    """Return what looking at the lab's clients takes."""
    lab = tools.lab
    presets = parse_presets(Table(parse_toml(read_lab(str(lab.root))), "", FILE))

    def installed(program: str) -> PurePath | None:
        found = shutil.which(program)
        return None if found is None else PurePath(found)

    return ClientDesk(
        lab=lab,
        places=tools.places,
        service_kind=tools.service.kind,
        presets=presets,
        key=lambda client: tools.resolver.resolve(lab.key_name(client)).secret,
        installed=installed,
        held=lambda client, file: keys_in(client, file, lab.gateway.url),
        run=ask,
        now=tools.clock.now,
        memory=ProbeMemory(tools.places.lab_state(lab.root)),
    )
