"""What `keyturn exec --client NAME` adds: addresses, models, a key of its own, a private file.

How `exec` uses it (this module is imported only where `--client` is given):

    prepared = prepare(client, root, ClientOptions(model=…, …))
    # resolve every secret of prepared.names.values(), instead of the defaults under [exec]
    environment = child_environment(…)          # without the names in prepared.remove,
    environment |= prepared.environment         # with these,
    environment[variable] = secret              # and for each (variable, name) of prepared.names
    if prepared.supervise is None:
        become(argv, environment)
    return prepared.supervise(argv, environment)
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from bootstrap.adapters.find_lab import read_lab
from bootstrap.adapters.machine import places
from bootstrap.adapters.paths import working_folder
from bootstrap.adapters.project_settings import project_settings, settings_file
from bootstrap.domain.catalogue import FILE
from bootstrap.domain.client import Preset
from bootstrap.domain.client_presets import (
    choose,
    choose_model,
    environment_of,
    gateway_base,
    host_of,
    models_for,
    parse_presets,
    without_proxy,
)
from bootstrap.domain.droid_schema import same_gateway
from bootstrap.domain.errors import ConfigError, UsageError
from bootstrap.domain.lab import Lab, Model
from bootstrap.domain.labfile import parse_lab, parse_toml
from bootstrap.domain.redirects import redirect
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.table import Table
from bootstrap.wiring.client_packages import ClientPackages
from bootstrap.wiring.client_run import Supervision, key_desk
from bootstrap.workflows.client_keys import KeyDesk

_ISSUE_WAIT_S = 10.0
_REVOKE_WAIT_S = 3600.0


class ClientOptions:
    """What the command line says about the client.

    Attributes:
        model: `--model`, an alias; None for the lab's first model for this client.
        gateway: `--gateway URL`, for a machine without a lab, such as a CI job; else None.
        key: `auto`; `ephemeral` (`--ephemeral`); `master` (`--master`).
        trust_project: `--trust-project`.
    """

    __slots__ = ("gateway", "key", "model", "trust_project")

    def __init__(
        self,
        *,
        model: str | None = None,
        gateway: str | None = None,
        key: str = "auto",
        trust_project: bool = False,
    ) -> None:
        self.model = model
        self.gateway = gateway
        self.key = key
        self.trust_project = trust_project


class Prepared:
    """How the program is to be run.

    Attributes:
        environment: Variables to set; none of them is secret.
        remove: Variables that the program must not see, unless `--keep` or `--secret` names them.
        names: Variable -> name of the lab's secret that it carries; empty where the program gets
            a key of its own.
        notes: Lines for standard error.
        supervise: None where the program can simply replace this process. Else runs it to its
            end and returns its exit status: `supervise(argv, environment)`, or with a third
            argument `run(argv, environment, issued) -> status` that runs it in another way, for
            example masked: `issued` are the keys that were made for this run (they stand in
            `environment`), and a negative status is a signal. Ends this process by the signal
            that ended the program, where one did.
    """

    __slots__ = ("environment", "names", "notes", "remove", "supervise")

    def __init__(
        self,
        environment: Mapping[str, str],
        remove: tuple[str, ...],
        names: Mapping[str, str],
        supervise: Callable[..., int] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.environment = environment
        self.remove = remove
        self.names = names
        self.supervise = supervise
        self.notes = notes


def prepare(client: str, root: str | None, options: ClientOptions) -> Prepared:
    """Return how a program is run as the client `client`. Changes nothing yet.

    Args:
        client: `droid`, `claude`, `openai`, a table under [clients] in lab.toml, or a client that
            an installed package brings.
        root: The lab's folder, or None where there is none (then `options.gateway` must be given).
        options: See `ClientOptions`.

    Raises:
        UsageError: There is no such client or model, or no gateway to talk to.
        ConfigError: The lab file is malformed, or a settings file of the project would send the
            key to another host.
    """
    text = None if root is None else read_lab(root)
    packages = ClientPackages()
    table = Table(parse_toml(text or ""), "", FILE)
    preset = choose(parse_presets(table, packages, client), client, packages)
    lab = None
    if root is not None and text is not None:
        lab = parse_lab(text, PurePath(Path(root).resolve()), brought=packages, only=client)
    gateway = _gateway(lab, options)
    models = models_for(preset, _catalogue(preset, lab, options))
    model = choose_model(preset, models, options.model)
    if options.model is not None:
        models = tuple(m for m in models if m.alias == options.model)
    aliases = [m.alias for m in models]
    if not options.trust_project:
        _refuse_redirects(preset, gateway, aliases)
    environment = {**environment_of(preset, gateway, model), **_no_proxy(gateway)}
    desk = _own_key_desk(preset, lab, gateway, options)
    # What the agent is not given it shall not find, such as what direnv exported.
    hidden = (MASTER_KEY, *(lab.secrets if lab else ())) if preset.agent else ()
    names = {} if desk else dict.fromkeys(preset.key, _key_name(preset, lab, gateway, options))
    run = None
    if desk is not None or preset.settings is not None:
        run = Supervision(preset, gateway, models, model, desk)
    notes: tuple[str, ...] = ()
    if desk is None and preset.agent and options.key != "master":
        notes = (
            f"warning: {preset.name} can print {MASTER_KEY}, which it is given, since no key for "
            "this run alone can be issued here; --master if that is meant",
        )
    removed = tuple(dict.fromkeys((*preset.remove, *hidden)))
    return Prepared(environment, removed, names, run, notes)


def _key_name(preset: Preset, lab: Lab | None, gateway: str, options: ClientOptions) -> str:
    """Return which secret of the lab a program is given that gets no key for this run alone."""
    if lab is None or options.key == "master" or not same_gateway(gateway, lab.gateway.url):
        return MASTER_KEY
    return lab.key_name(preset.name)


def _gateway(lab: Lab | None, options: ClientOptions) -> str:
    if options.gateway is not None:
        return gateway_base(options.gateway)
    if lab is not None:
        return lab.gateway.url
    raise UsageError(
        "there is no gateway to talk to",
        why="no lab.toml here or above, and none registered",
        fix="name it: --gateway https://llm.example.com, or name the lab: --lab DIR",
    )


def _catalogue(preset: Preset, lab: Lab | None, options: ClientOptions) -> tuple[Model, ...]:
    """Return the lab's models; without a lab the one that was asked for."""
    if lab is not None:
        return lab.models
    alias = options.model
    if alias is None:
        if not preset.agent:
            return ()
        raise UsageError(
            f"no model for {preset.name}",
            why="there is no lab here whose first model it could use",
            fix="name it: --model ALIAS",
        )
    return (Model(alias, "", alias, alias),)


