"""Which files a lab answers for: path, mode, template, owner, check, and the service they touch."""

from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.extra_files import ExtraFile
from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY

CONFIG = "litellm-config"
CAPS = "litellm-caps"
HOOK = "litellm-hook"
GUARD = "litellm-guard"
GUARD_RULES = "litellm-guard-rules"
GUARD_USES = "litellm-guard-uses"
KEYSET = "litellm-keyset"
ENV_FILE = "env-file"
GATEWAY_ENV = "gateway-env"
SERVE = "litellm-serve"
UNIT = "unit"
UNIT_SOCKET = "unit-socket"
UNIT_SPARE = "unit-spare"
SUPERVISOR = "supervisor"
DROID_SETTINGS = "droid-settings"
DROID_OVERLAY = "droid-overlay"
DROID_LEGACY = "droid-legacy"
DROID_KEY_HELPER = "droid-key-helper"
ENVRC = "envrc"
CLAUDE_SETTINGS = "claude-settings"
OPENWEBUI_ENV = "openwebui-env"


class Owner(Enum):
    """Whose file a target is, which decides how it is written."""

    KEYTURN = "keyturn"  # the whole file is ours
    DROID = "droid"  # only our entries are; every other byte is kept
    CLAUDE = "claude"  # only our members are; every other byte is kept
    LEGACY = "droid-legacy"  # our entries leave it; removed with a backup when nothing is left
    KEYSET = "keyset"  # ours, but client keys in it are issued and revoked one by one
    GUEST = "guest"  # ours if we made it, else left alone


class Touches(Enum):
    """What has to happen once a target has changed."""

    NOTHING = "nothing"
    GATEWAY = "gateway"  # the gateway restarts
    MANAGER = "manager"  # the service manager re-reads its files, then the gateway restarts


@dataclass(frozen=True)
class Target:
    """A file that we answer for.

    Attributes:
        name: Its stable name in plans, in the state and on the command line.
        path: Where it stands; absolute.
        template: Its name under `templates/`; None where nothing is rendered.
        check: Which validation the rendered file must pass: a key of `bootstrap.domain.validate`.
        owner: Whose file it is.
        touches: What its change brings about.
        mode: Permission bits.
        raw: The template is copied as it is, not rendered.
        secret: Whether a key stands in it.
        client: The client whose file it is; empty for none.
        needs: Key paths, or variables, without which its reader would not take it.
    """

    name: str
    path: PurePath
    template: str | None
    check: str
    owner: Owner = Owner.KEYTURN
    touches: Touches = Touches.NOTHING
    mode: int = 0o600
    raw: bool = False
    secret: bool = False
    client: str = ""
    needs: tuple[str, ...] = ()


def targets(lab: Lab, places: Places, service_kind: str) -> tuple[Target, ...]:
    """Return the lab's targets in the order in which they are written.

    The gateway's files come before the clients', so that a client never holds a key that no
    gateway file knows.

    Args:
        lab: The lab.
        places: This machine's homes.
        service_kind: `systemd` or `supervisor`, as chosen on this machine.

    Raises:
        ConfigError: A file of the user's own is one that the lab renders anyway.
    """
    found = (
        *_gateway(lab, places, service_kind),
        *_clients(lab, places),
        *(_extra(file, places) for file in lab.files),
    )
    _refuse_same_place(found, lab)
    return found


def _gateway(lab: Lab, places: Places, service_kind: str) -> list[Target]:
    folder = places.litellm
    found = [
        _module(HOOK, folder, "keyturn_output_cap.py"),
        Target(CAPS, folder / "keyturn-caps.json", "litellm/keyturn-caps.json.j2", "json"),
        Target(
            CONFIG,
            folder / "config.yaml",
            "litellm/config.yaml.j2",
            "litellm",
            touches=Touches.GATEWAY,
            secret=lab.gateway.literal_keys,
        ),
        *_keys(lab, places),
    ]
    if lab.gateway.held is not None:
        found.append(_module(SERVE, folder, places.litellm_serve.name))
    if service_kind == "systemd":
        return [*found, *_units(lab, places)]
    spec = places.lab_state(lab.root) / "service.json"
    found.append(
        Target(SUPERVISOR, spec, "supervisor/service.json.j2", "json", touches=Touches.MANAGER)
    )
    return found


