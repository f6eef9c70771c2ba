"""KT107, KT108, KT116 to KT118, KT122, KT125, KT127: does the right key reach the gateway?"""

from collections.abc import Iterator, Mapping

from bootstrap.domain.doctor import codes_droid_files as files
from bootstrap.domain.doctor import codes_droid_setup as setup
from bootstrap.domain.doctor.check import Check
from bootstrap.domain.doctor.checks_droid_entries import by_keyturn, each, judge, mended, name
from bootstrap.domain.doctor.checks_droid_syntax import facts
from bootstrap.domain.doctor.droid_edits import Decide, retire
from bootstrap.domain.doctor.droid_models import (
    Entry,
    all_entries,
    at_gateway,
    is_ours,
    key_of,
    notation,
    references,
    root_of,
)
from bootstrap.domain.doctor.facts_droid import Level
from bootstrap.domain.doctor.finding import FileFix, Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.droid_schema import ID_PREFIX, PLACEHOLDERS
from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY

_KEY_SUMMARY = "the key in force, as keyturn apply writes it"
# Fields in which droid expands nothing.
_PLAIN = ("baseUrl", "model", "displayName")
_WITHOUT_COPY = "for no key in the file start it by: keyturn exec --client droid -- droid"


def key_differs(seen: Observations) -> Iterator[Finding]:
    """Find keys for the gateway that are not in force."""
    for entry in each(seen):
        key = entry.key
        stale = key is not None and not seen.is_in_force(key)
        if key is not None and stale and is_ours(entry.fields, seen):
            current = seen.key.fingerprint() if seen.key else "?"
            fix = _with_key(entry, seen)
            # Where the gateway has not got the key either, `apply` hands it to both.
            mend = "" if _is_refused(seen) else by_keyturn(files.KEY_DIFFERS, entry, seen, fix)
            yield files.KEY_DIFFERS.error(
                f"{name(entry, seen)} holds {key.fingerprint()}, in force is {current}",
                mend=mend if entry.file.level is not Level.PROJECT else "mend that file",
                fix=fix,
            )
        yield from _stale_variable(entry, seen)


def _is_refused(seen: Observations) -> bool:
    answer = seen.answers.right if seen.answers else None
    return answer is not None and verdict(answer, with_key=True) is Verdict.REFUSED


def _stale_variable(entry: Entry, seen: Observations) -> Iterator[Finding]:
    """Find a reference to a variable that holds another key than the one in force."""
    variable = "".join(references(entry.text("apiKey")))
    value = seen.variable(variable)
    whole = entry.text("apiKey") == f"${{{variable}}}"
    if not whole or not value or entry.file.legacy or not is_ours(entry.fields, seen):
        return
    key = Secret(value)
    if not seen.is_in_force(key):
        words = f"{name(entry, seen)} refers to {variable}, which holds {key.fingerprint()} here"
        yield files.KEY_DIFFERS.error(words, mend="keyturn exec -- droid, or start a new shell")


def _with_key(entry: Entry, seen: Observations) -> "FileFix | tuple[()]":
    """Return the fix that gives every entry of ours in the file the key in force.

    None where droid has a key of its own for the model: only `apply` knows that.
    """
    if seen.key is None or _has_own_key(entry.fields, seen):
        return ()
    return mended(entry, _KEY_SUMMARY, _current_key(seen))


def _has_own_key(fields: Mapping[str, object], seen: Observations) -> bool:
    own = seen.lab is not None and seen.lab.key_name("droid") != MASTER_KEY
    return own and fields.get("model") in seen.aliases


def _current_key(seen: Observations) -> Decide:
    def decide(fields: Mapping[str, object], _: int) -> Mapping[str, object] | None:
        text = fields.get("apiKey")
        if not isinstance(text, str) or not text or not is_ours(fields, seen):
            return None
        if _has_own_key(fields, seen):
            return None
        key = key_of(fields)
        fine = bool(references(text)) or (key is not None and seen.is_in_force(key))
        return None if fine else {"apiKey": seen.key}

    return decide


def literal(seen: Observations) -> Iterator[Finding]:
    """Note keys that stand in the user's settings as plain text."""
    for entry in all_entries(facts(seen), Level.USER, Level.LOCAL):
        if entry.key is not None and at_gateway(entry.fields, seen):
            words = f"{seen.show(entry.file.file.path)} holds {entry.key.fingerprint()} literally"
            yield files.LITERAL.note(words)
            return


def wrong_notation(seen: Observations) -> Iterator[Finding]:
    """Find notations for a variable that droid does not know."""
    for entry in each(seen):
        variable = notation(entry.text("apiKey"))
        if not variable or references(entry.text("apiKey")):
            continue
        fix: FileFix | tuple[()] = _with_key(entry, seen)
        if not is_ours(entry.fields, seen):
            fix = mended(entry, "the notation that droid knows", _as_reference)
        elif entry.file.level is Level.LEGACY and entry.model in seen.aliases:
            change = retire(seen.aliases, seen.gateway_url)
            fix = FileFix(entry.file.file.path, "our models leave the legacy file", change)
        words = f"{name(entry, seen)}: apiKey names {variable} in a way that droid does not know"
        mend = by_keyturn(files.NOTATION, entry, seen, fix)
        yield judge(files.NOTATION, entry, seen)(words, mend=mend, fix=fix)