def _no_proxy(gateway: str) -> dict[str, str]:
    host = host_of(gateway)
    values = {n: without_proxy(os.environ.get(n, ""), host) for n in ("NO_PROXY", "no_proxy")}
    return {name: value for name, value in values.items() if value}


def _refuse_redirects(preset: Preset, gateway: str, aliases: Sequence[str]) -> None:
    for path, data in _settings_files(preset):
        where = redirect(
            data,
            variables=preset.key,
            gateway=gateway,
            aliases=aliases,
            redirects=preset.redirects,
        )
        if where is not None:
            raise ConfigError(
                f"{path}: {where}",
                why=f"{preset.name} could send the key to another host than {gateway}",
                fix="look at it; if that is meant: keyturn exec --trust-project …",
            )


def _settings_files(preset: Preset) -> Iterator[tuple[Path, bytes]]:
    home = Path(places().home)
    yield from project_settings(Path(working_folder() or "/"), home, preset.project_files)
    if preset.user_file is not None:
        variable, folder, name = preset.user_file
        yield from settings_file(Path(os.environ.get(variable) or home / folder) / name)


def _own_key_desk(
    preset: Preset, lab: Lab | None, gateway: str, options: ClientOptions
) -> tuple[KeyDesk, KeyDesk] | None:
    """Return what issues and what revokes the program's own key; None where it gets the lab's.

    Raises:
        UsageError: It was asked for, or is the rule, and cannot be had.
    """
    if options.key == "master" or (options.key == "auto" and not preset.agent):
        return None
    asked = options.key == "ephemeral"
    ours = lab is not None and same_gateway(gateway, lab.gateway.url)
    if lab is None or not ours or not (lab.guarded or asked):
        if asked:
            raise UsageError(
                "no key can be issued for this run",
                why="the gateway is not the one of a lab on this machine",
                fix="leave out --ephemeral; the key then comes from the secret's sources",
            )
        return None
    desk = key_desk(lab, wait_s=_ISSUE_WAIT_S)
    if not Path(desk.path).exists():
        raise UsageError(
            f"no key can be issued for {preset.name}",
            why=f"the guard is not in force on this machine: there is no {desk.path}",
            fix="keyturn apply; or hand over the master key itself: --master",
        )
    return desk, key_desk(lab, wait_s=_REVOKE_WAIT_S)
