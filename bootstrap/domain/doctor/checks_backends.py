"""KT5xx: do the backends and the cache work?"""

from collections.abc import Iterator, Sequence

from bootstrap.domain.doctor import codes_backends as codes
from bootstrap.domain.doctor.check import Check, Group
from bootstrap.domain.doctor.checks_others import OTHERS
from bootstrap.domain.doctor.facts_backends import LISTING, OLLAMAS, BackendFacts, BackendsFacts
from bootstrap.domain.doctor.finding import Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.endpoints import safe_url, shown
from bootstrap.domain.lab import Backend, Lab
from bootstrap.domain.ollama_name import full_name, is_in_the_cloud, pull_command
from bootstrap.domain.probes import describe, is_not_ready

_REFUSED = (401, 403)
_ELSEWHERE = range(300, 400)
_FEW = 5
_ANOTHER = "start it with that model, or correct the model's upstream in lab.toml"
_NAME_ONE = (
    'write key = "NAME" under [backends.{name}] and [secrets.NAME] in lab.toml, put the key into '
    "the store under that name (sops edit), then: keyturn apply"
)


def _parts(seen: Observations) -> tuple[Lab, BackendsFacts]:
    """Return what the checks of this group need; `Check.needs` sees that it is there."""
    if seen.lab is None or seen.backends is None:
        raise TypeError
    return seen.lab, seen.backends


def _each(seen: Observations) -> Iterator[tuple[Backend, BackendFacts, str]]:
    lab, found = _parts(seen)
    for facts in found.backends:
        backend = lab.backends[facts.name]
        yield backend, facts, f"{facts.name} ({safe_url(backend.url or '')})"


def unreachable(seen: Observations) -> Iterator[Finding]:
    """Find backends that are not there, or not ready."""
    for backend, facts, where in _each(seen):
        status, setting = facts.answer.status, f"backends.{facts.name}.url in lab.toml"
        words = f"{where}: {describe(facts.answer)}"
        if status is None:
            yield codes.UNREACHABLE.warning(words, mend=f"start {backend.kind}, or mend {setting}")
        elif is_not_ready(facts.answer):
            yield codes.UNREACHABLE.warning(
                words, mend="wait until it has its model, or see its log"
            )
        elif status == 404 and backend.kind in LISTING:
            yield codes.UNREACHABLE.warning(
                f"{words}, so it is no {backend.kind}", mend=f"mend {setting}"
            )
        elif status in _ELSEWHERE and backend.kind in LISTING:
            yield codes.UNREACHABLE.warning(
                f"{words}, which leads to another address", mend=f"write that as {setting}"
            )


def model_missing(seen: Observations) -> Iterator[Finding]:
    """Find models that are not served."""
    lab, _ = _parts(seen)
    for backend, facts, where in _each(seen):
        if facts.models is None:
            continue
        models = shown(", ".join(facts.models))
        wanted = (model.upstream for model in lab.models if model.backend == facts.name)
        for name in dict.fromkeys(wanted):
            if _is_served(name, backend, facts.models):
                continue
            if backend.kind == "llama.cpp":
                words = f"{where} has {models}, and answers with that whoever asks for {name}"
                yield codes.MODEL_MISSING.note(words, mend=_ANOTHER)
            else:
                ours = backend.kind == "ollama" and name.isprintable()
                mend = pull_command(name, backend.url or "") if ours else ""
                instead = f", but {models}" if 0 < len(facts.models) <= _FEW else ""
                words = f"{where} does not have {name}{instead}"
                yield codes.MODEL_MISSING.error(words, mend=mend)


def _is_served(name: str, backend: Backend, models: Sequence[str]) -> bool:
    if backend.kind in OLLAMAS:
        passed_on = backend.kind == "ollama" and is_in_the_cloud(name)
        return passed_on or full_name(name) in map(full_name, models)
    if backend.kind == "vllm":
        return name in models
    # Any other may be a llama.cpp, or Ollama under the paths of OpenAI's protocol.
    return bool({name, f"{name}:latest", _stem(name)} & {*models, *map(_stem, models)})


def _stem(name: str) -> str:
    """Return the name of the file that llama.cpp took a model from, as people know it."""
    return name.rpartition("/")[2].removesuffix(".gguf") if name.endswith(".gguf") else name


def too_long(seen: Observations) -> Iterator[Finding]:
    """Find models whose answers may be longer than vLLM lets anybody ask for."""
    lab, _ = _parts(seen)
    for backend, facts, where in _each(seen):
        for model in lab.models:
            room = facts.contexts.get(model.upstream) if model.backend == facts.name else None
            if backend.kind == "vllm" and room is not None and model.output_tokens >= room:
                mend = f"write output_tokens = {room // 2 or 1} for it in lab.toml, keyturn apply"
                words = f"{where} has room for {room} tokens in {model.upstream}, but "
                words += f"{model.alias} is given output_tokens = {model.output_tokens}"
                yield codes.TOO_LONG.error(words, mend=mend)


def key_refused(seen: Observations) -> Iterator[Finding]:
    """Find keys of providers that do not open."""
    for backend, facts, where in _each(seen):
        if facts.answer.status in _REFUSED:
            why = describe(facts.answer)
            if facts.asked_with_key:
                mend = f"give it the right one: keyturn rotate {backend.key} --value-stdin"
                words = f"{where} refuses the key {backend.key}, {why}"
                yield codes.KEY_REFUSED.error(words, mend=mend)
            else:
                mend = _NAME_ONE.format(name=facts.name)
                words = f"{where} refuses to be asked without a key, {why}"
                yield codes.KEY_REFUSED.warning(words, mend=mend)


def redis(seen: Observations) -> Iterator[Finding]:
    """Find a cache that does not work."""
    lab, found = _parts(seen)
    if lab.redis is not None and found.redis:
        where = f"{lab.redis.host}:{lab.redis.port}"
        yield codes.REDIS.error(f"{where}: {found.redis}")


def cache_unused(seen: Observations) -> Iterator[Finding]:
    """Find a cache that the gateway does not use."""
    _, found = _parts(seen)
    answer = found.cache
    if answer is not None and answer.status not in (200, None) and not found.redis:
        words = f"{seen.gateway_url}/cache/ping: {describe(answer)}"
        yield codes.CACHE_UNUSED.warning(words)


_NEEDS = ("lab", "backends")
BACKENDS = Group(
    "KT5",
    "Backends, and clients of other kinds",
    (
        Check(codes.UNREACHABLE, unreachable, _NEEDS),
        Check(codes.MODEL_MISSING, model_missing, _NEEDS),
        Check(codes.KEY_REFUSED, key_refused, _NEEDS),
        Check(codes.TOO_LONG, too_long, _NEEDS),
        Check(codes.REDIS, redis, _NEEDS),
        Check(codes.CACHE_UNUSED, cache_unused, _NEEDS),
        *OTHERS,
    ),
)
