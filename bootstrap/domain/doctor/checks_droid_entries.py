"""KT103 to KT107 and others: is each model's entry one that droid can use for the gateway?"""

import difflib
from collections.abc import Callable, Iterator, Mapping

from bootstrap.domain.doctor import codes_droid_files as files
from bootstrap.domain.doctor import codes_droid_setup as setup
from bootstrap.domain.doctor.check import Check
from bootstrap.domain.doctor.checks_droid_syntax import facts
from bootstrap.domain.doctor.droid_edits import Decide, update
from bootstrap.domain.doctor.droid_models import (
    Entry,
    all_entries,
    canonical,
    is_ours,
    url_is_right,
    wanted_url,
)
from bootstrap.domain.doctor.facts_droid import Level
from bootstrap.domain.doctor.finding import Code, FileFix, Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.droid_schema import GENERIC, ID_PREFIX, same_gateway
from bootstrap.domain.endpoints import LOOPBACK, endpoint, safe_url, shown

KNOWN = ("anthropic", "openai", GENERIC, "bedrock-converse")
_TOKENS = 16384
_NEEDED = ("model", "provider", "baseUrl")


def each(seen: Observations) -> Iterator[Entry]:
    """Yield the models of the files that droid reads."""
    return all_entries(facts(seen))


def name(entry: Entry, seen: Observations) -> str:
    """Return the file and the entry, for people."""
    return f"{seen.show(entry.file.file.path)}: {entry.name}"


def mended(entry: Entry, summary: str, decide: Decide) -> "FileFix | tuple[()]":
    """Return a fix of the entry's file, where that is one of the user's own in the new format."""
    if entry.file.level in (Level.USER, Level.LOCAL):
        return FileFix(entry.file.file.path, summary, update(decide))
    return ()


def by_keyturn(
    code: Code, entry: Entry, seen: Observations, fix: "FileFix | tuple[()]" = ()
) -> str:
    """Return what to type so that keyturn writes the entry anew; empty where `apply` just does so.

    A plain `apply` leaves an entry alone that keyturn made and somebody edited, and one of somebody
    else's for a model that the lab does not have.
    """
    if not entry.id.startswith(ID_PREFIX):
        others = fix and entry.model not in seen.aliases
        return f"keyturn doctor --fix {code.id}" if others else ""
    force = "keyturn apply --force"
    return f"keyturn doctor --fix {code.id}, or {force}" if fix else f"{force}, or mend it there"


def judge(code: Code, entry: Entry, seen: Observations) -> Callable[..., Finding]:
    """Return how bad a finding about the entry is: our models concern us, others are warned of."""
    return code.error if is_ours(entry.fields, seen) else code.warning


def required(seen: Observations) -> Iterator[Finding]:
    """Find entries without a required field."""
    for entry in each(seen):
        bedrock = "bedrock" in entry.fields
        missing = [n for n in _NEEDED if not entry.text(n) and not (bedrock and n == "baseUrl")]
        if missing:
            words = f"{name(entry, seen)} has no {', '.join(missing)}, so droid skips it"
            mend = by_keyturn(files.REQUIRED, entry, seen)
            yield judge(files.REQUIRED, entry, seen)(words, mend=mend)
        elif _has_no_key(entry) and is_ours(entry.fields, seen):
            words = f"{name(entry, seen)} has no apiKey, so the gateway refuses it"
            yield files.REQUIRED.error(words, mend=by_keyturn(files.REQUIRED, entry, seen))


def _has_no_key(entry: Entry) -> bool:
    headers = entry.fields.get("extraHeaders")
    named = {str(key).lower() for key in headers} if isinstance(headers, dict) else set()
    other = "apiKeyHelper" in entry.fields or named & {"authorization", "x-api-key"}
    return not entry.text("apiKey") and not other


def output_tokens(seen: Observations) -> Iterator[Finding]:
    """Find our models without a limit for the answer."""
    limits = {m.alias: m.output_tokens for m in seen.lab.models} if seen.lab else {}

    def decide(fields: Mapping[str, object], _: int) -> Mapping[str, object] | None:
        if not is_ours(fields, seen) or _is_count(fields.get("maxOutputTokens")):
            return None
        return {"maxOutputTokens": limits.get(str(fields.get("model")), _TOKENS)}

    for entry in each(seen):
        if decide(entry.fields, 0) and entry.model:
            given = "no number" if "maxOutputTokens" in entry.fields else "missing"
            fix = mended(entry, "maxOutputTokens as in lab.toml", decide)
            yield files.OUTPUT_TOKENS.warning(
                f"{name(entry, seen)}: maxOutputTokens is {given}",
                mend=f'write "maxOutputTokens": {limits.get(entry.model, _TOKENS)}',
                fix=fix,
            )


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 1


