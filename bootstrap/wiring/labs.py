"""Find the lab, and build the tools that its workflows use."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path, PurePath

from bootstrap.adapters import age, machine
from bootstrap.adapters.audit import FileAudit
from bootstrap.adapters.disk import no_room
from bootstrap.adapters.dotenv import secret_in
from bootstrap.adapters.entropy import misfit_of, new_key, weakness_of
from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.journal import FileJournal
from bootstrap.adapters.listeners import LocalPorts
from bootstrap.adapters.litellm_install import LitellmInstaller
from bootstrap.adapters.lock import lab_lock
from bootstrap.adapters.machine import JsonState, SystemClock, TemplateFolder
from bootstrap.adapters.redact import KnownSecrets
from bootstrap.adapters.redis_door import PasswordDoor
from bootstrap.adapters.redis_ping import ping
from bootstrap.adapters.sops import SopsProvider
from bootstrap.adapters.supervisor import SupervisorService
from bootstrap.adapters.systemd import SystemdService
from bootstrap.adapters.vault import LabVault
from bootstrap.domain.content import Content, Write
from bootstrap.domain.errors import ServiceError, UsageError
from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.ports import Progress, Service
from bootstrap.wiring.client_packages import ClientPackages
from bootstrap.wiring.client_versions import on_this_machine
from bootstrap.wiring.found_lab import keyturn_program, load
from bootstrap.wiring.providers import Providers
from bootstrap.workflows.init import Desk
from bootstrap.workflows.resolve import Resolver
from bootstrap.workflows.tools import RotationTools, Tools

UNIT = "litellm.service"


def desk(root: PurePath) -> Desk:
    """Return what `init` needs to make a lab at `root`."""

    def ensure_identity() -> tuple[str, bool, PurePath]:
        recipient, created = age.ensure_identity()
        return recipient, created, PurePath(age.identity_file())

    return Desk(
        root=root,
        files=LocalFiles(),
        templates=TemplateFolder(root),
        store=SopsProvider(root),
        ensure_identity=ensure_identity,
        new_key=new_key,
        keyturn=keyturn_program(),
    )


def tools(
    root: PurePath, progress: Progress, *, profile: str | None = None, source: str | None = None
) -> Tools:
    """Return the tools of the lab at `root`.

    Args:
        root: The lab's folder.
        progress: Where to say what is going on.
        profile: A profile instead of the lab file's.
        source: Ask only sources of this scheme.
    """
    places, packages = machine.places(), ClientPackages()
    lab = on_this_machine(load(root, profile, packages), places)
    providers = Providers(root)
    installer = LitellmInstaller(Path(places.venv), lab.gateway.version, lab.gateway.command)
    lab = _with_socket_settled(lab, installer)
    return Tools(
        lab=lab,
        places=places,
        keyturn=keyturn_program(),
        files=LocalFiles(),
        templates=TemplateFolder(root, packages.folders),
        resolver=Resolver(lab.secrets, providers, source),
        provider=providers,
        service=service(lab, places),
        gateway=HttpGateway(lab.gateway.url),
        ports=LocalPorts(),
        installer=installer,
        state=JsonState(places.lab_state(root)),
        clock=SystemClock(),
        progress=progress,
        new_key=new_key,
        known=known,
        ping_redis=lambda host, port, password: ping(host, port, password, 3.0),
        deployed_key=lambda: secret_in(places.env_file, MASTER_KEY),
        other_labs=lambda: machine.other_labs(places.lab_state(root).parent, root),
    )


def _with_socket_settled(lab: Lab, installer: LitellmInstaller) -> Lab:
    """Return the lab with `gateway.socket` no longer `auto` where its command decides that."""
    gateway = lab.gateway
    if gateway.socket != "auto" or gateway.command is None:
        return lab
    settled = "always" if installer.interpreter() is not None else "never"
    return replace(lab, gateway=replace(gateway, socket=settled))


def rotation(tools: Tools) -> RotationTools:
    """Return what a rotation needs beside `tools`."""
    lab, redis = tools.lab, tools.lab.redis
    folder = tools.places.lab_state(lab.root)

    def sources(name: str) -> Sequence[SecretRef]:
        return lab.secrets[name].sources if name in lab.secrets else ()

    return RotationTools(
        FileJournal(folder),
        LabVault(sources, tools.provider),
        weakness_of,
        misfit_of,
        PasswordDoor(redis.host, redis.port) if redis and redis.password else None,
        FileAudit(folder),
        no_room,
    )


def read_secret_from_stdin() -> Secret:
    """Return the secret on standard input, without one trailing newline.

    Raises:
        UsageError: It is a terminal, empty, or not UTF-8.
    """
    text = "" if sys.stdin.isatty() else sys.stdin.buffer.read(65537).decode("utf-8", "replace")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(text) > 65535 or "\ufffd" in text:
        raise UsageError(
            "no secret on standard input",
            why="it is a terminal, empty, or not text",
            fix="pipe it: pass show lab/key | keyturn rotate --value-stdin",
        )
    return Secret(text)


def known(secrets: Mapping[str, Secret]) -> KnownSecrets:
    """Return a mask for `secrets`."""
    return KnownSecrets(secrets)


def service(lab: Lab, places: Places) -> Service:
    """Return the service manager that keeps the lab's gateway alive.

    `auto` takes systemd --user where its bus answers, unless our supervisor already runs it.

    Raises:
        ServiceError: The lab asks for systemd, and its user manager cannot be reached.
    """
    folder = places.lab_state(lab.root)
    own = SupervisorService(folder / "service.json", folder)
    if lab.gateway.service == "supervisor":
        return own
    why_not = SystemdService.available()
    if lab.gateway.service == "systemd":
        if why_not:
            raise ServiceError(
                "systemd --user cannot be used",
                why=why_not,
                fix='write service = "auto" under [gateway] in lab.toml, or log in properly',
            )
        return SystemdService(UNIT, socket=lab.gateway.held is not None)
    if why_not or own.status().running:
        return own
    return SystemdService(UNIT, socket=lab.gateway.held is not None)


def lock(root: PurePath) -> AbstractContextManager[None]:
    """Hold the lab's lock while the block runs.

    Raises:
        LockedError: Another keyturn works on this lab.
    """
    return lab_lock(Path(machine.places().lab_state(root)))


def register_default(root: PurePath) -> bool:
    """Make the lab at `root` the one that commands use from any folder; False if it was already."""
    path = machine.places().default_lab
    files = LocalFiles()
    found = files.observe(path)
    wanted = f"{root}\n".encode()
    if found is not None and (found.content.data == wanted or _is_lab(found.content.data)):
        return False
    files.replace_all([Write.over(found, path, Content(wanted), 0o600)])
    return True


def _is_lab(data: bytes) -> bool:
    return Path(data.decode("utf-8", "replace").strip(), "lab.toml").is_file()
