"""What config.yaml tells LiteLLM, as plain data; how it becomes YAML; whether that is sound.

The facts about LiteLLM were seen with 1.106.2 against an upstream that logs what it gets. A
reference like `os.environ/NAME` stands wherever a key belongs: this module never has one.

A model with `stream_only` gets nothing extra: no setting makes LiteLLM stream from the upstream
for a client that does not stream itself. `stream: true` has no effect; a callback that sets it
sends such a client an event stream it did not ask for, and with `complete_response` the call
fails. droid and Claude Code always stream, and with them such a model works.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bootstrap.domain.lab import BACKEND_KINDS, ECHO_ANSWER, Lab, Model
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY
from bootstrap.domain.yaml_text import UnreadableYaml, load_yaml

CALLBACK = "keyturn_output_cap.handler"
CAPS_FILE = "keyturn-caps.json"
# What LiteLLM replaces by a variable of its environment.
REFERENCE = "os.environ/"
_NO_KEY = "none"
# Where nobody serves: what a model without a backend would send out otherwise goes to
# api.openai.com (a count of tokens, a moderation), although its answers are made up.
_NOWHERE = "http://127.0.0.1:9/v1"
_PREFIXES = frozenset(kind.prefix for kind in BACKEND_KINDS.values())
# `drop_params` leaves these in although the real OpenAI refuses them with 400.
_REFUSED_BY_OPENAI = ("top_k", "min_p", "repetition_penalty")


def model_list(lab: Lab) -> list[dict[str, Any]]:
    """Return the section `model_list`: one entry for each model, in the lab's order."""
    return [
        {
            "model_name": model.alias,
            "litellm_params": _params(lab, model),
            "model_info": _info(model),
        }
        for model in lab.models
    ]


def fallbacks(lab: Lab) -> list[dict[str, list[str]]]:
    """Return `router_settings.fallbacks`: which aliases to try when one fails."""
    return [{model.alias: list(model.fallbacks)} for model in lab.models if model.fallbacks]


def output_caps(lab: Lab) -> dict[str, int]:
    """Return the most tokens of one answer by alias, for `{"caps": …}` in CAPS_FILE."""
    return {model.alias: model.output_tokens for model in lab.models}


def litellm_settings(lab: Lab) -> dict[str, Any]:
    """Return the section `litellm_settings`."""
    settings: dict[str, Any] = {"drop_params": True, "callbacks": [CALLBACK]}
    if lab.redis is not None:
        cache: dict[str, Any] = {"type": "redis", "host": lab.redis.host, "port": lab.redis.port}
        if lab.redis.password is not None:
            cache["password"] = REFERENCE + lab.redis.password
        settings |= {"cache": True, "cache_params": cache}
    return settings


def general_settings(lab: Lab) -> dict[str, Any]:
    """Return the section `general_settings`; without a master key LiteLLM does not start."""
    if not lab.guarded:
        return {"master_key": REFERENCE + MASTER_KEY}
    return {
        "master_key": REFERENCE + INTERNAL_KEY,
        "custom_auth": "keyturn_guard.user_api_key_auth",
        # Without it LiteLLM lets every key that the guard accepts reach its settings.
        "custom_auth_run_common_checks": True,
    }


def names_database(data: bytes) -> bool:
    """Tell whether a rendered config.yaml gives LiteLLM a database; never True for a broken one."""
    try:
        document = load_yaml(data)
    except UnreadableYaml:
        return False
    general = document.get("general_settings") if isinstance(document, dict) else None
    return isinstance(general, dict) and bool(general.get("database_url"))