def provider(seen: Observations) -> Iterator[Finding]:
    """Find providers that droid does not know, or spelled in another way."""

    def decide(fields: Mapping[str, object], _: int) -> Mapping[str, object] | None:
        given = fields.get("provider")
        if not isinstance(given, str) or given in KNOWN:
            return None
        meant = _meant(given, ours=is_ours(fields, seen))
        return {"provider": meant} if meant else None

    for entry in each(seen):
        given = entry.text("provider")
        if not given or given in KNOWN:
            continue
        known = given.lower().replace("_", "-") in KNOWN
        if known and entry.file.level is not Level.MANAGED:
            verdict, what = files.PROVIDER.warning, "another spelling than droid doctor accepts"
        else:
            verdict, what = files.PROVIDER.error, "droid knows no such provider"
        meant = _meant(given, ours=is_ours(entry.fields, seen))
        words = f'{name(entry, seen)}: provider "{shown(given)[:40]}": {what}'
        mend = f'write "provider": "{meant}"' if meant else f"use one of {', '.join(KNOWN)}"
        fix = mended(entry, "the provider as droid spells it", decide) if meant else ()
        yield verdict(words, mend=mend, fix=fix)


def _meant(given: str, *, ours: bool) -> str | None:
    """Return the provider that was meant; for the gateway LiteLLM's, whatever was written."""
    plain = canonical(given)
    close = difflib.get_close_matches(plain, KNOWN, n=1, cutoff=0.8)
    return close[0] if close else (GENERIC if ours else None)


def base_url(seen: Observations) -> Iterator[Finding]:
    """Find base URLs that do not lead to the gateway's paths."""
    url = seen.gateway_url

    def decide(fields: Mapping[str, object], _: int) -> Mapping[str, object] | None:
        place = endpoint(fields.get("baseUrl"))
        elsewhere = place is not None and place[0] != LOOPBACK and place != endpoint(url)
        if not is_ours(fields, seen) or url_is_right(fields, url) or elsewhere:
            return None
        return {"baseUrl": wanted_url(str(fields.get("provider")), url)}

    for entry in each(seen):
        given = entry.text("baseUrl")
        if not given or not is_ours(entry.fields, seen) or url_is_right(entry.fields, url):
            continue
        wanted = wanted_url(entry.text("provider"), url)
        words = f"{name(entry, seen)}: {safe_url(given)}, where {wanted} is needed"
        served = wanted != url and same_gateway(given, url)
        verdict = files.BASE_URL.warning if served else files.BASE_URL.error
        yield verdict(
            f"{words}; LiteLLM answers there, too" if served else words,
            mend=f'write "baseUrl": "{wanted}"',
            fix=mended(entry, f"baseUrl {wanted}", decide) if decide(entry.fields, 0) else (),
        )


def bad_id(seen: Observations) -> Iterator[Finding]:
    """Find ids that make a model unusable."""
    for entry in each(seen):
        given = entry.fields.get("id")
        if isinstance(given, str) and not given.startswith("custom:"):
            yield judge(setup.BAD_ID, entry, seen)(f"{name(entry, seen)}: its id lacks custom:")


def bad_field(seen: Observations) -> Iterator[Finding]:
    """Find values that droid cannot use."""
    for entry in each(seen):
        for problem in _problems(entry):
            yield setup.BAD_FIELD.warning(f"{name(entry, seen)}: {problem}")


def _problems(entry: Entry) -> Iterator[str]:
    fields = entry.fields
    kinds = {
        "displayName": (str, "is no text"),
        "apiKey": (str, "is no text"),
        "noImageSupport": (bool, "is not true or false"),
        "enableThinking": (bool, "is not true or false"),
        "extraHeaders": (dict, "is no object"),
        "extraArgs": (dict, "is no object"),
        "maxContextLimit": (int, "is no number"),
        "thinkingMaxTokens": (int, "is no number"),
    }
    for field, (kind, words) in kinds.items():
        if field in fields and not isinstance(fields[field], kind):
            yield f"{field} {words}"
    headers, arguments = fields.get("extraHeaders"), fields.get("extraArgs")
    if isinstance(headers, dict) and not all(isinstance(v, str) for v in headers.values()):
        yield "a value of extraHeaders is no text"
    if isinstance(arguments, dict) and arguments.get("stream") is False:
        yield "extraArgs.stream is false, which breaks droid"
    if fields.get("authMode") == "bearer" and canonical(entry.text("provider")) != "anthropic":
        yield "authMode bearer goes with provider anthropic only"


_DROID = ("droid",)
ENTRY_CHECKS = (
    Check(files.REQUIRED, required, _DROID),
    Check(files.OUTPUT_TOKENS, output_tokens, _DROID),
    Check(files.PROVIDER, provider, _DROID),
    Check(files.BASE_URL, base_url, ("lab", "droid")),
)
FIELD_CHECKS = (Check(setup.BAD_FIELD, bad_field, _DROID), Check(setup.BAD_ID, bad_id, _DROID))
