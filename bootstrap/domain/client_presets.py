"""Presets of `keyturn exec --client`: what a program needs to find the gateway, as data.

A preset says which variables carry the key, which carry the address and the model, and which must
not be there. `[clients.NAME]` in lab.toml makes further ones, or changes those that stand here:

    [clients.aider]
    like = "openai"                     # start from this one
    environment = { AIDER_MODEL = "openai/{model}" }
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bootstrap.domain.client_ways import CLAUDE, DROID, OPENWEBUI, Setup, parse_hand_over
from bootstrap.domain.duration import parse_duration
from bootstrap.domain.errors import UsageError
from bootstrap.domain.lab import ECHO_ALIAS, Model
from bootstrap.domain.ref import is_variable_name
from bootstrap.domain.table import Table, did_you_mean

# droid's file refers to this one, so that no project's settings know the name of the key.
CLIENT_KEY = "KEYTURN_CLIENT_KEY"
_PLACEHOLDERS = ("gateway", "model")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_TTL_S = 8 * 3600.0


@dataclass(frozen=True)
class Preset:
    """How a program finds the gateway.

    Attributes:
        name: As `--client` names it.
        key: The variables that carry the key.
        environment: Variables to set. `{gateway}` stands for the base URL without a path,
            `{model}` for the alias; a value with `{model}` is left out where no model is chosen.
        remove: Variables that would lead the key, or another one, somewhere else.
        agent: It can run commands, and so print its environment: it gets a key of its own.
        lists: The name under `clients` of a model that is for it, or None for every model.
        settings: The variable that names a private settings file in droid's format, or None.
        project_files: Settings that a project can bring, relative to one of its folders.
        redirects: Key paths in those files that would send the key elsewhere.
        user_file: The user's own settings, where these win over the environment: the variable
            that moves their folder, the folder below HOME, the file in it. Else None.
        ttl_s: For how long a key of its own is accepted at most, in seconds.
        setup: How the program is set up without `keyturn exec`, or None.
        hand_over: The way in which the lab says that it gets its key, or None.
    """

    name: str
    key: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    agent: bool = False
    lists: str | None = None
    settings: str | None = None
    project_files: tuple[str, ...] = ()
    redirects: tuple[str, ...] = ()
    user_file: tuple[str, str, str] | None = None
    ttl_s: float = _TTL_S
    setup: Setup | None = None
    hand_over: str | None = None


_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
PRESETS: Mapping[str, Preset] = {
    "droid": Preset(
        "droid",
        key=(CLIENT_KEY,),
        # Airgap: it starts in a second and contacts the gateway alone, no login needed.
        environment={
            "FACTORY_AIRGAP_ENABLED": "true",
            "FACTORY_DROID_AUTO_UPDATE_ENABLED": "false",
        },
        # An org-managed file wins over the one that is handed over here.
        remove=("FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH",),
        agent=True,
        lists="droid",
        settings="FACTORY_RUNTIME_SETTINGS_PATH",
        project_files=(
            ".factory/settings.json",
            ".factory/settings.local.json",
            ".factory/config.json",
            ".factory/mcp.json",
        ),
        setup=DROID,
    ),
    "claude": Preset(
        "claude",
        key=("ANTHROPIC_AUTH_TOKEN",),
        environment={
            "ANTHROPIC_BASE_URL": "{gateway}",
            "ANTHROPIC_MODEL": "{model}",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "{model}",
            "ANTHROPIC_DEFAULT_SONNET_MODEL": "{model}",
            "ANTHROPIC_DEFAULT_OPUS_MODEL": "{model}",
            "ANTHROPIC_DEFAULT_FABLE_MODEL": "{model}",
            "CLAUDE_CODE_SUBAGENT_MODEL": "{model}",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        # The first would be sent to the gateway beside the token; the others lead elsewhere.
        remove=(
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_UNIX_SOCKET",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "CLAUDE_CODE_USE_BEDROCK",
            "CLAUDE_CODE_USE_FOUNDRY",
            "CLAUDE_CODE_USE_VERTEX",
        ),
        agent=True,
        lists="claude",
        project_files=(".claude/settings.json", ".claude/settings.local.json", ".mcp.json"),
        # The `env` block of a settings file overrides the environment.
        redirects=tuple(
            f"env.{name}" for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_UNIX_SOCKET", *_PROXIES)
        ),
        user_file=("CLAUDE_CONFIG_DIR", ".claude", "settings.json"),
        setup=CLAUDE,
    ),
    "openai": Preset(
        "openai",
        key=("OPENAI_API_KEY",),
        environment={
            "OPENAI_BASE_URL": "{gateway}/v1",
            "OPENAI_API_BASE": "{gateway}/v1",
            "OPENAI_MODEL": "{model}",
        },
    ),
    "openwebui": Preset(
        "openwebui",
        key=("OPENAI_API_KEY",),
        environment={"OPENAI_API_BASE_URL": "{gateway}/v1"},
        lists="openwebui",
        setup=OPENWEBUI,
    ),
}


# keyturn does not start it, but [clients.openwebui] can say something about it.
_NOT_STARTED = {"openwebui": Preset("openwebui", key=("OPENAI_API_KEY",), lists="openwebui")}


def parse_presets(top: Table) -> dict[str, Preset]:
    """Return every preset by name: those above, and those under [clients] of a lab file.

    Raises:
        ConfigError: A table under [clients] is malformed; names the key path.
    """
    presets = dict(PRESETS)
    for name, table in top.named_tables("clients"):
        presets[name] = _preset(name, table, presets)
    return presets


def _preset(name: str, table: Table, known: Mapping[str, Preset]) -> Preset:
    if not _NAME.fullmatch(name):  # it becomes part of the name of a key
        fix = "use letters, digits and . _ -, at most 40"
        raise table.error("key", "the client's name does not fit", fix)
    base = known.get(name) or _NOT_STARTED.get(name) or Preset(name)
    if table.optional_text("like") is not None:
        base = replace(known[table.choice("like", known)], name=name, setup=None)
    values = table.table("environment")
    given = values.keys()
    environment = {variable: values.text(variable) for variable in given}
    key = table.texts("key", base.key)
    remove = table.texts("remove")
    for where, variables in (("key", key), ("remove", remove)):
        _check_names(table, where, variables)
    _check_names(values, None, environment)
    if not key:
        raise table.error("key", "no variable carries the key", 'write key = ["OPENAI_API_KEY"]')
    for variable, value in environment.items():
        for word in _PLACEHOLDER.findall(value):
            if word not in _PLACEHOLDERS:
                why = f"it stands for nothing: {{{word}}}"
                raise values.error(variable, why, did_you_mean(word, _PLACEHOLDERS))
    ttl = parse_duration(table.optional_text("ttl") or f"{base.ttl_s:.0f}s")
    if not ttl:
        raise table.error("ttl", "it is not a duration above 0", 'write "8h" or "90m"')
    agent = table.flag("agent", base.agent)
    hand_over = parse_hand_over(table, base.setup)
    table.flag("client_keys", False)  # what it says is for `domain.secret_spec`
    table.finish()
    return replace(
        base,
        key=key,
        environment={**base.environment, **environment},
        remove=tuple(dict.fromkeys((*base.remove, *remove))),
        agent=agent,
        ttl_s=ttl,
        hand_over=hand_over,
    )


def _check_names(
    table: Table, key: str | None, variables: "tuple[str, ...] | dict[str, str]"
) -> None:
    for variable in variables:
        if not is_variable_name(variable):
            fix = "use letters, digits and _"
            raise table.error(key or variable, "it is not a name of a variable", fix)


def choose(presets: Mapping[str, Preset], name: str) -> Preset:
    """Return the preset called `name`.

    Raises:
        UsageError: There is none.
    """
    if name not in presets:
        raise UsageError(
            f"there is no client {name}",
            why="neither keyturn nor [clients] in lab.toml has one of that name",
            fix=did_you_mean(name, presets),
        )
    return presets[name]


def models_for(preset: Preset, models: tuple[Model, ...]) -> tuple[Model, ...]:
    """Return the models of a catalogue that are for the client."""
    return tuple(m for m in models if preset.lists is None or preset.lists in m.clients)


def choose_model(preset: Preset, models: tuple[Model, ...], asked: str | None) -> str | None:
    """Return the alias to use, or None where the client does not need one.

    Without `asked` an agent gets the first model that a backend runs.

    Raises:
        UsageError: The lab has no such model for this client, or none at all.
    """
    aliases = [model.alias for model in models_for(preset, models)]
    if asked is not None:
        if asked not in aliases:
            raise UsageError(
                f"there is no model {asked} for {preset.name}",
                why="no entry under [[models]] in lab.toml offers it to this client",
                fix=did_you_mean(asked, aliases) if aliases else "add one under [[models]]",
            )
        return asked
    if not preset.agent:
        return None
    if not aliases:
        raise UsageError(
            f"there is no model for {preset.name}",
            why="no entry under [[models]] in lab.toml is for it",
            fix=f'add "{preset.lists}" to the clients of a model',
        )
    return next((alias for alias in aliases if alias != ECHO_ALIAS), aliases[0])


def environment_of(preset: Preset, gateway: str, model: str | None) -> dict[str, str]:
    """Return the variables to set.

    Args:
        preset: The client's.
        gateway: The base URL, without a path and without a slash at its end.
        model: The alias, or None.
    """
    return {
        variable: value.replace("{gateway}", gateway).replace("{model}", model or "")
        for variable, value in preset.environment.items()
        if model is not None or "{model}" not in value
    }


def gateway_base(text: str) -> str:
    """Return the base URL in `text` without `/v1` and slashes at its end.

    Raises:
        UsageError: It is no http or https URL, or has a user, a query or a fragment.
    """
    match = re.fullmatch(r"(https?://[^\s/?#@]+(?:/[^\s?#@]*)?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(
            "bad --gateway",
            why="it is not an http:// or https:// URL without user, query and fragment",
            fix="write --gateway https://llm.example.com",
        )
    return match[1].rstrip("/").removesuffix("/v1").rstrip("/")


def host_of(gateway: str) -> str:
    """Return the host in a base URL, without brackets and port."""
    host = gateway.partition("://")[2].partition("/")[0]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def without_proxy(current: str, host: str) -> str:
    """Return a NO_PROXY that has `host` in it, and the names of loopback where it is that.

    droid sends even what is for loopback to a proxy that HTTP_PROXY names.
    """
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    wanted = dict.fromkeys((host, "127.0.0.1", "localhost", "::1")) if loopback else {}
    given = [item.strip() for item in current.split(",") if item.strip()]
    return ",".join(dict.fromkeys([*given, *wanted]))