def to_yaml(value: object, indent: int = 0, literal: Mapping[str, str] | None = None) -> str:
    """Return `value` as block YAML without its last newline, every text in double quotes.

    Args:
        value: Mappings, lists, texts, numbers, true, false, None.
        indent: Spaces before each line.
        literal: Texts to write instead of `os.environ/NAME`, by NAME. Where the caller gives
            them, the result holds secrets.
    """
    import yaml

    class Quoted(str):
        """A text that is written in double quotes, whatever it looks like."""

        __slots__ = ()

    class Dumper(yaml.SafeDumper):
        """Block YAML without anchors."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')

    def quoted(item: object) -> object:
        if isinstance(item, Mapping):
            return {key: quoted(inner) for key, inner in item.items()}
        if isinstance(item, (list, tuple)):
            return [quoted(inner) for inner in item]
        if isinstance(item, str):
            name = item.removeprefix(REFERENCE)
            return Quoted((literal or {}).get(name, item) if name != item else item)
        return item

    Dumper.add_representer(Quoted, represent)
    text = yaml.dump(
        quoted(value),
        Dumper=Dumper,
        default_flow_style=False,
        sort_keys=False,
        width=float("inf"),
    ).removesuffix("...\n")
    return "\n".join(" " * indent + line for line in text.splitlines())


def validate(data: bytes, lab: Lab, env_names: Collection[str]) -> str | None:
    """Return what is wrong with a rendered config.yaml (one clause), or None.

    Args:
        data: The whole file.
        lab: The lab it is for.
        env_names: The names that the gateway's environment will hold.

    LiteLLM itself starts, and says nothing, with most of these: an unknown provider, a variable
    that is not set (it may then send another provider's key), a fallback to nowhere. Quotes no
    value, since a value may be a key.
    """
    try:
        document = load_yaml(data)
    except UnreadableYaml as error:
        return str(error)
    if not isinstance(document, dict):
        return "it is not a mapping"
    return (
        _models_problem(document.get("model_list"))
        or _missing_problem(document, lab)
        or _fallback_problem(document)
        or _key_problem(document)
        or _reference_problem(document, env_names)
    )


def _params(lab: Lab, model: Model) -> dict[str, Any]:
    backend = lab.backends[model.backend]
    prefix = BACKEND_KINDS[backend.kind].prefix
    params: dict[str, Any] = {"model": f"{prefix}/{model.upstream}"}
    url = _NOWHERE if backend.kind == "echo" else backend.url
    if url is not None:
        params["api_base"] = url
    # Never left out: LiteLLM would take the provider's usual variable from its environment and
    # send that key to this api_base (OLLAMA_API_KEY to a local Ollama, for example).
    params["api_key"] = REFERENCE + backend.key if backend.key else _NO_KEY
    if backend.kind == "echo":
        return params | {"mock_response": ECHO_ANSWER}
    params["max_tokens"] = model.output_tokens
    if backend.kind == "openai":
        params["additional_drop_params"] = list(_REFUSED_BY_OPENAI)
    return params


def _info(model: Model) -> dict[str, Any]:
    info: dict[str, Any] = {"max_output_tokens": model.output_tokens}
    if model.context_tokens is not None:
        info["max_input_tokens"] = model.context_tokens
    if model.images:
        info["supports_vision"] = True
    return info


def _models_problem(models: object) -> str | None:
    if not isinstance(models, list):
        return "model_list is not a list"
    for number, entry in enumerate(models):
        where = f"model_list[{number}]"
        if not isinstance(entry, dict) or not _is_text(entry.get("model_name")):
            return f"{where} has no model_name"
        params = entry.get("litellm_params")
        target = params.get("model") if isinstance(params, dict) else None
        if not isinstance(target, str):
            return f"{where} has no litellm_params.model"
        prefix, _, name = target.partition("/")
        if prefix not in _PREFIXES or not name:
            return f"{where}.litellm_params.model does not start with a known provider"
    return None


def _missing_problem(document: Mapping[str, Any], lab: Lab) -> str | None:
    known = {entry["model_name"] for entry in document["model_list"]}
    missing = [model.alias for model in lab.models if model.alias not in known]
    return f"model_list lacks {', '.join(missing)}" if missing else None


def _fallback_problem(document: Mapping[str, Any]) -> str | None:
    known = {entry["model_name"] for entry in document["model_list"]}
    router = document.get("router_settings")
    chains = router.get("fallbacks", []) if isinstance(router, dict) else []
    if not isinstance(chains, list) or not all(isinstance(chain, dict) for chain in chains):
        return "router_settings.fallbacks is not a list of mappings"
    for chain in chains:
        for alias, others in chain.items():
            if not isinstance(others, list) or not all(_is_text(other) for other in others):
                return "router_settings.fallbacks holds something that is not a list of names"
            if not {alias, *others} <= known:
                return "router_settings.fallbacks names a model that model_list does not have"
    return None


def _key_problem(document: Mapping[str, Any]) -> str | None:
    general = document.get("general_settings")
    key = general.get("master_key") if isinstance(general, dict) else None
    if not isinstance(key, str) or not key.strip():
        return "general_settings.master_key is not there"
    return None if key == key.strip() else "general_settings.master_key has blanks around it"


def _reference_problem(document: object, names: Collection[str]) -> str | None:
    for text in texts(document):
        name = text.removeprefix(REFERENCE)
        if name != text and name not in names:
            return "it refers to a variable that the gateway's environment will not have"
    return None


def texts(item: object) -> Iterator[str]:
    """Yield every text in plain data that is no key of a mapping, in order."""
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        for inner in item.values():
            yield from texts(inner)
    elif isinstance(item, list):
        for inner in item:
            yield from texts(inner)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
