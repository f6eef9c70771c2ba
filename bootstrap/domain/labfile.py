"""From the text of `lab.toml` to a `Lab`; every complaint names the line or the key path."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.lab import (
    BACKEND_KINDS,
    CLIENTS,
    ECHO_ALIAS,
    LITELLM_VERSION,
    SERVICE_KINDS,
    Backend,
    Gateway,
    Lab,
    Model,
    Redis,
    Switches,
)
from bootstrap.domain.secret_spec import SecretSpec, exec_names, parse_secret_specs
from bootstrap.domain.table import Table, suggestion

FILE = "lab.toml"
_MOST_TOKENS = 100_000_000
_ECHO = Backend("echo", "echo", None)
_ALIAS_EXTRA = set("._:/@+-")


def parse_lab(text: str, root: PurePath, profile: str | None = None) -> Lab:
    """Return the lab that `text` describes.

    Args:
        text: The content of lab.toml.
        root: The folder it stands in.
        profile: Use this profile instead of the one that the file names.

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
    exec_table.keys()
    top.table("secrets")
    backends = _backends(top, secrets)
    catalogue = _models(top, backends)
    lab = Lab(
        root=root,
        gateway=_gateway(top.table("gateway")),
        secrets=secrets,
        backends=backends,
        models=catalogue,
        redis=_redis(top, secrets),
        switches=_switches(top.table("targets")),
        profile=profile,
        exec_names=default_names,
    )
    chosen = _profile(top, catalogue, profile)
    top.finish()
    if chosen is None:
        return lab
    name, members = chosen
    return _with_models(lab, name, _subset(catalogue, members))


