"""Written by keyturn. Which keys the guard accepts and what they may ask, as pure functions.

Routes are allowed by name and everything else is closed, so that an admin route of a coming
version is closed too. `keyturn_guard.py` loads this file from its own folder.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Clock = Callable[[], float]
# Open to read without a key.
PUBLIC = frozenset({"/health/liveliness", "/health/liveness", "/health/readiness"})
_DIGEST = re.compile("[0-9a-f]{64}")
_CALL = re.compile(
    r"(?:/v1)?/(?:chat/completions|completions|embeddings|moderations|rerank"
    r"|images/(?:generations|edits)|audio/(?:speech|transcriptions))"
    r"|/v2/rerank|/v1/messages(?:/count_tokens)?"
    r"|(?:/openai)?(?:/v1)?/responses(?:/compact|/input_tokens)?"
    r"|/(?:engines|openai/deployments)/(?P<engine>.+?)/(?:chat/completions|completions|embeddings"
    r"|images/(?:generations|edits))"
    r"|(?:/v1beta)?/models/(?P<model>.+):(?:generateContent|streamGenerateContent|countTokens)",
    re.DOTALL,
)
_CATALOGUE = re.compile(r"(?:/v1)?/models(?:/(?P<model>.+))?", re.DOTALL)
# Kept under an id that does not say for which model: closed to keys with a list of models.
_KEPT = re.compile(r"(?:/openai)?(?:/v1)?/(?:responses|files|batches|realtime)(?:/.*)?", re.DOTALL)
_MASTER_READS = re.compile(r"/health|/cache/ping|(?:/v1)?/model/info|/model_group/info")
_MASTER_CALLS = re.compile(
    r"/utils/token_counter"
    r"|(?:/v1)?/(?:assistants|containers|fine_tuning|ocr|search|threads|vector_stores|videos)(?:/.*)?"
    r"|/(?:anthropic|assemblyai|azure|azure_ai|bedrock|cohere|deepgram|gemini|mistral|nvidia_nim"
    r"|openai|openai_passthrough|openrouter|vertex-ai|vertex_ai|vllm|watsonx)/.*",
    re.DOTALL,
)

# A body can tell LiteLLM to use another address, credential, provider or model. The names that it
# keeps for itself (`all_litellm_params`) are refused, and these whatever that list says,
_DESTINATION = re.compile(
    r"(?:.*[_-])?(?:api_?key|(?:api|base)_(?:base|url)|(?:deployment|endpoint|token|webhook)_url"
    r"|credentials|secret(?:_access)?_key)|.+[_-](?:endpoint|host|secret)",
    re.DOTALL,
)
_REFUSED = re.compile(
    r"(?:_|aws_|azure_|gcs_|mock_|s3_|sagemaker_|vertex_).*|(?:extra_)?headers|extra_(?:body|query)"
    r"|api_version|custom_llm_provider|litellm_(?:credential_name|params)|model_(?:alias_map|list)"
    r"|(?:adaptive|auto)_router_.*|organization|prompt_id|proxy|router_settings_override"
    r"|silent_model|specific_deployment|ssl_verify|user_config",
    re.DOTALL,
)
# but for these, which are of use to a client and choose nothing.
_HARMLESS = re.compile(
    "cache|caching|fallbacks|id|(?:litellm_)?metadata|litellm_(?:session|trace)_id|tags|ttl"
    "|(?:max|num)_retries|(?:request_|stream_)?timeout"
)
_METADATA = frozenset({"metadata", "litellm_metadata"})
_FALLBACKS = frozenset({"fallbacks", "context_window_fallbacks", "content_policy_fallbacks"})
_UNREADABLE = "\0"  # no alias: a value that does not read as names of models


class Refusal(Exception):
    """Why a request is not let through.

    Args:
        code: 401 for a key that is not accepted, 403 for one that may not make this request.
        message: One sentence for the client; holds nothing that a client sent.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Key(NamedTuple):
    """One entry of the keyset.

    Attributes:
        id: A label for logs.
        sha256: 64 hex digits, the key's SHA-256.
        kind: `master` or `client`.
        not_after: Seconds since 1970 from which it is refused, or None.
        models: The only aliases that a client key may name, or None for all.
        name: What people call it.
    """

    id: str
    sha256: str
    kind: str
    not_after: float | None
    models: frozenset[str] | None
    name: str


def parse_keyset(data: bytes) -> tuple[Key, ...]:
    """Return the entries of a keyset file.

    Raises:
        ValueError: Something in it is not as it should be; then none of it counts.
    """
    document = json.loads(data)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or document.get("version") != 1:
        raise ValueError("it is not a keyset of version 1")
    return tuple(_key(entry) for entry in entries)


def _key(entry: Any) -> Key:
    if not isinstance(entry, dict):
        raise ValueError("an entry is no object")
    if not all(isinstance(entry.get(field), str) for field in ("id", "sha256", "kind", "name")):
        raise ValueError("an entry lacks id, sha256, kind or name")
    if entry["kind"] not in ("master", "client") or not _DIGEST.fullmatch(entry["sha256"]):
        raise ValueError("an entry has a wrong kind or sha256")
    end, models = entry.get("not_after"), entry.get("models")
    if end is not None and (type(end) not in (int, float) or not 0 <= end < 1e12):
        raise ValueError("an entry has a wrong not_after")
    if models is not None and not (
        entry["kind"] == "client"
        and isinstance(models, list)
        and models
        and all(model and isinstance(model, str) for model in models)
    ):
        raise ValueError("an entry has a wrong list of models")
    scope = None if models is None else frozenset(models)
    return Key(entry["id"], entry["sha256"], entry["kind"], end, scope, entry["name"])


