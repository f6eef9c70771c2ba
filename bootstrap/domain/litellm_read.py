"""What a LiteLLM config of somebody's own says, in the words of lab.toml.

What has no counterpart is named by its key path, never with its value, which may be a key.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.found_keys import REFERENCE, Lookup, key_problem, plain_text, value_of
from bootstrap.domain.found_models import (
    Found,
    FoundKey,
    FoundModel,
    FoundRedis,
    kind_at,
    url_problem,
)
from bootstrap.domain.printable import printable
from bootstrap.domain.yaml_text import UnreadableYaml, load_yaml

_USUAL_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_USED = {"model", "api_base", "base_url", "api_key", "max_tokens", "stream", "mock_response"}
_NEEDLESS = {"drop_params", "additional_drop_params"}  # keyturn sets them itself
_INFO = {"max_output_tokens", "max_tokens", "max_input_tokens", "supports_vision", "mode", "id"}
_TOP = {"model_list", "litellm_settings", "router_settings", "general_settings"}
_SETTINGS = {"drop_params", "fallbacks", "default_fallbacks", "cache", "cache_params"}
_NOT_CHAT = ("embedding", "image_generation", "audio_transcription", "audio_speech", "rerank")
_LONGEST = 60


def read_document(data: bytes, name: str) -> dict[str, Any]:
    """Return a LiteLLM config as plain data.

    Args:
        data: The file.
        name: What the error calls it.

    Raises:
        ConfigError: It is not YAML, or too much of it, not a mapping, or has no model_list.
    """
    try:
        document = load_yaml(data)
    except UnreadableYaml as error:
        raise ConfigError(f"{name} cannot be read", why=str(error), fix=f"edit {name}") from None
    if not isinstance(document, dict) or not isinstance(document.get("model_list", []), list):
        why = "it is not a mapping with a list model_list"
        raise ConfigError(f"{name} is no LiteLLM config", why=why, fix="name another file")
    return document


def read_catalogue(document: Mapping[str, Any], source: str, lookup: Lookup) -> Found:
    """Return the catalogue of a LiteLLM config.

    Args:
        document: As `read_document` returns it.
        source: What to call it in a comment.
        lookup: For references such as `os.environ/OPENAI_API_KEY`.
    """
    own = section(document, "environment_variables")
    reader = _Reader(lambda name: plain_text(own.get(name)) or lookup(name))
    rows = document.get("model_list") or []
    reader.names |= {str(row.get("model_name")) for row in rows if isinstance(row, dict)}
    for index, entry in enumerate(rows):
        reader.add(index, entry)
    lost = bool(reader.left_out) and not reader.models  # before the cache may be left out, too
    redis = _redis(reader, section(document, "litellm_settings"))
    models = tuple(_with_fallbacks(reader, document))
    return Found(source, models, redis, (*reader.left_out, *_other_settings(document)), lost)


def section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of the config; an empty one where it is missing or no mapping."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


@dataclass
class _Reader:
    """The models read so far."""

    lookup: Lookup
    models: dict[str, FoundModel] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    twins: dict[str, list[str]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # all that the config has, and ours for twins

    def add(self, index: int, entry: object) -> None:
        """Take one element of model_list over, or say why not."""
        given = entry if isinstance(entry, dict) else {}
        alias = plain_text(given.get("model_name"))
        params = section(given, "litellm_params")
        name = printable(alias or f"model_list[{index}]")[:_LONGEST]
        if alias is None or not isinstance(params.get("model"), str):
            self.left_out.append(f"{name}: it has no model_name or no litellm_params.model")
            return
        model = self._model(alias, params, section(given, "model_info"))
        if isinstance(model, str):
            self.left_out.append(f"{name}: {model}")
        else:
            self._keep(model)

    def _keep(self, model: FoundModel) -> None:
        """Keep the model; a second one of the same name becomes a fallback of the first."""
        first = self.models.get(model.alias)
        if first is None:
            self.models[model.alias] = model
            return
        same = (first.kind, first.url, first.upstream) == (model.kind, model.url, model.upstream)
        if same and first.key == model.key:
            return
        twins = self.twins.setdefault(first.alias, [])
        numbered = (f"{first.alias}-{number}" for number in count(len(twins) + 2))
        alias = next(name for name in numbered if name not in self.names)
        self.names.add(alias)
        twins.append(alias)
        note = f"a second deployment of {first.alias}; LiteLLM shared the load, keyturn falls back"
        self.models[alias] = replace(model, alias=alias, listed=False, notes=(*model.notes, note))

    def _model(
        self, alias: str, params: Mapping[str, Any], info: Mapping[str, Any]
    ) -> FoundModel | str:
        """Return the model, or why it cannot be one of keyturn's."""
        if not alias.isascii() or not all(c.isalnum() or c in "._:/@+-" for c in alias):
            return "its name has characters that some client cannot send"
        if info.get("mode") in _NOT_CHAT:
            return f"it is no chat model (mode {info['mode']})"
        prefix, _, upstream = str(params["model"]).partition("/")
        url = self._plain(params.get("api_base") or params.get("base_url"))
        if isinstance(url, _Unknown):
            return f"its address is in the variable {url.name}, which is not set here"
        problem = url_problem(url) if url else None
        if problem:
            return problem
        if not upstream:
            prefix, upstream = _without_prefix(prefix)
        kind = "echo" if "mock_response" in params else _kind(prefix, url)
        if kind is None:
            return f"keyturn has no kind of backend for {printable(prefix)[:_LONGEST]}/"
        if not upstream.strip() or not upstream.isprintable():
            return "the name of its model at the backend is not usable"
        if alias.startswith(REFERENCE) or upstream.startswith(REFERENCE):
            return "LiteLLM would take its name for that of a variable"
        problem = None if kind == "echo" else key_problem(params.get("api_key"), self.lookup)
        if problem:
            return problem
        key, notes = self._key(kind, prefix, url, params)
        return FoundModel(
            alias=alias,
            kind=kind,
            url=None if kind == "echo" else url,
            upstream=upstream,
            key=key,
            output_tokens=_number(params, "max_tokens")
            or _number(info, "max_output_tokens")
            or _number(info, "max_tokens"),
            context_tokens=_number(info, "max_input_tokens"),
            images=info.get("supports_vision") is True,
            stream_only=params.get("stream") is True,
            notes=(*notes, *_unused(params, info)),
        )

    def _key(
        self, kind: str, prefix: str, url: str | None, params: Mapping[str, Any]
    ) -> tuple[FoundKey | None, tuple[str, ...]]:
        if kind == "echo":
            return None, ("its canned answer becomes that of lab-echo",)
        key = value_of(params.get("api_key"), self.lookup)
        if key is not None or plain_text(params.get("api_key")) is not None:
            return key, ()
        usual = "OLLAMA_API_KEY" if kind == "ollama-cloud" else _USUAL_KEYS.get(kind)
        if usual is not None:  # LiteLLM takes this one by itself
            return value_of(REFERENCE + usual, self.lookup), ()
        if prefix == "openai" and url is not None:
            return None, ("it names no api_key: LiteLLM sent OPENAI_API_KEY there, keyturn none",)
        return None, ()

    def _plain(self, raw: object) -> "str | _Unknown | None":
        text = plain_text(raw)
        if text is None or not text.startswith(REFERENCE):
            return None if text is None else text.rstrip("/")
        name = text.removeprefix(REFERENCE)
        value = self.lookup(name)
        return value.rstrip("/") if value else _Unknown(printable(name)[:_LONGEST])


