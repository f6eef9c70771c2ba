"""KT311 to KT315, KT318, KT320 to KT322: what config.yaml tells LiteLLM, whoever wrote it."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from bootstrap.domain.doctor import codes_gateway as codes
from bootstrap.domain.doctor.check import Check
from bootstrap.domain.doctor.facts_gateway import LitellmFacts
from bootstrap.domain.doctor.finding import Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.lab import BACKEND_KINDS, Lab
from bootstrap.domain.litellm_config import REFERENCE, texts
from bootstrap.domain.litellm_read import read_document, section
from bootstrap.domain.printable import printable
from bootstrap.domain.ref import is_variable_name
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import DATABASE_URL, INTERNAL_KEY, MASTER_KEY, SALT_KEY
from bootstrap.domain.service_env import REDIRECTING_VARIABLES, service_environment

_CHAINS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_LONGEST = 60
# What would change a LiteLLM that is started by hand from a shell that has it.
_BY_HAND = (
    "CONFIG_FILE_PATH",
    "DEBUG",
    "DETAILED_DEBUG",
    "HOST",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
    "LITELLM_DISABLE_REDACT_SECRETS",
    "LITELLM_LOG",
    "NUM_WORKERS",
    "PORT",
)
# What is looked at by itself, or only makes exceptions.
_SAID = frozenset({DATABASE_URL, "NO_PROXY", "no_proxy"})


def _facts(seen: Observations) -> LitellmFacts:
    if seen.litellm is None:
        raise TypeError
    return seen.litellm


def _document(seen: Observations) -> Mapping[str, Any]:
    """Return the config; empty where there is none, or a broken one, which KT320 says."""
    data = _facts(seen).config.data
    found = {} if data is None else _parsed(data)
    return {} if isinstance(found, str) else found


@lru_cache(maxsize=2)
def _parsed(data: bytes) -> Mapping[str, Any] | str:
    """Return the config, or why it is none; most checks ask, and reading takes its time."""
    try:
        return read_document(data, "config.yaml")
    except ConfigError as error:
        return error.why


def config_broken(seen: Observations) -> Iterator[Finding]:
    """Find a config that LiteLLM cannot read."""
    file = _facts(seen).config
    name = seen.show(file.path)
    if file.problem:
        yield codes.CONFIG_BROKEN.error(f"{name}: {file.problem}")
    elif file.data is not None:
        found = _parsed(file.data)
        if isinstance(found, str):
            yield codes.CONFIG_BROKEN.error(f"{name}: {found}")


def unset(seen: Observations) -> Iterator[Finding]:
    """Find references to nothing."""
    document, names = _document(seen), _facts(seen).names
    if names is None:
        return
    own = section(document, "environment_variables")
    for name in sorted(_asked(document) - names - {str(key) for key in own}):
        shown = name if is_variable_name(name) else "a name that is none"
        yield codes.UNSET.error(f"{REFERENCE}{shown} is not set for the gateway")


def _asked(document: Mapping[str, Any]) -> set[str]:
    """Return the variables that the config refers to."""
    found = (text for text in texts(document) if text.startswith(REFERENCE))
    return {text.removeprefix(REFERENCE) for text in found}


def two_keys(seen: Observations) -> Iterator[Finding]:
    """Find a literal key that is another than the environment's."""
    found = _facts(seen)
    raw = section(_document(seen), "general_settings").get("master_key")
    if not isinstance(raw, str) or not raw or raw.startswith(REFERENCE) or seen.lab is None:
        return
    name = INTERNAL_KEY if seen.lab.guarded else MASTER_KEY
    wanted = found.env.get(name) or (None if seen.lab.guarded else seen.key)
    literal = Secret(raw)
    if wanted is not None and literal != wanted:
        prints = f"{literal.fingerprint()}, the environment's {name} {wanted.fingerprint()}"
        yield codes.TWO_KEYS.error(f"{seen.show(found.config.path)} has the key {prints}")


def fallback(seen: Observations) -> Iterator[Finding]:
    """Find fallbacks to nowhere."""
    document = _document(seen)
    rows = document.get("model_list") or []
    known = {str(row.get("model_name")) for row in rows if isinstance(row, dict)}
    for where in ("router_settings", "litellm_settings"):
        for name, key in _named(section(document, where)):
            if name not in known:
                shown = printable(name)[:_LONGEST]
                yield codes.FALLBACK.error(f"{where}.{key} names {shown}, which is no model")