def _units(lab: Lab, places: Places) -> list[Target]:
    """Return systemd's unit and, where systemd holds the port open, the two that go with it."""
    folder = places.config / "systemd" / "user"
    rows = [(UNIT, "litellm.service", "litellm.service", "unit")]
    if lab.gateway.held is not None:
        rows += [
            (UNIT_SOCKET, "litellm.socket", "litellm.socket", "socket"),
            (UNIT_SPARE, "litellm-spare.service", "litellm.service", "unit"),
        ]
    return [
        Target(
            name, folder / file, f"systemd/{source}.j2", check, touches=Touches.MANAGER, mode=0o644
        )
        for name, file, source, check in rows
    ]


def _module(name: str, folder: PurePath, file: str) -> Target:
    """Return a module of ours that runs inside LiteLLM, copied as it is."""
    template, gateway = f"litellm/{file}", Touches.GATEWAY
    return Target(name, folder / file, template, "python", touches=gateway, raw=True)


def _keys(lab: Lab, places: Places) -> list[Target]:
    """Return who holds keys: under the guard the gateway gets none that a client holds."""
    folder = places.litellm
    touches = Touches.NOTHING if lab.guarded else Touches.GATEWAY
    shells = Target(
        ENV_FILE,
        places.env_file,
        "litellm/litellm.env.j2",
        "env",
        touches=touches,
        secret=True,
        needs=(MASTER_KEY,),
    )
    if not lab.guarded:
        return [shells]
    return [
        _module(GUARD_RULES, folder, "keyturn_guard_rules.py"),
        _module(GUARD_USES, folder, "keyturn_guard_uses.py"),
        _module(GUARD, folder, "keyturn_guard.py"),
        Target(KEYSET, folder / "keyturn-keyset.json", None, "none", Owner.KEYSET),
        Target(
            GATEWAY_ENV,
            places.gateway_env,
            "litellm/gateway.env.j2",
            "env",
            touches=Touches.GATEWAY,
            secret=True,
            needs=(INTERNAL_KEY,),
        ),
        shells,
    ]


def _refuse_same_place(found: tuple[Target, ...], lab: Lab) -> None:
    seen: dict[PurePath, str] = {}
    for target in found if lab.files or lab.brought else ():
        if target.path in seen and target.client in lab.brought:
            raise ConfigError(
                f"{target.path} is rendered twice",
                why=f"as {seen[target.path]}, and for the client {target.client} of a package",
                fix=f"remove [clients.{target.client}] from {lab.file}",
            )
        if target.path in seen:
            raise ConfigError(
                f"{target.path} is rendered twice",
                why=f"as {seen[target.path]}, and under [[files]]",
                fix=f"remove it from [[files]] in {lab.file}",
            )
        seen[target.path] = target.name


def _extra(file: ExtraFile, places: Places) -> Target:
    return Target(file.path, file.place(places.home), file.template, file.check, secret=True)


def _clients(lab: Lab, places: Places) -> list[Target]:
    # These need this module themselves.
    from bootstrap.domain.client_ways import client_files

    found = [
        Target(
            file.name,
            file.place(places),
            file.template,
            file.check,
            file.owner,
            secret=secret,
            client=client,
            needs=file.needs,
        )
        for client, file, secret in client_files(lab)
    ]
    if lab.switches.envrc:
        envrc = Target(
            ENVRC, lab.root / ".envrc", "direnv/envrc.j2", "shell", Owner.GUEST, mode=0o644
        )
        found.append(envrc)
    return found
