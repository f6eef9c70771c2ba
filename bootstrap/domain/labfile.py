"""From the text of `lab.toml` to a `Lab`; every complaint names the line or the key path."""

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from bootstrap.domain.catalogue import (
    FILE,
    known_secret,
    parse_backends,
    parse_models,
    parse_profile,
    subset,
)
from bootstrap.domain.client import Brought, Preset, nobody
from bootstrap.domain.client_presets import parse_presets
from bootstrap.domain.client_ways import with_hand_over
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.extra_files import parse_files
from bootstrap.domain.grace import parse_grace
from bootstrap.domain.lab import (
    AUTH_KINDS,
    LITELLM_VERSION,
    RESTART_KINDS,
    SERVICE_KINDS,
    SOCKET_KINDS,
    ClientKey,
    Gateway,
    Lab,
    Redis,
    RotateSettings,
)
from bootstrap.domain.secret_spec import (
    SecretSpec,
    client_key_names,
    exec_names,
    parse_secret_specs,
)
from bootstrap.domain.switches import Switches
from bootstrap.domain.table import Table

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+$){_LABEL}")  # not 300.0.0.1
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+-]*")


def parse_lab(
    text: str,
    root: PurePath,
    profile: str | None = None,
    *,
    brought: Brought = nobody,
    only: str | None = None,
) -> Lab:
    """Return the lab that `text` describes.

    Args:
        text: The content of lab.toml.
        root: The folder it stands in.
        profile: Use this profile instead of the one that the file names.
        brought: Name -> the client that an installed package brings.
        only: The client that matters, where not all do; see `parse_presets`.

    Raises:
        ConfigError: The text is not TOML, or says something that cannot be.
    """
    document = parse_toml(text)
    top = Table(document, "", FILE)
    version = top.number("version", 1, 0, 1_000_000)
    if version != 1:
        raise top.error("version", "this keyturn knows version 1 only", "upgrade keyturn")
    secrets = parse_secret_specs(document, FILE)
    default_names = exec_names(document, FILE)
    exec_table = top.table("exec")
    for name in default_names:
        known_secret(exec_table, "secrets", name, secrets)
    exec_table.texts("secrets")
    exec_table.finish()
    top.table("secrets")
    backends = parse_backends(top, secrets)
    catalogue = parse_models(top, backends)
    gateway = _gateway(top.table("gateway"))
    lab = Lab(
        root=root,
        gateway=gateway,
        secrets=secrets,
        backends=backends,
        models=catalogue,
        redis=_redis(top, secrets),
        switches=_switches(top.table("targets")),
        profile=profile,
        exec_names=default_names,
        rotate=_rotate(top.table("rotate"), gateway),
        files=parse_files(top),
    )
    presets = parse_presets(top, brought, only)
    lab = with_hand_over(lab, presets)
    lab = replace(lab, client_keys=_client_keys(top, document, lab, presets))
    chosen = parse_profile(top, catalogue, profile)
    top.finish()
    if chosen is None:
        return lab
    name, members = chosen
    return replace(lab, profile=name, models=subset(catalogue, members))


def _client_keys(
    top: Table, document: Mapping[str, Any], lab: Lab, presets: Mapping[str, Preset]
) -> tuple[ClientKey, ...]:
    top.flag("client_keys", False)
    keys = tuple(
        ClientKey(client, name, presets[client].lists if client in presets else client)
        for client, name in client_key_names(document, FILE).items()
    )
    if keys and not lab.guarded:
        why = 'with auth = "master-key" LiteLLM accepts one key only'
        raise top.error("client_keys", why, 'remove it, or write auth = "guard" under [gateway]')
    return keys