def _as_reference(fields: Mapping[str, object], _: int) -> Mapping[str, object] | None:
    text = fields.get("apiKey")
    variable = notation(text) if isinstance(text, str) else ""
    return {"apiKey": f"${{{variable}}}"} if variable and not references(str(text)) else None


def unset(seen: Observations) -> Iterator[Finding]:
    """Find references that droid cannot resolve."""
    for entry in each(seen):
        for variable in references(entry.text("apiKey")):
            if entry.file.legacy:
                words = f"${{{variable}}} stands in the legacy format, where it is sent literally"
            elif variable not in seen.environment:
                words = f"{variable} is not set here"
            elif not seen.variable(variable):
                words = f"{variable} is set and empty, so no key is sent"
            else:
                continue
            yield judge(files.UNSET, entry, seen)(f"{name(entry, seen)}: {words}")
        for field in _PLAIN:
            if references(entry.text(field)):
                words = f"{name(entry, seen)}: {field} has a reference, which is sent literally"
                yield judge(files.UNSET, entry, seen)(words)


def expanded(seen: Observations) -> Iterator[Finding]:
    """Find references that droid replaced, or will."""
    named = {
        entry.model: entry
        for entry in each(seen)
        if references(entry.text("apiKey")) and entry.file.level is not Level.USER
    }
    for entry in all_entries(facts(seen), Level.USER):
        claimed = _is_claimed(entry, seen)
        mend = "" if claimed else _WITHOUT_COPY
        if references(entry.text("apiKey")):
            quiet = {"trustedFolders", "logoAnimation"} <= root_of(entry.file).keys()
            verdict = files.EXPANDED.note if quiet else files.EXPANDED.warning
            words = f"{name(entry, seen)}: the next rewrite puts the key itself there"
            yield verdict(words, mend=mend)
        elif entry.key is not None and is_ours(entry.fields, seen) and not _is_made(entry):
            twin = named.get(entry.model)
            if twin is not None:
                where = f"{seen.show(twin.file.file.path)} still has the reference"
            elif "index" in entry.fields and seen.variable(MASTER_KEY) == entry.text("apiKey"):
                where = f"droid wrote this entry, with the value of {MASTER_KEY}"
            else:
                continue
            words = f"{name(entry, seen)}: a literal key; {where}"
            if claimed and seen.is_in_force(entry.key):
                words += "; keyturn keeps it current"
                yield files.EXPANDED.note(words, mend=_WITHOUT_COPY)
            else:
                yield files.EXPANDED.warning(words, mend=mend)


def _is_made(entry: Entry) -> bool:
    """Tell whether keyturn made the entry, so that droid put no key into it."""
    return entry.id.startswith(ID_PREFIX)


def _is_claimed(entry: Entry, seen: Observations) -> bool:
    """Tell whether `keyturn apply` and `rotate` write the key of this entry of the user's."""
    written = seen.lab is not None and seen.lab.switches.droid_settings
    adopted = entry.model in seen.aliases and at_gateway(entry.fields, seen)
    return written and (adopted or _is_made(entry))


def whitespace(seen: Observations) -> Iterator[Finding]:
    """Find keys with white space in them."""
    for entry in each(seen):
        text = entry.text("apiKey")
        if any(char.isspace() or not char.isprintable() for char in text):
            kind = "a line end" if "\n" in text or "\r" in text else "white space"
            fix = _with_key(entry, seen) if is_ours(entry.fields, seen) else ()
            verdict = judge(setup.WHITESPACE, entry, seen)
            mend = by_keyturn(setup.WHITESPACE, entry, seen, fix)
            yield verdict(f"{name(entry, seen)}: {kind} in its key", mend=mend, fix=fix)


def placeholder(seen: Observations) -> Iterator[Finding]:
    """Find entries whose key was never filled in."""
    for entry in each(seen):
        if entry.text("apiKey") in PLACEHOLDERS:
            words = f"{name(entry, seen)}: its key is a placeholder, so droid skips it"
            fix = _with_key(entry, seen) if is_ours(entry.fields, seen) else ()
            mend = by_keyturn(setup.PLACEHOLDER, entry, seen, fix)
            yield judge(setup.PLACEHOLDER, entry, seen)(words, mend=mend, fix=fix)


def helper(seen: Observations) -> Iterator[Finding]:
    """Find key helpers that droid drops."""
    for entry in each(seen):
        if "apiKeyHelper" in entry.fields and entry.file.level is not Level.MANAGED:
            words = f"{name(entry, seen)}: apiKeyHelper works in org-managed settings only"
            verdict = setup.HELPER.warning if entry.text("apiKey") else setup.HELPER.error
            yield verdict(words)


_DROID = ("droid",)
KEY_CHECKS = (Check(files.KEY_DIFFERS, key_differs, ("key", "droid")),)
NOTATION_CHECKS = (
    Check(files.NOTATION, wrong_notation, _DROID),
    Check(files.UNSET, unset, _DROID),
    Check(files.EXPANDED, expanded, _DROID),
)
LITERAL_CHECKS = (Check(files.LITERAL, literal, _DROID),)
ODD_KEY_CHECKS = (
    Check(setup.WHITESPACE, whitespace, _DROID),
    Check(setup.PLACEHOLDER, placeholder, _DROID),
    Check(setup.HELPER, helper, _DROID),
)
