"""What `keyturn exec` needs, and no more: the same resolver and providers as everywhere."""

import sys

from bootstrap.adapters.become import become, child_environment, is_stale
from bootstrap.adapters.ending import end_on_signals, raise_what_arrived
from bootstrap.adapters.find_lab import find_lab, no_lab, registry, stat_lab
from bootstrap.adapters.paths import working_folder
from bootstrap.adapters.variables import given_variables, variables
from bootstrap.domain import exec_settings
from bootstrap.domain.base_errors import ConfigError, UsageError
from bootstrap.domain.ref import named_ref
from bootstrap.domain.secret_spec import SecretSpec, default_sources
from bootstrap.wiring.providers import Providers
from bootstrap.workflows.resolve import Resolver, late_sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.domain.exec_settings import ExecSettings
    from bootstrap.wiring.clients import Prepared
    from bootstrap.workflows.resolve import Resolved


class ExecOptions:
    """What the command line of `keyturn exec` says.

    Attributes:
        lab: `--lab`, or None.
        pairs: `NAME` or `NAME=REF` each; none means the names under [exec] in lab.toml.
        source: Ask only sources of this scheme.
        keep: Variables that pass although they would be withheld.
        clean: Pass no variables but secrets and `keep`.
        mask: Mask secrets in what the program prints to anything but a terminal.
        quiet: Do not warn.
        client: `--client`, or None; `model`, `gateway`, `ephemeral`, `master` and `trust_project`
            are what it takes, see `bootstrap.wiring.clients`.
    """

    def __init__(self) -> None:
        self.lab: str | None = None
        self.pairs: list[str] = []
        self.source: str | None = None
        self.keep: list[str] = []
        self.clean = False
        self.mask = False
        self.quiet = False
        self.client: str | None = None
        self.model: str | None = None
        self.gateway: str | None = None
        self.ephemeral = False
        self.master = False
        self.trust_project = False


def run_program(argv: "Sequence[str]", options: ExecOptions) -> int:
    """Resolve the secrets asked for and become the program.

    Args:
        argv: The program and its arguments.
        options: See `ExecOptions`.

    Returns:
        The program's exit status, where it had to be supervised.

    Raises:
        LabError: A secret cannot be had, or the program cannot be run.
        Interrupted: A signal arrived before the program started.
    """
    end_on_signals()
    # Another gateway: a lab.toml that the project brings along has no say then.
    named = options.gateway is not None and options.lab is None
    root = None if named else find_lab(options.lab, registry(variables()))
    settings = _settings(root)
    asked = _asked(options.pairs, settings, root)
    prepared = _prepared(root, options) if options.client else None
    providers = Providers(root or working_folder() or "/")
    resolver = Resolver(settings.specs, providers, options.source)
    found = _resolved(resolver, asked, settings, prepared, root)
    if root and not asked and prepared is None:
        _remember_for_next_time(root, settings, found)
    if not options.quiet:
        _warn(found, settings, prepared)
    environment = child_environment(
        given_variables(),
        {variable: resolved.secret for variable, resolved in found.items()},
        withheld=_withheld(settings, prepared),
        keep=options.keep,
        clean=options.clean,
    )
    if prepared is not None:
        given = prepared.environment
        environment |= {name: value for name, value in given.items() if name not in found}
    raise_what_arrived()
    return _run(argv, environment, found, providers, prepared, options.mask)


def _settings(root: str | None) -> "ExecSettings":
    """Return what the lab file says about secrets, remembered or read anew."""
    if root is None:
        return exec_settings.ExecSettings({}, ())
    from bootstrap.adapters import exec_cache

    remembered = exec_cache.recall("exec", root, stat_lab(root), variables())
    if remembered is not None:
        return exec_settings.from_text(remembered)
    import tomllib

    from bootstrap.adapters.find_lab import open_lab

    text, state = open_lab(root)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):  # TOMLDecodeError, and a number of 5000 digits
        raise ConfigError(
            f"{root}/lab.toml is not valid TOML",
            why="it does not parse",
            fix="keyturn plan says where",
        ) from None
    settings = exec_settings.parse_exec_settings(document, "lab.toml")
    exec_cache.remember("exec", root, state, exec_settings.to_text(settings), variables())
    return settings