def _named(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in _CHAINS:
        chains = settings.get(key)
        for chain in chains if isinstance(chains, list) else ():
            for alias, others in chain.items() if isinstance(chain, dict) else ():
                names = [alias, *(others if isinstance(others, list) else ())]
                yield from ((n, key) for n in names if isinstance(n, str) and n != "*")
    last = settings.get("default_fallbacks")
    for name in last if isinstance(last, list) else ():
        if isinstance(name, str):
            yield name, "default_fallbacks"


def provider(seen: Observations) -> Iterator[Finding]:
    """Find models that LiteLLM will leave out."""
    providers = _facts(seen).providers
    known = providers or {kind.prefix for kind in BACKEND_KINDS.values()}
    verdict = codes.PROVIDER.error if providers else codes.PROVIDER.warning
    for row in _document(seen).get("model_list") or []:
        params = section(row, "litellm_params") if isinstance(row, dict) else {}
        model = params.get("model")
        if not isinstance(model, str) or params.get("custom_llm_provider"):
            continue
        alias = printable(str(row.get("model_name")))[:_LONGEST]
        prefix, slash, _ = model.partition("/")
        if not slash:
            yield codes.PROVIDER.warning(f"{alias}: its model has no provider before a slash")
        elif prefix not in known:
            yield verdict(f"{alias}: {printable(prefix)[:_LONGEST]}")


def salt(seen: Observations) -> Iterator[Finding]:
    """Find a database that the master key encrypts."""
    found, lab = _facts(seen), seen.lab
    if lab is None:
        return
    names = _variables(found)
    if names and SALT_KEY not in names and _has_database(lab, seen):
        yield codes.SALT.warning(f"there is a database, and {SALT_KEY} is not set for the gateway")


def salt_changed(seen: Observations) -> Iterator[Finding]:
    """Find a salt key that is not the one of the database."""
    found, lab = _facts(seen), seen.lab
    if lab is None or not found.salt or not _has_database(lab, seen):
        return
    given = [("the gateway has", key) for key in _salts(found)]
    stored = seen.secrets.salt if seen.secrets else ""
    for where, print_of in dict.fromkeys([*given, *([("stored is", stored)] if stored else [])]):
        if print_of != found.salt:
            words = f"{where} {SALT_KEY} {print_of}; the database was seen with {found.salt}"
            yield codes.SALT_CHANGED.error(words)


def _salts(found: LitellmFacts) -> Iterator[str]:
    held = found.process.keys if found.process else found.env
    if SALT_KEY in held:
        yield held[SALT_KEY].fingerprint()


def _has_database(lab: Lab, seen: Observations) -> bool:
    named = DATABASE_URL in lab.secrets or DATABASE_URL in _variables(_facts(seen))
    return named or bool(section(_document(seen), "general_settings").get("database_url"))


def _variables(found: LitellmFacts) -> set[str]:
    return {*(found.names or ()), *found.env}


def variables(seen: Observations) -> Iterator[Finding]:
    """Find variables with which LiteLLM does something else than its config says."""
    found, lab = _facts(seen), seen.lab
    meant = {*(lab.secrets if lab else ()), *service_environment(), *_asked(_document(seen))}
    has = found.process.names if found.process else None
    for names, who in ((has, "the gateway"), (found.strays, "the program on the gateway's port")):
        odd = sorted((names or frozenset()) & (REDIRECTING_VARIABLES - meant - _SAID))
        if odd:
            yield codes.VARIABLES.warning(f"{who} has {', '.join(odd)}")
    here = sorted(name for name in _BY_HAND if seen.variable(name))
    if here:
        mend = f"unset {' '.join(here)}"
        yield codes.VARIABLES.note(f"{', '.join(here)} is set in this shell", mend=mend)


def drop_params(seen: Observations) -> Iterator[Finding]:
    """Find a config with which Claude Code gets 400."""
    document, lab = _document(seen), seen.lab
    if lab is None or not document.get("model_list"):
        return
    listed = any("claude" in model.clients for model in lab.models)
    if listed and section(document, "litellm_settings").get("drop_params") is not True:
        path = seen.show(_facts(seen).config.path)
        yield codes.DROP_PARAMS.warning(f"{path} has no drop_params: true")


_NEEDS = ("lab", "litellm")
CONFIG_CHECKS = (
    Check(codes.UNSET, unset, _NEEDS),
    Check(codes.TWO_KEYS, two_keys, _NEEDS),
    Check(codes.FALLBACK, fallback, _NEEDS),
    Check(codes.PROVIDER, provider, _NEEDS),
    Check(codes.SALT, salt, _NEEDS),
    Check(codes.DROP_PARAMS, drop_params, _NEEDS),
    Check(codes.CONFIG_BROKEN, config_broken, _NEEDS),
    Check(codes.VARIABLES, variables, _NEEDS),
    Check(codes.SALT_CHANGED, salt_changed, _NEEDS),
)