def parse_toml(text: str) -> dict[str, Any]:
    """Return the parsed document.

    Raises:
        ConfigError: It is not TOML; says at which line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{FILE} is not valid TOML", why=_position(str(error)), fix=f"edit {FILE} at that place"
        ) from None


def _position(message: str) -> str:
    """Keep the kind and place of a TOML error; anything it quotes could be a pasted key."""
    place = (
        message[message.rfind("(at ") :].strip("()") if "(at " in message else "at an unknown place"
    )
    kinds = (
        "Cannot overwrite",
        "Cannot declare",
        "Unclosed",
        "Unterminated",
        "Invalid",
        "Expected",
        "Duplicate",
        "Illegal",
        "Unescaped",
        "Cannot mutate",
        "Cannot redefine",
    )
    kind = next((k for k in kinds if message.startswith(k)), "syntax error")
    words = {
        "Cannot overwrite": "a value is given twice",
        "Cannot declare": "a table stands there twice",
    }
    return f"{words.get(kind, kind.lower() + (' syntax' if kind == 'Invalid' else ''))}, {place}"


def _gateway(table: Table) -> Gateway:
    gateway = Gateway(
        host=table.text("host", "127.0.0.1"),
        port=table.number("port", 4000, 1, 65535) or 4000,
        service=table.choice("service", SERVICE_KINDS, "auto"),
        version=table.text("litellm_version", LITELLM_VERSION),
        command=table.optional_text("command"),
        literal_keys=table.flag("literal_keys", False),
    )
    if not gateway.host.replace(".", "").replace(":", "").replace("-", "").isalnum():
        raise table.error("host", "it is not an address", 'write "127.0.0.1"')
    if not all(c.isalnum() or c in ".+-" for c in gateway.version):
        raise table.error("litellm_version", "it is not a version", f'write "{LITELLM_VERSION}"')
    table.finish()
    return gateway


def _backends(top: Table, secrets: Mapping[str, SecretSpec]) -> dict[str, Backend]:
    backends = {"echo": _ECHO}
    for name, table in top.named_tables("backends"):
        if name == "echo":
            raise top.error("backends.echo", "that name is built in", "choose another name")
        kind = table.choice("kind", tuple(k for k in BACKEND_KINDS if k != "echo"))
        traits = BACKEND_KINDS[kind]
        url = table.optional_text("url") or traits.default_url
        if url is None:
            raise table.error(
                "url", f"a backend of kind {kind} has no default", 'write url = "http://…/v1"'
            )
        _check_url(table, "url", url)
        key = table.optional_text("key")
        if key is None and traits.needs_key:
            raise table.error(
                "key", f"a backend of kind {kind} needs one", "name a secret of [secrets]"
            )
        if key is not None:
            _known_secret(table, "key", key, secrets)
        table.finish()
        backends[name] = Backend(name, kind, url.rstrip("/"), key)
    return backends


def _known_secret(table: Table, key: str, name: str, secrets: Mapping[str, SecretSpec]) -> None:
    if name in secrets:
        return
    if not (name.isascii() and name.isidentifier()):
        # Somebody may have pasted the key itself: do not repeat it.
        raise table.error(
            key, "it must be the NAME of a secret, not its value", "write [secrets.NAME]"
        )
    near = suggestion(name, secrets)
    fix = f"did you mean {near}?" if near else f"add [secrets.{name}]"
    raise table.error(key, "there is no such secret under [secrets]", fix)


def _check_url(table: Table, key: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        bare = not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        sound, bare = False, True
    if not sound or any(c.isspace() or ord(c) < 32 for c in url):
        raise table.error(
            key, "it is not an http:// or https:// URL", 'write "http://127.0.0.1:8000/v1"'
        )
    if not bare:
        raise table.error(
            key, "it carries a login, a query or a fragment", "put keys under [secrets]"
        )


def _models(top: Table, backends: Mapping[str, Backend]) -> tuple[Model, ...]:
    models: dict[str, Model] = {}
    echo = top.flag("echo", True)
    if echo:
        models[ECHO_ALIAS] = Model(ECHO_ALIAS, "echo", ECHO_ALIAS, "Lab echo (keyturn)", 1024)
    for table in top.table_list("models"):
        model = _model(table, backends)
        if model.alias in models:
            raise table.error("alias", f"two models are called {model.alias}", "rename one of them")
        models[model.alias] = model
    known = tuple(models)
    for number, model in enumerate(m for m in models.values() if m.alias != ECHO_ALIAS or not echo):
        for fallback in model.fallbacks:
            where = f"models[{number}].fallbacks"
            if fallback == model.alias:
                raise top.error(
                    where, f"{model.alias} falls back to itself", "remove it from the list"
                )
            if fallback not in models:
                near = suggestion(fallback, known)
                raise ConfigError(
                    f"{FILE}: {where}",
                    why=f"{model.alias} falls back to a model that does not exist",
                    fix=f"did you mean {near}?" if near else f"use one of: {', '.join(known)}",
                )
    return tuple(models.values())


def _model(table: Table, backends: Mapping[str, Backend]) -> Model:
    alias = table.text("alias")
    if not alias.isascii() or not all(c.isalnum() or c in _ALIAS_EXTRA for c in alias):
        raise table.error(
            "alias",
            "it has characters that some client cannot send",
            "use letters, digits and . _ : / @ + -",
        )
    backend = table.choice("backend", backends)
    display = table.text("display_name", f"{alias} (keyturn)")
    if any(ord(c) < 32 for c in display):
        raise table.error("display_name", "it holds a control character", "remove it")
    clients = table.texts("clients", CLIENTS)
    for client in clients:
        if client not in CLIENTS:
            near = suggestion(client, CLIENTS)
            raise table.error(
                "clients",
                "there is no such client",
                f"did you mean {near}?" if near else f"use {', '.join(CLIENTS)}",
            )
    model = Model(
        alias=alias,
        backend=backend,
        upstream=table.text("upstream", alias),
        display_name=display,
        output_tokens=table.number("output_tokens", 16384, 1, _MOST_TOKENS) or 16384,
        context_tokens=table.number("context_tokens", None, 1, _MOST_TOKENS),
        stream_only=table.flag("stream_only", False),
        images=table.flag("images", False),
        clients=clients,
        fallbacks=table.texts("fallbacks"),
    )
    table.finish()
    return model


def _redis(top: Table, secrets: Mapping[str, SecretSpec]) -> Redis | None:
    table = top.table("redis")
    if not table.keys():
        return None
    redis = Redis(
        table.text("host", "127.0.0.1"),
        table.number("port", 6379, 1, 65535) or 6379,
        table.optional_text("password"),
    )
    if redis.password is not None:
        _known_secret(table, "password", redis.password, secrets)
    present = table.keys()
    for key in present:
        if key not in ("host", "port", "password"):
            raise table.error(key, "there is no such key", "use host, port, password")
    return redis


def _switches(table: Table) -> Switches:
    default = Switches()
    switches = Switches(**{name: table.flag(name, value) for name, value in vars(default).items()})
    table.finish()
    return switches


def _profile(
    top: Table, models: Sequence[Model], asked: str | None
) -> tuple[str, tuple[str, ...]] | None:
    named = top.optional_text("profile")
    profiles = top.table("profiles")
    names = profiles.keys()
    lists = {name: profiles.texts(name) for name in names}
    known = {model.alias for model in models}
    for name, members in lists.items():
        for alias in members:
            if alias not in known:
                near = suggestion(alias, known)
                raise profiles.error(
                    name,
                    f"there is no model {alias}",
                    f"did you mean {near}?" if near else "remove it from the list",
                )
    chosen = asked or named
    if chosen is None:
        return None
    if chosen not in lists:
        near = suggestion(chosen, lists)
        raise top.error(
            "profile",
            f"there is no profile {chosen}",
            f"did you mean {near}?" if near else "add it under [profiles]",
        )
    return chosen, lists[chosen]


def _subset(models: Sequence[Model], members: Sequence[str]) -> tuple[Model, ...]:
    """Keep the members, in the catalogue's order; fallbacks outside the profile fall away."""
    from dataclasses import replace

    return tuple(
        replace(m, fallbacks=tuple(f for f in m.fallbacks if f in members))
        for m in models
        if m.alias in members
    )


def _with_models(lab: Lab, profile: str, models: tuple[Model, ...]) -> Lab:
    from dataclasses import replace

    return replace(lab, profile=profile, models=models)
