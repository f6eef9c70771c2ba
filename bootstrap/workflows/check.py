"""Is this lab well? Read-only: drift, sources, service, what the gateway answers to which key."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from bootstrap.domain.claims import way_on
from bootstrap.domain.duration import show_ago, show_duration
from bootstrap.domain.errors import ExitCode, LabError, SecretError, SecretNotFoundError
from bootstrap.domain.lab import ECHO_ALIAS
from bootstrap.domain.plan import Action
from bootstrap.domain.probes import Verdict, describe, verdict
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.uses import USES_FILE
from bootstrap.workflows.gateway_up import open_gateway, require_own_listener
from bootstrap.workflows.planning import make_plan, needed_secrets
from bootstrap.workflows.tools import Tools
from bootstrap.workflows.uses import OldKey, counters, old_keys

_APPLY = "keyturn plan, then keyturn apply"
_FIXES = {
    Action.CREATE: _APPLY,
    Action.UPDATE: _APPLY,
    Action.REMOVE: _APPLY,
    Action.MODE: _APPLY,
    Action.CONFLICT: "keyturn plan, then keyturn apply --force, which keeps a backup",
    Action.NOTE: "",
}


class Health(Enum):
    """The outcome of one question."""

    WELL = "ok"
    NOTE = "note"
    DRIFT = "drift"
    UNWELL = "error"


@dataclass(frozen=True)
class Reading:
    """One answer of `check`.

    Attributes:
        topic: What was asked about, for example `gateway: no key`.
        health: How it is.
        detail: What was seen, one clause.
        fix: What to type next; empty where all is well.
    """

    topic: str
    health: Health
    detail: str
    fix: str = ""


def exit_code(readings: list[Reading]) -> int:
    """Return 0 where all is well, 1 where something is not, 3 where there is only drift."""
    if any(r.health is Health.UNWELL for r in readings):
        return ExitCode.FAILED
    return ExitCode.DRIFT if any(r.health is Health.DRIFT for r in readings) else ExitCode.DONE


def check(tools: Tools, *, deep: bool = False, rotated_at: float = 0.0) -> list[Reading]:
    """Ask everything, however much of it fails.

    Args:
        tools: The lab and everything around it.
        deep: Also ask for one chat completion, of `lab-echo` where the lab has it.
        rotated_at: When the master key was replaced last, in seconds since 1970.
    """
    readings: list[Reading] = []
    with tools.progress.step("check the files"):
        readings += _guarded("files", lambda: _files(tools))
        readings += _guarded("secrets", lambda: _sources(tools))
    with tools.progress.step("check the gateway"):
        readings += _guarded("service", lambda: _service(tools))
        readings += _guarded("gateway", lambda: _gateway(tools, deep=deep))
        readings += _guarded("old keys", lambda: _old_keys(tools, rotated_at))
    with tools.progress.step("check what it depends on"):
        readings += _guarded("redis", lambda: _redis(tools))
        readings += _guarded("backends", lambda: _backends(tools))
    return readings


def _guarded(topic: str, ask: Callable[[], Iterator[Reading]]) -> list[Reading]:
    readings: list[Reading] = []
    try:
        readings.extend(ask())
    except LabError as error:
        what = f"{error.what}: {error.why}"
        readings.append(Reading(topic, Health.UNWELL, what, error.fix))
    return readings


def _files(tools: Tools) -> Iterator[Reading]:
    plan = make_plan(tools, running=False)
    for change in plan.changes:
        health = Health.NOTE if change.action is Action.NOTE else Health.DRIFT
        fix = way_on(change.lab, str(tools.lab.root)) if change.lab else _FIXES[change.action]
        yield Reading(f"file {change.target.path}", health, change.why, fix)
    if not plan.drift:
        yield Reading("files", Health.WELL, "every target is as the lab says")


def _sources(tools: Tools) -> Iterator[Reading]:
    for name in needed_secrets(tools):
        try:
            yield _source(tools, name)
        except SecretError as error:
            absent = isinstance(error, SecretNotFoundError) and tools.lab.secrets[name].optional
            health = Health.NOTE if absent else Health.UNWELL
            yield Reading(f"secret {name}", health, f"{error.what}: {error.why}", error.fix)


def _source(tools: Tools, name: str) -> Reading:
    used = tools.resolver.resolve(name)
    others = [
        str(ref)
        for ref, value, _ in tools.resolver.survey(name)
        if value is not None and value != used.secret
    ]
    if not others:
        return Reading(f"secret {name}", Health.WELL, f"{used.ref} ({used.secret.fingerprint()})")
    return Reading(
        f"secret {name}",
        Health.NOTE,
        f"{', '.join(others)} disagrees with {used.ref}, which is the one in force",
        f"unset or update it: {', '.join(others)}",
    )


def _service(tools: Tools) -> Iterator[Reading]:
    if tools.installer.installed() is None:
        wanted = tools.lab.gateway.command or f"LiteLLM {tools.lab.gateway.version}"
        yield Reading("program", Health.UNWELL, f"{wanted} is not installed", "keyturn apply")
    status = tools.service.status()
    topic = f"service {tools.service.name} ({tools.service.kind})"
    if not status.running:
        fix = "keyturn apply" if status.installed else "keyturn bootstrap"
        yield Reading(topic, Health.UNWELL, status.detail or "not running", fix)
        return
    if status.pid is not None:
        require_own_listener(tools, status.pid)
    yield Reading(topic, Health.WELL, status.detail or "running")


def _gateway(tools: Tools, *, deep: bool) -> Iterator[Reading]:
    for sent, words in ((None, "no key"), (tools.new_key(), "wrong key")):
        answer = tools.gateway.models(sent)
        topic = f"gateway: {words}"
        found = verdict(answer, with_key=sent is not None)
        if found is Verdict.REFUSED:
            yield Reading(topic, Health.WELL, f"refused, {describe(answer)}")
        elif found is Verdict.ACCEPTED:
            error = open_gateway(tools, words)
            yield Reading(topic, Health.UNWELL, f"{error.what}: {error.why}", error.fix)
        else:
            yield Reading(topic, Health.UNWELL, describe(answer), "keyturn apply")
            if answer.status is None:
                return
    key = tools.resolver.resolve(MASTER_KEY).secret
    yield _right_key(tools, key)
    if deep:
        yield _completion(tools, key)


def _right_key(tools: Tools, key: Secret) -> Reading:
    topic = f"gateway: right key ({key.fingerprint()})"
    answer = tools.gateway.models(key)
    if verdict(answer, with_key=True) is not Verdict.ACCEPTED:
        fix = "keyturn apply restarts it when its files changed"
        return Reading(topic, Health.UNWELL, f"not accepted, {describe(answer)}", fix)
    lab = tools.lab.with_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
    missing = [m.alias for m in lab.models if m.alias not in answer.model_ids]
    if missing:
        return Reading(
            topic, Health.UNWELL, f"it does not serve {', '.join(missing)}", "keyturn apply"
        )
    return Reading(topic, Health.WELL, f"accepted; it serves {', '.join(answer.model_ids)}")


def _completion(tools: Tools, key: Secret) -> Reading:
    aliases = [model.alias for model in tools.lab.models]
    if not aliases:
        return Reading("completion", Health.NOTE, "the lab has no model to ask")
    alias = ECHO_ALIAS if ECHO_ALIAS in aliases else aliases[0]
    answer = tools.gateway.complete(key, alias)
    if answer.status == 200 and answer.text:
        return Reading(f"completion from {alias}", Health.WELL, "answered")
    fix = "see the log of the service"
    return Reading(f"completion from {alias}", Health.UNWELL, describe(answer), fix)


def _old_keys(tools: Tools, rotated_at: float) -> Iterator[Reading]:
    """Say who still uses a key that was replaced."""
    if not tools.lab.guarded:
        return
    found, now = counters(tools.files, tools.places.litellm), tools.clock.now()
    if found.problem:
        where = tools.places.litellm / USES_FILE
        fix = f"move it away, the guard begins a new one: mv {where} {where}.old"
        yield Reading(f"uses {where}", Health.NOTE, f"not counted: {found.problem}", fix)
    for old in old_keys(tools, found, rotated_at):
        topic = f"old key of {old.entry.name} ({old.entry.fingerprint})"
        yield _old_key(topic, old, now, known=not found.problem)


def _old_key(topic: str, old: OldKey, now: float, *, known: bool) -> Reading:
    end = old.entry.not_after
    if end is None:
        left = "accepted without an end"
    else:
        left = f"accepted for {show_duration(end - now)}" if now < end else "refused"
    who = ", ".join(
        f"{user.program} (last {show_ago(now - user.last_seen)}, {user.requests} in all)"
        for user in old.users
    )
    if not who:
        nobody = "nobody has used it since it was replaced" if known else "who uses it is not known"
        return Reading(topic, Health.WELL if known else Health.NOTE, f"{left}; {nobody}")
    fix = "start that again, or give it the new key; see: keyturn rotate --status, keyturn key list"
    return Reading(topic, Health.NOTE, f"{left}; still used by {who}", fix)


def _redis(tools: Tools) -> Iterator[Reading]:
    redis = tools.lab.redis
    if redis is None:
        return
    where = f"redis {redis.host}:{redis.port}"
    password = tools.resolver.resolve(redis.password).secret if redis.password else None
    wrong = tools.ping_redis(redis.host, redis.port, password)
    if wrong is not None:
        yield Reading(where, Health.UNWELL, wrong, "start it, or mend [redis] in lab.toml")
        return
    answer = tools.gateway.cache_ping(tools.resolver.resolve(MASTER_KEY).secret)
    if answer.status == 200:
        yield Reading(where, Health.WELL, "answers, and the gateway uses it")
    else:
        seen = f"answers, but the gateway does not reach it: {describe(answer)}"
        yield Reading(where, Health.UNWELL, seen, "keyturn apply")


def _backends(tools: Tools) -> Iterator[Reading]:
    used = {model.backend for model in tools.lab.models}
    for name, backend in tools.lab.backends.items():
        if backend.url is None or name not in used:
            continue
        topic = f"backend {name} ({backend.url})"
        if tools.gateway.reachable(backend.url):
            yield Reading(topic, Health.WELL, "answers")
        else:
            yield Reading(
                topic,
                Health.UNWELL,
                "nothing answers there",
                f"start {backend.kind}, or mend backends.{name}.url in lab.toml",
            )
