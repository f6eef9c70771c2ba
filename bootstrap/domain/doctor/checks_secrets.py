"""KT4xx: are the stores sound, and does no key lie where it should not?"""

import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePath

from bootstrap.domain.doctor import codes_secrets as codes
from bootstrap.domain.doctor.check import Check, Group
from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.facts_secrets import KeyringFacts, SecretsFacts, StoreFacts
from bootstrap.domain.doctor.finding import CommandFix, FileFix, Fill, Finding
from bootstrap.domain.doctor.login_environment import variables_in, without
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.envfile import problems
from bootstrap.domain.lab_sample import ATTRIBUTES, missing_lines
from bootstrap.domain.plaintext_keyring import without_entries
from bootstrap.domain.ref import is_variable_name
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.sops_rules import encrypted_for

_PRIVATE = 0o600


def _facts(seen: Observations) -> SecretsFacts:
    """Return what the checks of this group need; `Check.needs` sees that it is there."""
    if seen.secrets is None:
        raise TypeError
    return seen.secrets


def identity_open(seen: Observations) -> Iterator[Finding]:
    """Find identities that others can read."""
    for path, mode in _facts(seen).identities:
        if mode & 0o077:
            fix = FileFix(path, "only you can read it", mode=_PRIVATE)
            mend = f"{_chmod(path)}, but where others use this machine: make a new one, rotate"
            words = f"{seen.show(path)} has mode {mode:04o}"
            yield codes.IDENTITY_OPEN.error(words, mend=mend, fix=fix)


def _chmod(path: PurePath) -> str:
    return f"chmod 600 {shlex.quote(str(path))}"


def identity(seen: Observations) -> Iterator[Finding]:
    """Find what else is wrong with the identities."""
    for problem in _facts(seen).identity_problems:
        yield codes.IDENTITY.warning(problem)


def store(seen: Observations) -> Iterator[Finding]:
    """Find stores that are not sound."""
    for found in _facts(seen).stores:
        problem = found.problem or found.file.problem
        if problem:
            words = f"{seen.show(found.file.path)}: {problem}"
            yield codes.STORE.error(words, mend=_restored(found, _facts(seen)))


def _restored(found: StoreFacts, facts: SecretsFacts) -> str:
    """Return what mends a store, with the folder in it where that is a command."""
    folder, name = (shlex.quote(str(x)) for x in (found.file.path.parent, found.file.path.name))
    if "git checkout HEAD" in found.mend and not facts.in_git:
        return f"bring the last good copy back from a backup: {found.file.path}"
    if "git checkout HEAD" in found.mend:
        return f"git -C {folder} checkout HEAD -- {name}, which brings the last good copy back"
    if "sops encrypt -i" in found.mend:
        back = "and replace the secrets where it was ever shared"
        return f"(cd {folder} && {facts.sops} encrypt -i {name}), {back}"
    if "sed -i" in found.mend:
        return f"{found.mend[found.mend.index('sed -i') :]}, and: keyturn doctor --fix KT410"
    return found.mend


def one_recipient(seen: Observations) -> Iterator[Finding]:
    """Find stores without a second key."""
    for found in _facts(seen).stores:
        if len(encrypted_for(found.file.data or b"")) == 1 and not found.problem:
            words = f"{seen.show(found.file.path)} is encrypted for one age recipient"
            yield codes.ONE_RECIPIENT.note(words)


def env_open(seen: Observations) -> Iterator[Finding]:
    """Find env files that others can read."""
    for file in _facts(seen).env_files:
        mode = file.state.mode if file.state else _PRIVATE
        if mode & 0o077:
            fix = FileFix(file.path, "only you can read it", mode=_PRIVATE)
            mend = f"{_chmod(file.path)}, and keyturn rotate where others use this machine"
            words = f"{seen.show(file.path)} has mode {mode:04o}"
            yield codes.ENV_OPEN.error(words, mend=mend, fix=fix)