def parse_toml(text: str) -> dict[str, Any]:
    """Return the parsed document.

    Raises:
        ConfigError: It is not TOML; says at which line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{FILE} is not valid TOML",
            why=_position(str(error), text),
            fix=f"edit {FILE} at that place",
        ) from None
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        raise ConfigError(
            f"{FILE} is not valid TOML",
            why="brackets are nested too deeply" if deep else "a number has thousands of digits",
            fix=f"edit {FILE}",
        ) from None


# How tomllib's messages begin, and what to say instead: the rest of one may quote a pasted key.
_TOML_KINDS = (
    ("Cannot overwrite", "a value is given twice"),
    ("Cannot declare", "a table stands there twice"),
    ("Duplicate", "a key is given twice"),
    ("Expected", "something is missing there"),
    ("Unterminated", "a text is not closed"),
    ("Unclosed", "a bracket is not closed"),
)


def _position(message: str, text: str) -> str:
    """Return the kind and place of a TOML error."""
    words = next((w for start, w in _TOML_KINDS if message.startswith(start)), "syntax error")
    _, found, place = message.rpartition("(at ")
    at_line = place.rstrip(")") if found and place.startswith("line") else ""
    return f"{words}, {at_line or f'line {max(1, len(text.splitlines()))}, at the end of the file'}"


def _gateway(table: Table) -> Gateway:
    gateway = Gateway(
        host=table.text("host", "127.0.0.1"),
        port=table.number("port", 4000, 1, 65535) or 4000,
        service=table.choice("service", SERVICE_KINDS, "auto"),
        version=table.text("litellm_version", LITELLM_VERSION),
        command=table.optional_text("command"),
        literal_keys=table.flag("literal_keys", False),
        auth=table.choice("auth", AUTH_KINDS, "guard"),
        socket=table.choice("socket", SOCKET_KINDS, "auto"),
    )
    _check_host(table, gateway.host)
    if not _VERSION.fullmatch(gateway.version):
        raise table.error("litellm_version", "it is not a version", f'write "{LITELLM_VERSION}"')
    if gateway.socket == "always" and gateway.address is None:
        why = "a socket is held open for an address, and host is a name"
        raise table.error("socket", why, 'write host = "127.0.0.1"')
    table.finish()
    return gateway


def _check_host(table: Table, host: str) -> None:
    """Refuse a host that is neither an address nor a name; a port has a key of its own."""
    try:
        ipaddress.ip_address(host)
        fits = "%" not in host  # a zone of IPv6 has no place in a URL
    except ValueError:
        fits = _HOST_NAME.fullmatch(host) is not None
    if not fits:
        raise table.error("host", "it is not an address", 'write "127.0.0.1"')


def _redis(top: Table, secrets: Mapping[str, SecretSpec]) -> Redis | None:
    table = top.table("redis")
    if not table.keys():
        return None
    redis = Redis(
        table.text("host", "127.0.0.1"),
        table.number("port", 6379, 1, 65535) or 6379,
        table.optional_text("password"),
    )
    _check_host(table, redis.host)
    if redis.password is not None:
        known_secret(table, "password", redis.password, secrets)
    present = table.keys()
    for key in present:
        if key not in ("host", "port", "password"):
            raise table.error(key, "there is no such key", "use host, port, password")
    return redis


def _rotate(table: Table, gateway: Gateway) -> RotateSettings:
    text, after = table.optional_text("grace"), table.texts("after")
    restart = table.choice("restart", RESTART_KINDS, "auto")
    table.finish()
    if restart == "never" and gateway.auth == "master-key":
        why = 'with auth = "master-key" LiteLLM reads its key only when it starts'
        raise table.error("restart", why, 'write restart = "auto", or auth = "guard"')
    grace = None if text is None else parse_grace(text)
    if text is not None and grace is None:
        why = "it is not a duration, and not until-unused"
        raise table.error("grace", why, 'write "10m", "8h", "0" or "until-unused:24h"')
    return RotateSettings(grace, after, restart)


def _switches(table: Table) -> Switches:
    default = Switches()
    switches = Switches(**{name: table.flag(name, value) for name, value in vars(default).items()})
    table.finish()
    return switches
