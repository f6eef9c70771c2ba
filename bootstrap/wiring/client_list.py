"""What `keyturn clients` looks at on this machine."""

import shutil
from collections.abc import Mapping
from pathlib import PurePath

from bootstrap.adapters.client_probe import ProbeMemory, ask, keys_in
from bootstrap.adapters.find_lab import read_lab
from bootstrap.domain.catalogue import FILE
from bootstrap.domain.client_presets import parse_presets
from bootstrap.domain.labfile import parse_toml
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.table import Table
from bootstrap.workflows.clients import ClientDesk
from bootstrap.workflows.tools import Tools


def desk(tools: Tools) -> ClientDesk:
    """Return what looking at the lab's clients takes."""
    lab = tools.lab
    presets = parse_presets(Table(parse_toml(read_lab(str(lab.root))), "", FILE))
    key = tools.resolver.resolve(MASTER_KEY).secret

    def installed(program: str) -> PurePath | None:
        found = shutil.which(program)
        return None if found is None else PurePath(found)

    def run(
        argv: tuple[str, ...], variables: Mapping[str, str], name: str | None
    ) -> tuple[int, str] | str:
        return ask(argv, variables, None if name is None else (name, key))

    return ClientDesk(
        lab=lab,
        places=tools.places,
        service_kind=tools.service.kind,
        presets=presets,
        key=key,
        installed=installed,
        held=lambda client, file: keys_in(client, file, lab.gateway.url),
        run=run,
        now=tools.clock.now,
        memory=ProbeMemory(tools.places.lab_state(lab.root)),
    )