def env_form(seen: Observations) -> Iterator[Finding]:
    """Find env files that mean different things to different readers."""
    for file in _facts(seen).env_files:
        name = seen.show(file.path)
        if file.problem:
            yield codes.ENV_FORM.warning(f"{name} cannot be read: {file.problem}")
        for problem in problems((file.data or b"").decode("utf-8", "replace")):
            yield codes.ENV_FORM.warning(f"{name}, {problem}")


def disagree(seen: Observations) -> Iterator[Finding]:
    """Find sources that hold something else."""
    for name, used, others in _facts(seen).disagree:
        words = f"{name}: {', '.join(others)} disagrees with {used}, which is in force"
        variables = [o.removeprefix("env:") for o in others if is_variable_name(o[len("env:") :])]
        alone = len(variables) == len(others)
        yield codes.DISAGREE.warning(words, mend=f"unset {' '.join(variables)}" if alone else "")


def stale(seen: Observations) -> Iterator[Finding]:
    """Find yesterday's key in this shell."""
    text = seen.variable(MASTER_KEY)
    if text and not seen.is_in_force(Secret(text)):
        yield codes.STALE.warning(f"{MASTER_KEY} is {Secret(text).fingerprint()} here")


def session(seen: Observations) -> Iterator[Finding]:
    """Find keys in the environment of systemd."""
    for name, value in _facts(seen).session.items():
        old = name == MASTER_KEY and seen.key is not None and not seen.is_in_force(value)
        argv = ("systemctl", "--user", "unset-environment", name)
        fix = CommandFix(argv, f"systemd forgets {name}") if is_variable_name(name) else ()
        words = f"{name} {value.fingerprint()}{', which is not in force' if old else ''}"
        yield codes.SESSION.warning(words, mend=" ".join(argv), fix=fix)


def attributes(seen: Observations) -> Iterator[Finding]:
    """Find repositories in which git may change the stores."""
    found = _facts(seen)
    file = found.attributes
    if file is None or not found.in_git or not found.stores or file.problem:
        return
    lacking = missing_lines(_text(file), ATTRIBUTES)
    if not lacking:
        return

    def change(data: bytes | None, _: Fill) -> bytes:
        text = (data or b"").decode("utf-8", "surrogateescape")
        more = missing_lines(text, ATTRIBUTES)
        gap = "\n" if more and text and not text.endswith("\n") else ""
        added = "".join(f"{line}\n" for line in more)
        return (text + gap + added).encode("utf-8", "surrogateescape")

    fix = FileFix(file.path, "the lines for encrypted files", change)
    words = f"{seen.show(file.path)} lacks {', '.join(lacking)}"
    yield codes.ATTRIBUTES.warning(words, fix=fix)


def _text(file: FoundFile) -> str:
    return (file.data or b"").decode("utf-8", "surrogateescape")


def in_history(seen: Observations) -> Iterator[Finding]:
    """Find plaintext in the history."""
    for found in _facts(seen).stores:
        if found.plain_commits:
            name = seen.show(found.file.path)
            yield codes.IN_HISTORY.error(f"{name} in commit {', '.join(found.plain_commits)}")


def caching(seen: Observations) -> Iterator[Finding]:
    """Find settings of git that keep plaintext."""
    root = shlex.quote(str(seen.lab.root)) if seen.lab else "."
    for scope, name in _facts(seen).caching:
        notes = shlex.quote(f"refs/notes/textconv/{name.split('.', 1)[1].rpartition('.')[0]}")
        off = f"git -C {root} config --{scope} --unset {shlex.quote(name)}"
        mend = f"{off} && git -C {root} update-ref -d {notes}"
        yield codes.CACHING.error(f"{name} is on", mend=mend)


def keyring(seen: Observations) -> Iterator[Finding]:
    """Find keyrings that do not give what they hold."""
    for problem in _keyring(seen).problems:
        verdict = codes.KEYRING.warning if problem.first else codes.KEYRING.note
        yield verdict(f"{problem.ref}: {problem.why}", mend=problem.mend)


def leftover(seen: Observations) -> Iterator[Finding]:
    """Find keys that a plaintext backend was given once."""
    facts = _keyring(seen)
    for entry in facts.leftovers:
        words = f"{seen.show(facts.file)} holds {entry[1]} of {entry[0]}"
        change = partial(_without_entry, entry)
        fix = FileFix(facts.file, f"{entry[1]} of {entry[0]} goes", change, on_request=True)
        yield codes.LEFTOVER.warning(words, fix=fix)