@dataclass(frozen=True)
class _Unknown:
    """A variable whose value nobody knows."""

    name: str


def _without_prefix(model: str) -> tuple[str, str]:
    """Return the provider that LiteLLM takes for a model without one, and the model."""
    families = (("gpt-", "openai"), ("o1", "openai"), ("o3", "openai"), ("claude-", "anthropic"))
    return next((kind for start, kind in families if model.startswith(start)), model), model


def _kind(prefix: str, url: str | None) -> str | None:
    host = (url or "").partition("://")[2].partition("/")[0].partition(":")[0]
    match prefix:
        case "ollama" | "ollama_chat":
            return "ollama-cloud" if host.endswith("ollama.com") else "ollama"
        case "hosted_vllm":
            return None if url is None else kind_at(url, ("llama.cpp",), "vllm")
        case "llamafile":
            return None if url is None else "llama.cpp"
        case "openai" | "custom_openai" | "lm_studio" | "text-completion-openai":
            if url is None or host == "api.openai.com":
                return "openai" if prefix == "openai" else None
            return kind_at(url, ("llama.cpp", "vllm"), "openai-compatible")
        case "anthropic":
            return "anthropic"
    return None


def _unused(params: Mapping[str, Any], info: Mapping[str, Any]) -> tuple[str, ...]:
    rest = [f"litellm_params.{name}" for name in params if name not in _USED | _NEEDLESS]
    rest += [f"model_info.{name}" for name in info if name not in _INFO]
    names = ", ".join(printable(name)[:_LONGEST] for name in rest)
    return (f"not carried over: {names}",) if rest else ()


