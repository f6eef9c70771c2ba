"""The catalogue of a lab file: backends, models, profiles."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.lab import BACKEND_KINDS, CLIENTS, ECHO_ALIAS, Backend, Model
from bootstrap.domain.secret_spec import SecretSpec
from bootstrap.domain.table import Table, did_you_mean, suggestion

FILE = "lab.toml"
_MOST_TOKENS = 100_000_000
_ECHO = Backend("echo", "echo", None)
_ALIAS_EXTRA = set("._:/@+-")


def parse_backends(top: Table, secrets: Mapping[str, SecretSpec]) -> dict[str, Backend]:
    """Return [backends] by name, with the built-in `echo`; ConfigError names what is wrong."""
    backends = {"echo": _ECHO}
    for name, table in top.named_tables("backends"):
        if name == "echo":
            raise top.table("backends").error(
                "echo", "that name is built in", "choose another name"
            )
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
            known_secret(table, "key", key, secrets)
        table.finish()
        backends[name] = Backend(name, kind, url.rstrip("/"), key)
    return backends


def known_secret(table: Table, key: str, name: str, secrets: Mapping[str, SecretSpec]) -> None:
    """Refuse a `name` that is no secret of the lab; `key` of `table` is where it stands."""
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


def parse_models(top: Table, backends: Mapping[str, Backend]) -> tuple[Model, ...]:
    """Return [[models]] in the file's order, `lab-echo` first; ConfigError names what is wrong."""
    models: dict[str, Model] = {}
    echo = top.flag("echo", True)
    if echo:
        models[ECHO_ALIAS] = Model(ECHO_ALIAS, "echo", ECHO_ALIAS, "Lab echo (keyturn)", 1024)
    known = {model.lasting_id: model.alias for model in models.values()}
    for table in top.table_list("models"):
        model = _model(table, backends)
        if model.alias in models:
            raise table.error("alias", f"two models are called {model.alias}", "rename one of them")
        other = known.setdefault(model.lasting_id, model.alias)
        if other != model.alias:
            why = f"{other} is known as {model.lasting_id} already"
            raise table.error("id", why, "give one of them another id")
        models[model.alias] = model
    first = 1 if echo else 0
    for number, model in enumerate(tuple(models.values())[first:]):
        for fallback in model.fallbacks:
            where = f"{FILE}: models[{number}].fallbacks"
            if fallback == model.alias:
                why = f"{fallback} falls back to itself"
                raise ConfigError(where, why=why, fix="remove it from the list")
            if fallback not in models:
                why = f"{model.alias} falls back to a model that does not exist"
                raise ConfigError(where, why=why, fix=did_you_mean(fallback, models))
    return tuple(models.values())


def _model(table: Table, backends: Mapping[str, Backend]) -> Model:
    alias, lasting = table.text("alias"), table.optional_text("id")
    for key, name in (("alias", alias), ("id", lasting or alias)):
        if not name.isascii() or not all(c.isalnum() or c in _ALIAS_EXTRA for c in name):
            raise table.error(
                key,
                "it has characters that some client cannot send",
                "use letters, digits and . _ : / @ + -",
            )
    backend = table.choice("backend", backends)
    upstream = table.text("upstream", alias)
    for key, name in (("alias", alias), ("upstream", upstream)):
        if name.startswith("os.environ/"):
            why = "LiteLLM would take it for the name of a variable"
            raise table.error(key, why, "write what the backend calls the model")
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
    context = table.number("context_tokens", None, 1, _MOST_TOKENS)
    # vLLM refuses a request for an answer that fills its whole context.
    usual = 16384 if context is None else max(1, min(16384, context // 2))
    model = Model(
        alias=alias,
        backend=backend,
        upstream=upstream,
        display_name=display,
        output_tokens=table.number("output_tokens", usual, 1, _MOST_TOKENS) or usual,
        context_tokens=context,
        stream_only=table.flag("stream_only", False),
        images=table.flag("images", False),
        clients=clients,
        fallbacks=table.texts("fallbacks"),
        id=lasting,
    )
    table.finish()
    return model


def parse_profile(
    top: Table, models: Sequence[Model], asked: str | None
) -> tuple[str, tuple[str, ...]] | None:
    """Return the active profile's (name, aliases), or None where all models are rendered."""
    named = top.optional_text("profile")
    profiles = top.table("profiles")
    names = profiles.keys()
    lists = {name: profiles.texts(name) for name in names}
    known = {model.alias for model in models}
    for name, members in lists.items():
        for number, alias in enumerate(members, 1):
            if alias not in known:
                near = suggestion(alias, known)
                raise profiles.error(
                    name,
                    f"entry {number} of it names no model",
                    f"did you mean {near}?" if near else "remove it from the list",
                )
    chosen = asked or named
    if chosen is None:
        return None
    if chosen not in lists:
        near = suggestion(chosen, lists)
        raise top.error(
            "profile",
            f"there is no profile {asked}" if asked else "there is no such profile",
            f"did you mean {near}?" if near else "add it under [profiles]",
        )
    return chosen, lists[chosen]


def subset(models: Sequence[Model], members: Sequence[str]) -> tuple[Model, ...]:
    """Keep the members, in the catalogue's order; fallbacks outside the profile fall away."""
    return tuple(
        replace(m, fallbacks=tuple(f for f in m.fallbacks if f in members))
        for m in models
        if m.alias in members
    )
