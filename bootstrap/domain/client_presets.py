"""Presets of `keyturn exec --client`: what a program needs to find the gateway, as data.

A preset says which variables carry the key, which carry the address and the model, and which must
not be there. `[clients.NAME]` in lab.toml makes further ones, or changes those that are there:

    [clients.aider]
    like = "openai"                     # start from this one
    environment = { AIDER_MODEL = "openai/{model}" }
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from bootstrap.domain.client import NAME, PLACEHOLDER, Brought, Preset, nobody
from bootstrap.domain.client_ways import parse_hand_over
from bootstrap.domain.clients import PRESETS
from bootstrap.domain.duration import parse_duration
from bootstrap.domain.errors import UsageError
from bootstrap.domain.lab import ECHO_ALIAS, Model
from bootstrap.domain.ref import is_variable_name
from bootstrap.domain.table import Table, did_you_mean

_PLACEHOLDERS = ("gateway", "model")


def parse_presets(
    top: Table, brought: Brought = nobody, only: str | None = None
) -> dict[str, Preset]:
    """Return every preset by name: our own, and those under [clients] of a lab file.

    Args:
        top: The lab file.
        brought: Asked for each name under [clients] that is not one of ours.
        only: Where just this client matters, or one of ours: no other name is asked for, and a
            table that says nothing without its package is passed over.

    Raises:
        ConfigError: A table under [clients] is malformed; names the key path. Or a package that
            brings one of them is broken.
    """
    presets = dict(PRESETS)
    for name, table in top.named_tables("clients"):
        asked = nobody if only not in (None, name) else brought
        base = presets.get(name) or asked(name)
        if base is None and only not in (None, name) and not _stands_alone(table, presets):
            table.rest()
            continue
        presets[name] = _preset(name, table, base, presets, asked)
    return presets


def _stands_alone(table: Table, known: Mapping[str, Preset]) -> bool:
    """Tell whether a table says which variables carry the key, or which client it is like."""
    given = table.rest()
    return "key" in given or given.get("like") in known


def _preset(
    name: str, table: Table, base: Preset | None, known: Mapping[str, Preset], brought: Brought
) -> Preset:
    if not NAME.fullmatch(name):
        fix = "use letters, digits and . _ -, at most 40"
        raise table.error("key", "the client's name does not fit", fix)
    base = base or Preset(name)
    like = table.optional_text("like")
    if like is not None:
        other = known.get(like) or brought(like) or known[table.choice("like", known)]
        base = replace(other, name=name, setup=None, stores=False)
    environment = _environment(table.table("environment"))
    key = table.texts("key", base.key)
    remove = table.texts("remove")
    for where, variables in (("key", key), ("remove", remove)):
        _check_names(table, where, variables)
    if not key:
        package = "" if base.key else ", and no installed package brings this client"
        raise table.error(
            "key", f"no variable carries the key{package}", 'write key = ["OPENAI_API_KEY"]'
        )
    ttl = parse_duration(table.optional_text("ttl") or f"{base.ttl_s:.0f}s")
    if not ttl:
        why = "it is not a duration above 0, of 100 years at most"
        raise table.error("ttl", why, 'write "8h" or "90m"')
    agent = table.flag("agent", base.agent)
    hand_over, set_up = parse_hand_over(table, base.setup)
    config = table.optional_text("config") if base.stores else None
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
        set_up=set_up,
        config=config,
    )


def _environment(values: Table) -> dict[str, str]:
    """Return the variables that the lab file sets; their placeholders stand for something."""
    given = values.keys()
    found = {variable: values.text(variable) for variable in given}
    _check_names(values, None, found)
    for variable, value in found.items():
        for word in PLACEHOLDER.findall(value):
            if word not in _PLACEHOLDERS:
                why = f"it stands for nothing: {{{word}}}"
                raise values.error(variable, why, did_you_mean(word, _PLACEHOLDERS))
    return found


def _check_names(
    table: Table, key: str | None, variables: "tuple[str, ...] | dict[str, str]"
) -> None:
    for variable in variables:
        if not is_variable_name(variable):
            fix = "use letters, digits and _"
            raise table.error(key or variable, "it is not a name of a variable", fix)


def choose(presets: Mapping[str, Preset], name: str, brought: Brought = nobody) -> Preset:
    """Return the preset called `name`.

    Raises:
        UsageError: There is none.
        ConfigError: The package that brings it is broken.
    """
    found = presets.get(name) or brought(name)
    if found is None:
        raise UsageError(
            f"there is no client {name}",
            why="neither keyturn, nor [clients] in lab.toml, nor an installed package has it",
            fix=did_you_mean(name, presets),
        )
    return found


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
