"""What to add to lab.toml so that it has the models of another catalogue, too.

Everything is added at the end of the file: tables of TOML may stand in any order, so no byte of
what a person wrote changes. What lab.toml has already stays as it is there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.found_keys import can_name_a_secret
from bootstrap.domain.found_models import Found, FoundKey, FoundModel, same_url
from bootstrap.domain.lab import BACKEND_KINDS, ECHO_ALIAS, Backend, Lab
from bootstrap.domain.labfile import parse_lab, parse_toml
from bootstrap.domain.ref import store_name_problem
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import STORE

_NAMES = {"llama.cpp": "llama-cpp"}
_USUAL = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "ollama-cloud": "OLLAMA_API_KEY",
}


@dataclass(frozen=True)
class Additions:
    """What an import adds.

    Attributes:
        text: What comes at the end of lab.toml; empty where nothing is new. Holds no secret.
        models: Aliases that are new.
        backends: Names of backends that are new.
        store: Secrets to put into the encrypted store, by name.
        missing: Names of secrets whose value nobody knows yet.
        kept: Aliases that lab.toml had already.
        left_out: What could not be carried over, one sentence each.
    """

    text: str = ""
    models: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    store: Mapping[str, Secret] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def additions(text: str, root: PurePath, found: Found, stored: Mapping[str, Secret]) -> Additions:
    """Return what is to be added to lab.toml for a catalogue that was found.

    Args:
        text: lab.toml as it is.
        root: Its folder.
        found: The other catalogue.
        stored: What the encrypted store holds.

    Raises:
        ConfigError: lab.toml is malformed.
    """
    lab, document = parse_lab(text, root, only=""), parse_toml(text)
    listed = document.get("models", [])
    aliases = {ECHO_ALIAS} | {str(model["alias"]) for model in listed}
    there = aliases | {str(m["id"]) for m in listed if "id" in m}  # which got another alias here
    new = [model for model in found.models if model.alias not in there]
    kept = tuple(model.alias for model in found.models if model.alias in there)
    known = aliases | {model.alias for model in new}
    desk = _Desk(lab, stored)
    blocks = [desk.model(model, known) for model in new]
    redis = None if lab.redis is not None or found.redis is None else desk.redis(found)
    if not new and redis is None:
        return Additions(kept=kept, left_out=found.left_out)
    parts = [*desk.secrets, *desk.backends, *blocks, *([redis] if redis else [])]
    remarks = [f"# left out: {line}" for line in found.left_out]
    head = "\n".join([f"# Imported from {found.source}", *remarks])
    return Additions(
        "\n\n".join([head, *parts]) + "\n",
        tuple(model.alias for model in new),
        tuple(desk.made),
        desk.store,
        tuple(desk.missing),
        kept,
        found.left_out,
    )


def appended(text: str, more: str, root: PurePath) -> str:
    """Return lab.toml with `more` at its end, in its own line ends, after a look whether it fits.

    Raises:
        ConfigError: The file writes its models or backends in a way that cannot be added to.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text or text.endswith("\n") else newline
    whole = text + gap + newline + more.replace("\n", newline)
    try:
        parse_lab(whole, root, only="")
    except ConfigError as error:
        raise ConfigError(
            "the new entries do not fit into lab.toml",
            why=str(error),
            fix="write [[models]], [backends.NAME] and [secrets.NAME] as tables of their own there",
        ) from None
    return whole


