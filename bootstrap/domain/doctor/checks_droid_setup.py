"""KT113 to KT115, KT120, KT121, KT123, KT124, KT135, KT136: what surrounds droid's settings."""

from collections.abc import Iterator
from pathlib import PurePath

from bootstrap.domain.client import CLIENT_KEY
from bootstrap.domain.client_presets import host_of
from bootstrap.domain.clients.droid import SETUP
from bootstrap.domain.doctor import codes_droid_files as files
from bootstrap.domain.doctor import codes_droid_setup as setup
from bootstrap.domain.doctor.check import Check
from bootstrap.domain.doctor.checks_droid_entries import each
from bootstrap.domain.doctor.checks_droid_places import allows
from bootstrap.domain.doctor.checks_droid_syntax import facts
from bootstrap.domain.doctor.droid_models import (
    at_gateway,
    canonical,
    entries_in,
    problem_of,
)
from bootstrap.domain.doctor.facts import Installation
from bootstrap.domain.doctor.facts_droid import DroidFile, Level
from bootstrap.domain.doctor.finding import Change, FileFix, Fill, Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.json_members import remove_member, set_member
from bootstrap.domain.jsonc import MalformedJson, parse, plain
from bootstrap.domain.redirects import redirect
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.versions import as_numbers

_MANAGED = "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH"
_POLICY = ("modelPolicy", "allowedBaseUrls")
# HTTPS_PROXY and ALL_PROXY do nothing to requests to an http:// address (seen with 0.215.0).
_PROXIES = ("HTTP_PROXY", "http_proxy")
_MARKS = ("providerLock", "providerLockTimestamp", "archivedAt")


def several(code_files: tuple[Installation, ...], program: str) -> str:
    """Return what to say about several installations; empty where there is one."""
    real = {installed.real: installed for installed in code_files}
    if len(real) < 2:
        return ""
    return "; ".join(f"{i.path} ({i.version or f'{program}, version unknown'})" for i in code_files)


def two_droids(seen: Observations) -> Iterator[Finding]:
    """Find several installations."""
    installed = facts(seen).installations
    words = several(installed, "droid")
    if words:
        same = len({item.version for item in installed}) == 1
        yield (files.TWO_DROIDS.note if same else files.TWO_DROIDS.warning)(words)


def untested(installed: tuple[Installation, ...], tested: tuple[str, ...]) -> str:
    """Return the version of the first installation where it is outside those tested, or nothing."""
    version = installed[0].version if installed else ""
    numbers = as_numbers(version)
    if not version or (numbers and as_numbers(tested[0]) <= numbers <= as_numbers(tested[-1])):
        return ""
    return version


def version(seen: Observations) -> Iterator[Finding]:
    """Find versions that were not tested."""
    tested = SETUP.tested
    found = untested(facts(seen).installations, tested)
    if found:
        yield files.VERSION.note(f"droid {found}; tested are {tested[0]} to {tested[-1]}")


def old_session(seen: Observations) -> Iterator[Finding]:
    """Find running droids with an old key."""
    for program in facts(seen).running:
        for variable, key in program.keys.items():
            if variable in (MASTER_KEY, CLIENT_KEY) and not seen.is_in_force(key):
                words = f"process {program.pid} ({program.name}) has {variable}"
                yield files.OLD_SESSION.warning(
                    f"{words} {key.fingerprint()}, which is not in force"
                )


def project(seen: Observations) -> Iterator[Finding]:
    """Find project settings that would send the key elsewhere."""
    managed = [found for found in facts(seen).files if found.level is Level.MANAGED]
    for found in facts(seen).files:
        if found.level is not Level.PROJECT or found.file.data is None or problem_of(found):
            continue
        where = redirect(
            found.file.data,
            variables=(MASTER_KEY, CLIENT_KEY),
            gateway=seen.gateway_url,
            aliases=seen.aliases,
            redirects=(),
        )
        if where is None:
            continue
        path = found.file.path
        words = f"{seen.show(path)}: {where}"
        if _all_blocked(found, managed, seen):
            yield setup.PROJECT.note(f"{words}; your org-managed policy blocks it")
        else:
            yield setup.PROJECT.error(words, mend=_mend(path, seen), fix=_policy(managed, seen))


def _all_blocked(found: DroidFile, managed: list[DroidFile], seen: Observations) -> bool:
    elsewhere = [e.text("baseUrl") for e in entries_in(found) if not at_gateway(e.fields, seen)]
    blocked = [any(not allows(file, url) for file in managed) for url in elsewhere]
    return bool(blocked) and all(blocked)


def _mend(path: PurePath, seen: Observations) -> str:
    read = f"read {seen.show(path)}, then remove it, or leave the folder"
    if seen.variable(_MANAGED):
        return read
    policy = _policy_file(seen)
    return f"{read}; or: keyturn doctor --fix KT120, then export {_MANAGED}={policy}"