def _asked(pairs: "Sequence[str]", settings: "ExecSettings", root: str | None) -> list[str]:
    """Return the names that `--secret` asks for; a REF replaces the sources of its name."""
    asked = []
    for pair in pairs:
        name, ref = named_ref(pair)
        if ref is not None:
            settings.specs[name] = SecretSpec(name, (ref,))
        elif root is None:
            settings.specs[name] = SecretSpec(name, default_sources(name))
        asked.append(name)
    return asked


def _prepared(root: str | None, options: ExecOptions) -> "Prepared":
    from bootstrap.wiring.clients import ClientOptions, prepare
    from bootstrap.wiring.providers import complete_import_path

    complete_import_path()
    if options.ephemeral and options.master:
        raise UsageError(
            "--ephemeral and --master exclude each other",
            why="one makes a key for this run, the other passes the master key",
            fix="drop one of them",
        )
    key = "ephemeral" if options.ephemeral else "master" if options.master else "auto"
    return prepare(
        options.client or "",
        root,
        ClientOptions(
            model=options.model,
            gateway=options.gateway,
            key=key,
            trust_project=options.trust_project,
        ),
    )


def _resolved(
    resolver: Resolver,
    asked: list[str],
    settings: "ExecSettings",
    prepared: "Prepared | None",
    root: str | None,
) -> "dict[str, Resolved]":
    """Return what the program gets, by variable. What was asked for by name is not optional."""
    found = {name: resolver.resolve(name) for name in asked}
    if prepared is not None:
        for variable, name in prepared.names.items():
            if variable not in found:
                if root is None and name not in settings.specs:
                    settings.specs[name] = SecretSpec(name, default_sources(name))
                found[variable] = resolver.resolve(name)
    elif not asked:
        if root is None:
            none = no_lab(registry(variables()))
            way = "name the secret: --secret LITELLM_MASTER_KEY=env:LITELLM_MASTER_KEY"
            raise ConfigError(none.what, why=none.why, fix=f"{way}; or name a lab: --lab DIR")
        found = resolver.resolve_all(settings.names)
    return found


def _remember_for_next_time(
    root: str, settings: "ExecSettings", found: "Mapping[str, Resolved]"
) -> None:
    """Have the next run decrypt early, if the first name came from its first source."""
    from bootstrap.adapters import ahead

    ahead.abandon()
    name = settings.names[0] if settings.names else ""
    if name in found and found[name].ref == settings.specs[name].sources[0]:
        ahead.remember(root)


def _warn(
    found: "Mapping[str, Resolved]", settings: "ExecSettings", prepared: "Prepared | None"
) -> None:
    """Say in a line each where the shell holds another value than the store, which wins.

    And which source did not answer, since that took its time and another one was used.
    """
    late = [f"warning: {line}" for line in late_sources(found.values())]
    for note in (*(prepared.notes if prepared else ()), *late):
        _say(note)
    for variable, resolved in found.items():
        if resolved.ref.scheme == "env":
            continue
        places = [ref.place for ref in settings.specs[resolved.name].sources if ref.scheme == "env"]
        for place in dict.fromkeys((*places, variable)):
            if is_stale(variables(), place, resolved.secret):
                _say(
                    f"warning: {place} in this shell differs from {resolved.ref}, which is used; "
                    f"unset {place}"
                )


def _say(note: str) -> None:
    """Tell a person; no reason to stop where standard error takes nothing."""
    try:
        sys.stderr.write(f"{note}\n")
    except OSError:
        return


def _withheld(settings: "ExecSettings", prepared: "Prepared | None") -> list[str]:
    """Return the variables that the lab's sources read from, and what the client removes."""
    sources = [ref for spec in settings.specs.values() for ref in spec.sources]
    names = [ref.place for ref in sources if ref.scheme == "env"]
    return names + list(prepared.remove if prepared else ())


def _run(
    argv: "Sequence[str]",
    environment: "Mapping[str, str]",
    found: "Mapping[str, Resolved]",
    providers: Providers,
    prepared: "Prepared | None",
    mask: bool,
) -> int:
    supervise = prepared.supervise if prepared else None
    if mask:
        from bootstrap.wiring.masked import masked_run, run_to_the_end

        masked = masked_run(found, providers)
        if masked is not None:
            if supervise is not None:
                return supervise(argv, environment, masked)
            return run_to_the_end(masked, argv, environment)
    if supervise is not None:
        return supervise(argv, environment)
    return become(argv, environment, variables().get("PATH"))
