"""KT101, KT102, KT128, KT129, KT131: does droid read its files at all?"""

import shlex
from collections.abc import Iterator

from bootstrap.domain.doctor import codes_droid_files as files
from bootstrap.domain.doctor import codes_droid_setup as setup
from bootstrap.domain.doctor.check import Check
from bootstrap.domain.doctor.droid_edits import mend_syntax
from bootstrap.domain.doctor.droid_models import entries_in, problem_of, root_of
from bootstrap.domain.doctor.facts_droid import DroidFacts, DroidFile, Level
from bootstrap.domain.doctor.finding import FileFix, Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.droid_legacy import LEGACY_KEY
from bootstrap.domain.droid_schema import ARRAY_KEY
from bootstrap.domain.secret import Secret

OWN_LEVELS = (Level.LOCAL, Level.USER, Level.LEGACY)
_NAMED = {
    Level.MANAGED: "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH",
    Level.RUNTIME: "FACTORY_RUNTIME_SETTINGS_PATH",
}
_UTF8 = "it is not valid UTF-8 there"


def facts(seen: Observations) -> DroidFacts:
    """Return what was seen of droid, for checks that need it."""
    return seen.droid or DroidFacts()


def read_files(seen: Observations) -> Iterator[DroidFile]:
    """Yield the files that droid reads."""
    return (found for found in facts(seen).files if found.level is not Level.UNREAD)


def syntax(seen: Observations) -> Iterator[Finding]:
    """Find files that do not parse, or cannot be read."""
    for found in read_files(seen):
        name = seen.show(found.file.path)
        if found.file.problem:
            yield files.SYNTAX.error(f"{name} cannot be read: {found.file.problem}")
        problem = problem_of(found)
        if problem is None or _mended(found) is not None:
            continue
        if problem.reason == _UTF8:
            seen_words = f"{name}, {problem}; droid reads it, keyturn cannot change it"
            yield files.SYNTAX.warning(seen_words, mend="save it as UTF-8")
        else:
            yield files.SYNTAX.error(f"{name}, {problem}")


def trivial_syntax(seen: Observations) -> Iterator[Finding]:
    """Find files that do not parse for a trivial reason."""
    for found in read_files(seen):
        problem = problem_of(found)
        if problem is None or _mended(found) is None:
            continue
        own = found.level in OWN_LEVELS
        summary = "the comma, the mark or the emptiness goes"
        fix = FileFix(found.file.path, summary, mend_syntax) if own else ()
        yield files.TRIVIAL_SYNTAX.error(f"{seen.show(found.file.path)}, {problem}", fix=fix)


def mode(seen: Observations) -> Iterator[Finding]:
    """Find files with a key in them that others can read."""
    for found in facts(seen).files:
        state = found.file.state
        if state is None or not state.mode & 0o077:
            continue
        if any(entry.key is not None for entry in entries_in(found)):
            path = found.file.path
            own = found.level not in (Level.PROJECT, Level.MANAGED)
            yield setup.MODE.error(
                f"{seen.show(path)} has the mode {state.mode:04o}",
                mend=f"chmod 600 {shlex.quote(str(path))}",
                fix=FileFix(path, "mode 0600", mode=0o600) if own else (),
            )


def wrong_list(seen: Observations) -> Iterator[Finding]:
    """Find models under a name that droid does not look at."""
    for found in read_files(seen):
        right, wrong = (LEGACY_KEY, ARRAY_KEY) if found.legacy else (ARRAY_KEY, LEGACY_KEY)
        root, name = root_of(found), seen.show(found.file.path)
        if wrong in root:
            yield setup.WRONG_LIST.error(f"{name} has {wrong}; droid reads {right} there")
        if right in root and not isinstance(root[right], list):
            yield setup.WRONG_LIST.error(f"{name}: {right} is no list")


def named_file(seen: Observations) -> Iterator[Finding]:
    """Find variables that name a file which is not there."""
    for found in read_files(seen):
        variable = _NAMED.get(found.level)
        if variable and seen.variable(variable) and found.file.state is None:
            name = seen.show(found.file.path)
            yield setup.NAMED_FILE.error(f"{variable} names {name}", mend=f"unset {variable}")


def _mended(found: DroidFile) -> bytes | None:
    """Return the file without what is trivially wrong with it, or None where that is not enough."""
    data = found.file.data
    mended = mend_syntax(data, _no_key)
    return None if mended == data else mended


def _no_key(_: Secret) -> str:
    raise AssertionError("no key is put into a file by mending its syntax")


SYNTAX_CHECKS = (
    Check(files.SYNTAX, syntax, needs=("droid",)),
    Check(files.TRIVIAL_SYNTAX, trivial_syntax, needs=("droid",)),
)
FILE_CHECKS = (
    Check(setup.MODE, mode, needs=("droid",)),
    Check(setup.WRONG_LIST, wrong_list, needs=("droid",)),
    Check(setup.NAMED_FILE, named_file, needs=("droid",)),
)
