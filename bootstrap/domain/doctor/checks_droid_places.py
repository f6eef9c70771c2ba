"""KT109 to KT112, KT119, KT126, KT133, KT134, KT137: which file does droid take its models from?"""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from bootstrap.domain.client_ways import way_of
from bootstrap.domain.clients.droid import SETUP
from bootstrap.domain.doctor import codes_droid_files as files
from bootstrap.domain.doctor import codes_droid_setup as setup
from bootstrap.domain.doctor.check import Check
from bootstrap.domain.doctor.checks_droid_entries import each, judge, name
from bootstrap.domain.doctor.checks_droid_syntax import facts, read_files
from bootstrap.domain.doctor.droid_edits import retire, stale_copies, without_copies
from bootstrap.domain.doctor.droid_models import (
    Entry,
    all_entries,
    at_gateway,
    entries_in,
    is_ours,
    problem_of,
    root_of,
    wanted_url,
)
from bootstrap.domain.doctor.facts_droid import DroidFile, Level
from bootstrap.domain.doctor.finding import FileFix, Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.droid_entries import default_model
from bootstrap.domain.droid_schema import ARRAY_KEY, ID_PREFIX, entry_id, entry_name
from bootstrap.domain.endpoints import is_below, safe_url, shown
from bootstrap.domain.targets import targets

_OURS = b"Written by keyturn"
_MOST_NAMES = 6


def legacy(seen: Observations) -> Iterator[Finding]:
    """Find models of the gateway's in the legacy file."""
    for found in facts(seen).files:
        if found.level is not Level.LEGACY or found.file.state is None:
            continue
        path = found.file.path
        ours = [entry for entry in entries_in(found) if is_ours(entry.fields, seen)]
        if not ours:
            continue
        there = {e.model for e in all_entries(facts(seen), Level.USER) if is_ours(e.fields, seen)}
        missing = [e.model for e in ours if e.model not in there and e.model in seen.aliases]
        names = ", ".join(entry.name for entry in ours)
        # Only what droid has elsewhere goes: `keyturn apply` can move the rest, doctor cannot.
        change = retire([a for a in seen.aliases if a not in missing], seen.gateway_url)
        fix = FileFix(path, "our models leave the legacy file", change)
        movable = any(entry.model in there and entry.model in seen.aliases for entry in ours)
        words = f"{seen.show(path)} has {names}"
        yield files.LEGACY.warning(words, fix=fix if movable else ())


def overlay(seen: Observations) -> Iterator[Finding]:
    """Find files that people believe droid reads."""
    for found in facts(seen).files:
        data = found.file.data
        if found.level is not Level.UNREAD or data is None or _OURS in data.split(b"\n", 1)[0]:
            continue
        keys = [entry.key for entry in entries_in(found) if entry.key is not None]
        what = f", with the key {keys[0].fingerprint()}" if keys else ""
        path = found.file.path
        yield files.OVERLAY.warning(f"{seen.show(path)}{what}", mend=f"rm {shlex.quote(str(path))}")


def clash(seen: Observations) -> Iterator[Finding]:
    """Find models of one file that have the same id."""
    for found in read_files(seen):
        first: dict[str, Entry] = {}
        for entry in entries_in(found):
            other = first.setdefault(entry.id, entry) if entry.id else entry
            if other is not entry:
                words = f"{name(entry, seen)}: {shown(entry.id)} is also the id of {other.name}"
                yield judge(files.CLASH, other, seen)(words)


def overridden(seen: Observations) -> Iterator[Finding]:
    """Find entries of higher levels that hide ours."""
    ours = {e.id: e for e in all_entries(facts(seen), Level.USER) if is_ours(e.fields, seen)}
    if not ours:
        return
    for found in read_files(seen):
        path = seen.show(found.file.path)
        if found.level is Level.LOCAL and isinstance(root_of(found).get(ARRAY_KEY), list):
            words = f"{path} has customModels, which replaces the whole list of settings.json"
            there = {e.model for e in entries_in(found) if at_gateway(e.fields, seen)}
            lost = {entry.model for entry in ours.values()} - there
            verdict = files.OVERRIDDEN.error if lost else files.OVERRIDDEN.note
            yield verdict(words, mend=f"take customModels out of {path}")
        elif found.level in (Level.MANAGED, Level.RUNTIME, Level.PROJECT):
            for entry in entries_in(found):
                other = ours.get(entry.id)
                if other is None:
                    continue
                same = at_gateway(entry.fields, seen)
                verdict = files.OVERRIDDEN.note if same else files.OVERRIDDEN.warning
                where = "the gateway, too" if same else safe_url(entry.text("baseUrl"))
                yield verdict(
                    f"{path} ({found.level.value}) hides {other.name}; it leads to {where}"
                )


def copies(seen: Observations) -> Iterator[Finding]:
    """Find stale copies of our models."""
    models = {entry_id(m.lasting_id): m.alias for m in seen.lab.models} if seen.lab else {}
    for found in facts(seen).files:
        if found.level not in (Level.USER, Level.LOCAL):
            continue
        listed = root_of(found).get(ARRAY_KEY)
        entries: Sequence[object] = listed if isinstance(listed, list) else ()
        doomed = stale_copies(entries, models, seen.gateway_url, seen.key)
        if doomed:
            names = ", ".join(_name(entries[index]) for index in doomed)
            change = without_copies(models, seen.gateway_url, seen.key)
            fix = FileFix(found.file.path, "stale copies go", change)
            yield files.COPIES.warning(f"{seen.show(found.file.path)}: {names}", fix=fix)