def find(keys: Sequence[Key], presented: str, now: float) -> tuple[Key | None, str | None]:
    """Return the entry that accepts a presented key, and the key's digest if any entry knows it.

    Every entry is compared, each in constant time.
    """
    digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()
    same = [key for key in keys if hmac.compare_digest(key.sha256, digest)]
    valid = [key for key in same if key.not_after is None or now < key.not_after]
    return (valid[0] if valid else None), (digest if same else None)


class TrustedClock:
    """Wall time that never goes back, so that no expired key revives.

    Args:
        wall: Seconds since 1970, as the machine believes.
        monotonic: Seconds from an arbitrary start.
        seen: A time that has been before.
    """

    def __init__(self, wall: Clock, monotonic: Clock, seen: float = 0.0) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._latest, self._at = max(wall(), seen), monotonic()

    def now(self) -> float:
        """Return seconds since 1970; they pass as usual when the machine's clock jumps back."""
        at = self._monotonic()
        self._latest, self._at = max(self._wall(), self._latest + at - self._at), at
        return self._latest


def route_path(scope: Mapping[str, Any]) -> str:
    """Return the path that the server routes by, without the root path.

    Not `request.url.path`: a forged Host header changes that one, and could make it a public one.
    """
    path = str(scope["path"])
    root = str(scope.get("app_root_path", scope.get("root_path", ""))).rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


class Route(NamedTuple):
    """What a request asks for.

    Attributes:
        calls_model: It must name a model somewhere.
        model: The model in its path, or None.
        needs_admin: LiteLLM keeps it to its role of administrators, though it changes nothing.
    """

    calls_model: bool = False
    model: str | None = None
    needs_admin: bool = False


def route_of(method: str, path: str, *, master: bool, scoped: bool) -> Route:
    """Return what a request asks for.

    Args:
        method: Of HTTP; LiteLLM says GET for a WebSocket.
        path: As the server routes it, decoded, without the root path.
        master: The key is the lab's own, not a client's.
        scoped: The key has a list of models.

    Raises:
        Refusal: The route is not for such a key.
    """
    if method == "POST" and (match := _CALL.fullmatch(path)):
        return Route(calls_model=True, model=match["engine"] or match["model"])
    if method == "GET" and (match := _CATALOGUE.fullmatch(path)):
        return Route(model=match["model"], needs_admin=match["model"] is not None)
    if master and method == "GET" and _MASTER_READS.fullmatch(path):
        return Route(needs_admin=path == "/cache/ping")
    if (master and _MASTER_CALLS.fullmatch(path)) or (not scoped and _KEPT.fullmatch(path)):
        return Route()
    raise Refusal(403, "This key may not use this route.")


def refused_fields(reserved: Iterable[str]) -> frozenset[str]:
    """Return what a client key may not set of the fields that LiteLLM keeps for itself."""
    return frozenset(field for field in reserved if not _HARMLESS.fullmatch(field))


def check_fields(fields: Mapping[str, Any], refused: frozenset[str]) -> None:
    """Refuse fields that would choose another address, credential, provider or model.

    Raises:
        Refusal: There is a field of `refused` (from `refused_fields`), or one like these.
    """
    for field, value in fields.items():
        name = _plain(field)
        if name in refused or _REFUSED.fullmatch(name) or _DESTINATION.fullmatch(name):
            raise Refusal(403, "A client key may not set the parameters of a provider.")
        if name in _METADATA and any(_DESTINATION.fullmatch(inner) for inner in _inner(value)):
            raise Refusal(403, "A client key may not set an address or a key in metadata.")
        if name in _FALLBACKS and _UNREADABLE in _names(value):
            raise Refusal(403, "Fallbacks of a client key must be names.")


def named_models(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield every model that a body or a query names, at any place that LiteLLM looks at."""
    for field, value in fields.items():
        name = _plain(field)
        if "model" in name or name in _FALLBACKS:
            yield from _names(value)
        elif name not in _METADATA:
            # Such as session.model, and the model that a tool is to use.
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and name != "messages" and name != "input":
                    yield from _names(item.get("model"))


def check_models(names: Iterable[str], allowed: frozenset[str], *, needed: bool) -> None:
    """Refuse models that are not in `allowed`, and `needed` ones that nobody named.

    Raises:
        Refusal: The key may not use one of them.
    """
    given = list(names)
    if needed and not given:
        raise Refusal(403, "A key with a list of models must name the model.")
    if not allowed.issuperset(given):
        raise Refusal(403, "This key may not use this model.")


def _plain(field: str) -> str:
    """Return the name of a form's field `name[]` or `name[key]` as LiteLLM will read it."""
    return field.split("[", 1)[0].strip()


def _inner(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    return [key for key in value if isinstance(key, str)] if isinstance(value, dict) else []


def _names(value: Any) -> Iterator[str]:
    """Yield names from "a", "a,b", ["a", {"model": "b"}]; LiteLLM splits at commas."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and item.keys() == {"model"}:
            item = item["model"]
        if isinstance(item, str):
            yield from (part.strip() for part in item.split(",")) if "," in item else (item,)
        elif item is not None:
            yield _UNREADABLE