class _Desk:
    """Names backends and secrets, and writes their tables down."""

    def __init__(self, lab: Lab, stored: Mapping[str, Secret]) -> None:
        self.secrets: list[str] = []
        self.backends: list[str] = []
        self.made: list[str] = []
        self.store: dict[str, Secret] = {}
        self.missing: list[str] = []
        self._known = dict(lab.backends)
        self._specs = dict(lab.secrets)
        self._stored = stored
        self._declared = set(lab.secrets)

    def model(self, model: FoundModel, known: set[str]) -> str:
        """Return the [[models]] table of a model, after those it needs."""
        backend = "echo" if model.kind == "echo" else self._backend(model)
        rows: list[tuple[str, Any]] = [("alias", model.alias), ("backend", backend)]
        if model.upstream != model.alias and model.kind != "echo":
            rows.append(("upstream", model.upstream))
        if model.output_tokens is not None:
            rows.append(("output_tokens", model.output_tokens))
        if model.context_tokens is not None:
            rows.append(("context_tokens", model.context_tokens))
        rows += [(n, True) for n in ("images", "stream_only") if getattr(model, n)]
        fallbacks = [alias for alias in model.fallbacks if alias in known]
        if fallbacks:
            rows.append(("fallbacks", fallbacks))
        if not model.listed:
            rows.append(("clients", []))
        return _table("[[models]]", rows, model.notes)

    def redis(self, found: Found) -> str:
        """Return the [redis] table."""
        cache = found.redis
        assert cache is not None  # noqa: S101 - the caller has looked
        rows: list[tuple[str, Any]] = [("host", cache.host), ("port", cache.port)]
        if cache.password is not None:
            rows.append(("password", self._secret(cache.password, "REDIS_PASSWORD")))
        return _table("[redis]", rows)

    def _backend(self, model: FoundModel) -> str:
        """Return the name of the model's backend, made where lab.toml has none like it."""
        url = model.url or BACKEND_KINDS[model.kind].default_url
        for existing in self._known.values():
            same = existing.kind == model.kind and same_url(existing.url, url)
            if same and self._opens(existing.key, model.key):
                return existing.name
        name = _unused(_backend_name(model.kind, url), self._known)
        usual = _USUAL.get(model.kind) or _variable(name)
        key = None if model.key is None else self._secret(model.key, usual)
        self._known[name] = Backend(name, model.kind, url, key)
        self.made.append(name)
        rows: list[tuple[str, Any]] = [("kind", model.kind)]
        if not same_url(url, BACKEND_KINDS[model.kind].default_url):
            rows.append(("url", url))
        if key is not None:
            rows.append(("key", key))
        self.backends.append(_table(f"[backends.{name}]", rows))
        return name

    def _secret(self, key: FoundKey, usual: str) -> str:
        """Return the name under which the lab knows a key, and see that it does."""
        usable = key.name is not None and store_name_problem(key.name) is None
        if key.name is not None and usable and can_name_a_secret(key.name):
            return self._named(key.name, key.value)
        if key.value is None:
            return self._named(usual, None)
        names = (f"{usual}_{number}" if number > 1 else usual for number in range(1, 10_000))
        value = key.value
        return self._named(next(n for n in names if self._is_free_for(n, value)), value)

    def _named(self, name: str, value: Secret | None) -> str:
        held = self._stored.get(name) or self.store.get(name)
        if held is None and value is not None and self._reads_store(name):
            self.store[name] = value
        if name in self._declared:
            return name
        self._declared.add(name)
        rows: list[tuple[str, Any]] = []
        notes: tuple[str, ...] = ()
        if held is None and value is None:
            self.missing.append(name)
            rows.append(("optional", True))
            notes = (f"no value was found: its models are left out until a source holds {name}",)
        elif held is not None and value is not None and held != value:
            notes = ("the store had another value than the imported file, and keeps it",)
        self.secrets.append(_table(f"[secrets.{name}]", rows, notes))
        return name

    def _opens(self, name: str | None, key: FoundKey | None) -> bool:
        """Tell whether the secret called `name` is that key."""
        if name is None or key is None:
            return name is None and key is None
        held = self._stored.get(name) or self.store.get(name)
        return key.name == name or (key.name is None and held is not None and held == key.value)

    def _is_free_for(self, name: str, value: Secret) -> bool:
        """Tell whether `name` can stand for `value`: it does already, or nothing else does."""
        held = self._stored.get(name) or self.store.get(name)
        return self._reads_store(name) and (held is None or held == value)

    def _reads_store(self, name: str) -> bool:
        spec = self._specs.get(name)
        return spec is None or ("sops", STORE) in [(r.scheme, r.place) for r in spec.sources]


def _backend_name(kind: str, url: str | None) -> str:
    """Return a name for a backend: its kind's, or for a server somewhere that of its host."""
    if kind != "openai-compatible":
        return _NAMES.get(kind, kind)
    parts = urlsplit(url or "")
    host = parts.hostname or "backend"
    if host == "localhost" or host.replace(".", "").isdigit() or ":" in host:
        return f"local-{parts.port or 80}"
    labels = [label for label in host.split(".") if label not in ("api", "www")]
    name = "-".join(labels[:-1] or labels)
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name).strip("-") or "backend"


def _variable(backend: str) -> str:
    name = "".join(c if c.isalnum() else "_" for c in backend).upper() + "_API_KEY"
    return f"BACKEND_{name}" if name[0].isdigit() else name


def _unused(name: str, known: Mapping[str, object]) -> str:
    names = (f"{name}-{number}" if number > 1 else name for number in range(1, 10_000))
    return next(candidate for candidate in names if candidate not in known)


def _table(head: str, rows: Sequence[tuple[str, Any]], notes: Sequence[str] = ()) -> str:
    lines = [*(f"# {note}" for note in notes), head]
    return "\n".join([*lines, *(f"{name} = {_toml(value)}" for name, value in rows)])


def _toml(value: object) -> str:
    """Return a value as TOML: JSON's spelling of texts, numbers, flags and lists is TOML's too."""
    return json.dumps(value, ensure_ascii=False)
