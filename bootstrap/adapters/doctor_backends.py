"""Ask the backends which models they have, and the cache whether it works."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from bootstrap.adapters.backend_ask import REFUSED, ask_models
from bootstrap.adapters.gateway import LATE, HttpGateway, get_json
from bootstrap.adapters.gathering import Scene, gather
from bootstrap.adapters.redact import KnownSecrets
from bootstrap.adapters.redis_ping import ping
from bootstrap.domain.backend_read import names_in, read_models, read_tags
from bootstrap.domain.doctor.facts_backends import LISTING, OLLAMAS, BackendFacts, BackendsFacts
from bootstrap.domain.errors import LabError
from bootstrap.domain.lab import Backend, Lab
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret

_ANSWER_S = 3.0
# Anthropic takes a key in another header, so that only its presence is asked for.
_OTHER_HEADER = ("anthropic",)
# Returns the value of a secret of the lab.
Ask = Callable[[str], Secret]


def observe_backends(scene: Scene, ask: Ask) -> BackendsFacts | None:
    """Return what the backends say, all asked at the same time; None where there is no lab.

    Args:
        scene: What there is.
        ask: Returns a secret of the lab; may raise a LabError.
    """
    lab = scene.lab
    if lab is None:
        return None
    used = {model.backend for model in lab.models}
    asked = [b for name, b in lab.backends.items() if name in used and b.url is not None]
    tasks: dict[str, Callable[[], object]] = {
        f"backend {backend.name}": partial(_backend, backend, ask) for backend in asked
    }
    if lab.redis is not None:
        tasks["redis"] = partial(_redis, lab, ask)
        tasks["cache"] = partial(_cache, scene, lab)
    given, _ = gather(tasks, _ANSWER_S + 0.5)
    late = Answer(None, problem=LATE)
    backends = (given.get(f"backend {b.name}", BackendFacts(b.name, late)) for b in asked)
    redis, cache = given.get("redis"), given.get("cache")
    return BackendsFacts(
        tuple(
            replace(facts, answer=_with_limit(facts.answer))
            for facts in backends
            if isinstance(facts, BackendFacts)
        ),
        redis if isinstance(redis, str) else "",
        cache if isinstance(cache, Answer) else None,
    )


def _with_limit(answer: Answer) -> Answer:
    late = answer.status is None and answer.problem == LATE
    return replace(answer, problem=f"no answer within {_ANSWER_S:g} s") if late else answer


def _backend(backend: Backend, ask: Ask) -> BackendFacts:
    key: Secret | None = None
    url = (backend.url or "").rstrip("/")
    base = url.removesuffix("/v1")
    if backend.kind in _OTHER_HEADER:
        answer, _ = get_json(url, None, _ANSWER_S)
        reached = Answer(None if answer.status is None else 200, problem=answer.problem)
        return BackendFacts(backend.name, reached)
    with suppress(LabError):  # said elsewhere
        key = ask(backend.key) if backend.key else None
    if backend.kind in OLLAMAS:
        answer, document = get_json(f"{base}/api/tags", key, _ANSWER_S)
        found = read_tags(document, base, None)
    else:
        answer, document = ask_models(base, key, _ANSWER_S)
        found = read_models(document, f"{base}/v1", None)
    # A key that cannot be read is no reason to say that the backend wants one.
    if backend.key and key is None and answer.status in REFUSED:
        answer = Answer(200)
    elif found is None and answer.status == 200 and backend.kind in LISTING:
        answer = Answer(None, problem="another program answers there, without a list of models")
    names, models = None, found.models if found and answer.status == 200 else ()
    if found and answer.status == 200:  # a server may repeat what it was sent
        mask = KnownSecrets({backend.key or "": key} if key else {}).mask
        names = tuple(mask(name) for name in names_in(document))
    contexts = {m.upstream: m.context_tokens for m in models if m.context_tokens is not None}
    return BackendFacts(backend.name, answer, names, key is not None, contexts)


def _redis(lab: Lab, ask: Ask) -> str:
    redis = lab.redis
    if redis is None:
        return ""
    password = ask(redis.password) if redis.password else None
    return ping(redis.host, redis.port, password, _ANSWER_S / 2) or ""


def _cache(scene: Scene, lab: Lab) -> Answer | None:
    key = scene.key()
    return None if key is None else HttpGateway(lab.gateway.url, _ANSWER_S).cache_ping(key)