def _policy_file(seen: Observations) -> PurePath:
    given = seen.variable(_MANAGED)
    return PurePath(given) if given else seen.places.config / "keyturn" / "droid-policy.json"


def _policy(managed: list[DroidFile], seen: Observations) -> "FileFix | tuple[()]":
    """Return the fix that allows the gateway, and what the user's own settings use, and no more.

    None for a file of the machine's administrator, nor for one that `keyturn apply` writes: its
    template is the place for a policy.
    """
    path = _policy_file(seen)
    others = [found.file.path for found in managed if found.file.state is not None]
    rendered = seen.places.config / "keyturn" / "droid-managed.json"
    if path == rendered or any(other != path for other in others):
        return ()
    own = [e for e in each(seen) if e.file.level in (Level.USER, Level.LOCAL, Level.LEGACY)]
    urls = [seen.gateway_url, *(entry.text("baseUrl") for entry in own)]
    allowed = list(dict.fromkeys(url for url in urls if url))

    def change(data: bytes | None, _: Fill) -> bytes | None:
        return set_member(data, _POLICY, allowed)

    return FileFix(path, "only these addresses may be used", change, on_request=True)


def proxy(seen: Observations) -> Iterator[Finding]:
    """Find proxies that requests to this machine would take."""
    used = [variable for variable in _PROXIES if seen.variable(variable)]
    if not used:
        return
    given = (seen.variable("NO_PROXY"), seen.variable("no_proxy"))
    excepted = {item.strip() for value in given for item in value.split(",")}
    urls = [e.text("baseUrl") for e in each(seen) if at_gateway(e.fields, seen)]
    hosts = {host_of(url) for url in (urls or [seen.gateway_url])}
    missing = sorted(hosts - excepted)
    if missing and "*" not in excepted:
        words = f"{', '.join(used)} is set, and NO_PROXY lacks {', '.join(missing)}"
        yield setup.PROXY.error(words, mend=f"export NO_PROXY={','.join(missing)}")


def session(seen: Observations) -> Iterator[Finding]:
    """Find sessions with marks that could keep them from being resumed."""
    providers = {entry.id: canonical(entry.text("provider")) for entry in each(seen)}
    fixes = []
    for item in facts(seen).sessions:
        data = item.file.data
        try:
            root = plain(parse(data).root) if data is not None else {}
        except MalformedJson:
            continue
        marks = root if isinstance(root, dict) else {}
        lock, model = marks.get("providerLock"), str(marks.get("model"))
        # Where the model is gone, no mark is to blame.
        stale = isinstance(lock, str) and providers.get(model, canonical(lock)) != canonical(lock)
        if marks.get("archivedAt") or stale:
            fixes.append(FileFix(item.file.path, "its marks go", _without_marks(), on_request=True))
    if fixes:
        words = f"{len(fixes)} session{'s' if len(fixes) > 1 else ''}, such as "
        yield setup.SESSION.note(f"{words}{seen.show(fixes[0].path)}", fix=fixes)


def _without_marks() -> Change:
    def change(data: bytes | None, _: Fill) -> bytes | None:
        for mark in _MARKS if data is not None else ():
            data = remove_member(data or b"", (mark,))
        return data

    return change


def desktop(seen: Observations) -> Iterator[Finding]:
    """Say so where the desktop app is there."""
    for launcher in facts(seen).desktop:
        yield setup.DESKTOP.note(launcher)


def other_folder(seen: Observations) -> Iterator[Finding]:
    """Find variables that lead droid to another folder."""
    name = seen.variable("FACTORY_ENV")
    if name and name != "production":
        yield setup.OTHER_FOLDER.warning("FACTORY_ENV is set: droid reads another folder")


def own_doctor(seen: Observations) -> Iterator[Finding]:
    """Pass on what droid's own doctor flags: names and places, not its words."""
    flagged = facts(seen).doctor
    if flagged is None:
        yield setup.OWN_DOCTOR.not_applicable("droid was not asked: keyturn doctor --deep")
    for where, what in flagged or ():
        yield setup.OWN_DOCTOR.error(f"{where}: {what}")


_DROID = ("droid",)
SETUP_CHECKS = (
    Check(files.TWO_DROIDS, two_droids, _DROID),
    Check(files.VERSION, version, _DROID),
    Check(files.OLD_SESSION, old_session, ("key", "droid")),
    Check(setup.PROJECT, project, ("lab", "droid")),
    Check(setup.PROXY, proxy, _DROID),
    Check(setup.SESSION, session, _DROID),
    Check(setup.DESKTOP, desktop, _DROID),
    Check(setup.OTHER_FOLDER, other_folder, _DROID),
    Check(setup.OWN_DOCTOR, own_doctor, _DROID),
)