def _with_fallbacks(reader: _Reader, document: Mapping[str, Any]) -> list[FoundModel]:
    """Return the models with their chains; a name that is no model falls away, and is said."""
    settings = section(document, "litellm_settings")
    chains = {alias: list(twins) for alias, twins in reader.twins.items()}
    for where in (settings, section(document, "router_settings")):
        for row in _list(where.get("fallbacks")):
            for alias, others in row.items() if isinstance(row, dict) else ():
                chains.setdefault(str(alias), []).extend(map(str, _list(others)))
    last = [str(name) for name in _list(settings.get("default_fallbacks"))]
    models = []
    for model in reader.models.values():
        wanted = [*chains.get(model.alias, []), *(last if model.listed else [])]
        usable = [name for name in wanted if name in reader.models and name != model.alias]
        models.append(replace(model, fallbacks=tuple(dict.fromkeys(usable))))
    unknown = {name for names in chains.values() for name in names} - set(reader.models)
    reader.left_out += [
        f"fallback to {printable(name)[:_LONGEST]}: there is no such model here"
        for name in sorted(unknown)
    ]
    return models


def _redis(reader: _Reader, settings: Mapping[str, Any]) -> FoundRedis | None:
    cache = section(settings, "cache_params")
    if settings.get("cache") is not True or cache.get("type", "redis") != "redis":
        return None
    host, port = reader._plain(cache.get("host")), cache.get("port", 6379)
    number = re.fullmatch("[0-9]{1,5}", str(port if isinstance(port, int) else reader._plain(port)))
    if not isinstance(host, str) or number is None:
        reader.left_out.append("the Redis cache: its host or port is not known here")
        return None
    problem = key_problem(cache.get("password"), reader.lookup)
    if problem:
        reader.left_out.append(f"the Redis cache: {problem}")
        return None
    return FoundRedis(host, int(number[0]), value_of(cache.get("password"), reader.lookup))


def _other_settings(document: Mapping[str, Any]) -> list[str]:
    """Name the settings without a counterpart in lab.toml."""
    known = {"litellm_settings": _SETTINGS, "router_settings": {"fallbacks"}}
    known["general_settings"] = {"master_key"}
    rest = [name for name in document if name not in _TOP | {"environment_variables"}]
    for top, names in known.items():
        rest += [f"{top}.{name}" for name in section(document, top) if name not in names]
    return [f"{printable(str(name))[:_LONGEST]}: lab.toml has no such setting" for name in rest]


def _number(values: Mapping[str, Any], name: str) -> int | None:
    found = values.get(name)
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if 0 < found <= 100_000_000 else None


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