def _name(entry: object) -> str:
    return shown(entry_name(entry)) if isinstance(entry, Mapping) else "unnamed"


def default_gone(seen: Observations) -> Iterator[Finding]:
    """Find default models that no file has."""
    if any(problem_of(found) for found in read_files(seen)):
        return  # what a broken file would list nobody knows
    ids = {entry.id for entry in each(seen)}
    ids |= {f"custom:{entry.model}" for entry in each(seen)}
    for found in read_files(seen):
        chosen = default_model(root_of(found))
        if chosen is not None and chosen.startswith("custom:") and chosen not in ids:
            words = f"{seen.show(found.file.path)}: {shown(chosen)[:80]} is the default model"
            yield setup.DEFAULT_GONE.error(words, mend=_chosen_again(chosen))


def _chosen_again(chosen: str) -> str:
    """Return how to get a default model back; one that keyturn made may have been renamed."""
    if not chosen.startswith(ID_PREFIX):
        return setup.DEFAULT_GONE.mend
    name = shown(chosen.removeprefix(ID_PREFIX))[:80]
    renamed = f'or, if lab.toml has it under another alias, write id = "{name}" there and apply'
    return f"{setup.DEFAULT_GONE.mend}; {renamed}"


def no_model(seen: Observations) -> Iterator[Finding]:
    """Say so where droid does not know the gateway."""
    if any(at_gateway(entry.fields, seen) for entry in each(seen)):
        return
    if seen.lab is not None and not seen.lab.switches.droid_settings:
        words = "droid_settings is off in lab.toml, and no file of droid's leads to the gateway"
        yield setup.NO_MODEL.note(words, mend="keyturn exec --client droid -- droid")
    else:
        ignored = [n for n in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL") if seen.variable(n)]
        more = f"; {', '.join(ignored)} is set and does nothing for droid" if ignored else ""
        words = f"no file of droid's leads to {seen.gateway_url}{more}"
        yield setup.NO_MODEL.warning(words, mend=_unnamed_file(seen))


def _unnamed_file(seen: Observations) -> str:
    """Return what has droid read keyturn's file for it, where that must be named to droid."""
    way = way_of("droid", SETUP, seen.lab) if seen.lab else None
    if seen.lab is None or way is None:
        return ""
    paths = {t.name: str(t.path) for t in targets(seen.lab, seen.places, "supervisor")}
    path = paths.get(way.target or "", "")
    missing = [name for name in way.environment if path and seen.variable(name) != path]
    return "; ".join(f"export {name}={shlex.quote(path)}" for name in missing)


def unknown_model(seen: Observations) -> Iterator[Finding]:
    """Find models at the gateway's address that it does not have."""
    known = {*seen.aliases, *(seen.served or ())}
    for entry in each(seen):
        if entry.model and entry.model not in known and at_gateway(entry.fields, seen):
            verdict = setup.UNKNOWN_MODEL
            say = verdict.warning if seen.served is None else verdict.error
            words = f"{name(entry, seen)} asks for {shown(entry.model)[:80]}"
            yield say(f"{words}; there are {', '.join(sorted(known)[:_MOST_NAMES])}")


def policy(seen: Observations) -> Iterator[Finding]:
    """Find policies that block the gateway."""
    wanted = wanted_url("openai", seen.gateway_url)
    for found in read_files(seen):
        rules = root_of(found).get("modelPolicy")
        if not isinstance(rules, dict):
            continue
        binding = found.level is Level.MANAGED
        verdict = setup.POLICY.error if binding else setup.POLICY.warning
        where = seen.show(found.file.path)
        if rules.get("allowCustomModels") is False:
            yield verdict(f"{where}: modelPolicy.allowCustomModels is false")
        elif not allows(found, wanted):
            yield verdict(f"{where}: modelPolicy.allowedBaseUrls does not allow {wanted}")


def allows(found: DroidFile, url: str) -> bool:
    """Tell whether the policy of a file lets requests go to `url`; true where it has none."""
    rules = root_of(found).get("modelPolicy")
    allowed = rules.get("allowedBaseUrls") if isinstance(rules, dict) else None
    if not isinstance(allowed, list):
        return True
    return any(isinstance(prefix, str) and is_below(url, prefix) for prefix in allowed)


_DROID = ("droid",)
PLACE_CHECKS = (
    Check(files.LEGACY, legacy, ("lab", "droid")),
    Check(files.OVERLAY, overlay, _DROID),
    Check(files.CLASH, clash, _DROID),
    Check(files.OVERRIDDEN, overridden, _DROID),
    Check(files.COPIES, copies, ("lab", "key", "droid")),
    Check(setup.DEFAULT_GONE, default_gone, _DROID),
    Check(setup.NO_MODEL, no_model, ("lab", "droid")),
    Check(setup.UNKNOWN_MODEL, unknown_model, ("lab", "droid")),
    Check(setup.POLICY, policy, ("lab", "droid")),
)