def _keyring(seen: Observations) -> KeyringFacts:
    if seen.keyring is None:
        raise TypeError
    return seen.keyring


def _without_entry(entry: tuple[str, str], data: bytes | None, _: Fill) -> bytes | None:
    return None if data is None else without_entries(data, [entry])


def recipients(seen: Observations) -> Iterator[Finding]:
    """Find stores that somebody else can open than `.sops.yaml` says."""
    facts = _facts(seen)
    for found in facts.stores:
        has = encrypted_for(found.file.data or b"")
        wanted = found.wanted
        if not wanted or not has or wanted == has or found.problem:
            continue
        changes = [*(f"lacks {r}" for r in sorted(wanted - has)), *_more(has - wanted)]
        words = f"{seen.show(found.file.path)} {', '.join(changes)}"
        if facts.own and not wanted & set(facts.own):
            words += "; the rule has no identity of yours, so updatekeys would lock you out"
            rules = seen.show(found.rules) if found.rules else ".sops.yaml"
            mend = f"add {facts.own[0]} to {rules} first"
            yield codes.RECIPIENTS.error(words, mend=mend)
            continue
        mend = _update_keys(facts.sops, found)
        if facts.own and not has & set(facts.own):
            mend = f"have somebody who can open it run {mend}"
        yield codes.RECIPIENTS.warning(words, mend=mend)


def _more(recipients: frozenset[str]) -> Sequence[str]:
    return [f"is also open to {recipient}" for recipient in sorted(recipients)]


def _update_keys(sops: str, found: StoreFacts) -> str:
    path = found.file.path
    folder = found.rules.parent if found.rules else path.parent
    place = path.relative_to(folder) if path.is_relative_to(folder) else path
    where, what = shlex.quote(str(folder)), shlex.quote(str(place))
    return f"(cd {where} && {sops} updatekeys -y {what})"


def login(seen: Observations) -> Iterator[Finding]:
    """Find keys that every login gets from a file."""
    names = set(seen.lab.secrets) if seen.lab else set()
    for file in _facts(seen).login_files:
        for name, value in variables_in(file.data or b""):
            if name in names:
                old = name == MASTER_KEY and seen.key is not None and not seen.is_in_force(value)
                words = f"{seen.show(file.path)} sets {name} {value.fingerprint()}"
                words += ", which is not in force" if old else ""
                fix = FileFix(file.path, f"the line that sets {name} goes", partial(_unset, name))
                yield codes.LOGIN.warning(words, fix=fix)


def _unset(name: str, data: bytes | None, _: Fill) -> bytes | None:
    return None if data is None else without(data, [name])


_NEEDS = ("secrets",)
SECRETS = Group(
    "KT4",
    "Secrets",
    (
        Check(codes.IDENTITY_OPEN, identity_open, _NEEDS),
        Check(codes.IDENTITY, identity, _NEEDS),
        Check(codes.STORE, store, ("lab", "secrets")),
        Check(codes.ONE_RECIPIENT, one_recipient, ("lab", "secrets")),
        Check(codes.ENV_OPEN, env_open, _NEEDS),
        Check(codes.ENV_FORM, env_form, _NEEDS),
        Check(codes.DISAGREE, disagree, ("lab", "secrets")),
        Check(codes.STALE, stale, ("lab", "key")),
        Check(codes.SESSION, session, ("lab", "secrets")),
        Check(codes.ATTRIBUTES, attributes, ("lab", "secrets")),
        Check(codes.IN_HISTORY, in_history, ("lab", "secrets")),
        Check(codes.CACHING, caching, ("lab", "secrets")),
        Check(codes.KEYRING, keyring, ("keyring",)),
        Check(codes.LEFTOVER, leftover, ("keyring",)),
        Check(codes.RECIPIENTS, recipients, ("lab", "secrets")),
        Check(codes.LOGIN, login, ("lab", "secrets")),
    ),
)
