"""KT301 to KT310, KT316, KT317, KT319: the gateway as it runs."""

import ipaddress
import shlex
from collections.abc import Iterator

from bootstrap.domain.doctor import codes_gateway as codes
from bootstrap.domain.doctor.check import Check, Group
from bootstrap.domain.doctor.checks_gateway_config import CONFIG_CHECKS
from bootstrap.domain.doctor.facts_gateway import Answers, LitellmFacts
from bootstrap.domain.doctor.finding import Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.lab import LITELLM_TESTED, Lab
from bootstrap.domain.probes import Verdict, describe, verdict
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY

# File times and the start of the machine are not of one clock.
_CLOCK_S = 3.0
_LOAD = {
    "masked": "it is masked",
    "bad-setting": "its file has a setting that systemd does not take",
    "error": "its file cannot be loaded",
}


def _parts(seen: Observations) -> tuple[Lab, LitellmFacts]:
    """Return what the checks of this group need; `Check.needs` sees that it is there."""
    if seen.lab is None or seen.litellm is None:
        raise TypeError
    return seen.lab, seen.litellm


def _answers(seen: Observations) -> Answers:
    if seen.answers is None:
        raise TypeError
    return seen.answers


def is_open(seen: Observations) -> Iterator[Finding]:
    """Find a gateway that serves anybody."""
    answers = _answers(seen)
    for answer, words, sent in (
        (answers.without, "no key", False),
        (answers.made_up, "a made-up key", True),
    ):
        if verdict(answer, with_key=sent) is Verdict.ACCEPTED:
            yield codes.OPEN.error(f"{seen.gateway_url} served a request with {words}")


def not_in_force(seen: Observations) -> Iterator[Finding]:
    """Find a gateway that refuses the right key."""
    answer = _answers(seen).right
    if answer is None or answer.status is None:
        return
    found = verdict(answer, with_key=True)
    print_of = seen.key.fingerprint() if seen.key else "?"
    words = f"{seen.gateway_url} answers {describe(answer)} to the key {print_of}"
    if found is Verdict.REFUSED:
        yield codes.NOT_IN_FORCE.error(words)
    elif found is Verdict.UNKNOWN:
        yield codes.NOT_IN_FORCE.warning(words)


def weak(seen: Observations) -> Iterator[Finding]:
    """Find a key that can be guessed."""
    problem = _parts(seen)[1].weakness
    if problem:
        yield codes.WEAK.error(f"{MASTER_KEY}: {problem}")


def silent(seen: Observations) -> Iterator[Finding]:
    """Find a gateway that is not there."""
    found, answers = _parts(seen)[1], seen.answers
    if not found.running:
        detail = found.detail or "not running"
        yield codes.SILENT.warning(f"{found.service}: {detail}")
    elif answers is not None and answers.without.status is None:
        words = f"{found.service} runs, but {seen.gateway_url}: {describe(answers.without)}"
        yield codes.SILENT.warning(words, mend="wait a little; keyturn service log")


def port_taken(seen: Observations) -> Iterator[Finding]:
    """Find a port that is somebody else's."""
    lab, found = _parts(seen)
    if found.stranger and found.listener is not None:
        program, pid = found.listener
        who = f"{program or 'a program'} (process {pid})" if pid else "another user's program"
        yield codes.PORT_TAKEN.error(f"{who} listens on port {lab.gateway.port}")


def older(seen: Observations) -> Iterator[Finding]:
    """Find a process that has not read its files."""
    found = _parts(seen)[1]
    if found.process is None:
        return
    for path, written in found.written.items():
        if written > found.process.started + _CLOCK_S:
            words = f"process {found.process.pid} started before {seen.show(path)} was written"
            yield codes.OLDER.warning(words)


def other_key(seen: Observations) -> Iterator[Finding]:
    """Find a process with a key of yesterday."""
    lab, found = _parts(seen)
    name = INTERNAL_KEY if lab.guarded else MASTER_KEY
    wanted = found.env.get(name) if lab.guarded else seen.key
    has = found.process.keys.get(name) if found.process else None
    if found.process is None or has is None or wanted is None or has == wanted:
        return
    prints = f"{has.fingerprint()}, and {wanted.fingerprint()} is stored"
    words = f"process {found.process.pid} has {name} {prints}"
    yield (codes.OTHER_KEY.warning if lab.guarded else codes.OTHER_KEY.error)(words)


def unit_unusable(seen: Observations) -> Iterator[Finding]:
    """Find a unit that systemd does not run."""
    found = _parts(seen)[1]
    unit = found.unit
    if unit is None:
        return
    if unit.load == "masked":
        mend = f"systemctl --user unmask {found.service} && keyturn apply"
        yield codes.UNIT_UNUSABLE.error(f"{found.service}: {_LOAD[unit.load]}", mend=mend)
    elif unit.load in _LOAD:
        mend = f"keyturn apply --force, or see: systemd-analyze --user verify {found.service}"
        yield codes.UNIT_UNUSABLE.error(f"{found.service}: {_LOAD[unit.load]}", mend=mend)
    elif unit.active == "failed" or unit.result == "start-limit-hit":
        yield codes.UNIT_UNUSABLE.error(f"{found.service}: {found.detail}")


def unit_edited(seen: Observations) -> Iterator[Finding]:
    """Find hand-made changes of the service."""
    found = _parts(seen)[1]
    for path in found.edited:
        yield codes.UNIT_EDITED.warning(f"{seen.show(path)} is not as keyturn wrote it")
    unit = found.unit
    if unit is None:
        return
    for drop_in in unit.drop_ins:
        mend = f"look at it: systemctl --user cat {found.service}"
        yield codes.UNIT_EDITED.note(f"{drop_in} changes {found.service}", mend=mend)
    if unit.stale:
        words = f"{found.service} changed since systemd read it"
        yield codes.UNIT_EDITED.warning(words, mend="systemctl --user daemon-reload")


def lingering(seen: Observations) -> Iterator[Finding]:
    """Find a gateway that does not outlive the session."""
    unit = _parts(seen)[1].unit
    if unit is not None and unit.lingering is False:
        mend = f"loginctl enable-linger {shlex.quote(unit.user)}".removesuffix(" ''")
        yield codes.LINGERING.note("lingering is off for this user", mend=mend)


def version(seen: Observations) -> Iterator[Finding]:
    """Find versions that were not tested."""
    lab, found = _parts(seen)
    has = found.version or ("" if lab.gateway.command else lab.gateway.version)
    if has and has not in LITELLM_TESTED:
        yield codes.VERSION.note(f"LiteLLM {has}; tested are {', '.join(LITELLM_TESTED)}")


def leaked(seen: Observations) -> Iterator[Finding]:
    """Find keys in the log."""
    found = _parts(seen)[1]
    if found.leaked:
        yield codes.LEAKED.error(f"the log of {found.service} holds {', '.join(found.leaked)}")


def exposed(seen: Observations) -> Iterator[Finding]:
    """Find a gateway that other machines can reach."""
    host = _parts(seen)[0].gateway.host
    try:
        closed = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        closed = False
    if not closed:
        yield codes.EXPOSED.warning(f"gateway.host is {host}")


_NEEDS = ("lab", "litellm")
_CHECKS = (
    Check(codes.OPEN, is_open, ("lab", "answers")),
    Check(codes.NOT_IN_FORCE, not_in_force, ("lab", "key", "answers")),
    Check(codes.WEAK, weak, ("lab", "key", "litellm")),
    Check(codes.SILENT, silent, _NEEDS),
    Check(codes.PORT_TAKEN, port_taken, _NEEDS),
    Check(codes.OLDER, older, _NEEDS),
    Check(codes.OTHER_KEY, other_key, _NEEDS),
    Check(codes.UNIT_UNUSABLE, unit_unusable, _NEEDS),
    Check(codes.UNIT_EDITED, unit_edited, _NEEDS),
    Check(codes.LINGERING, lingering, _NEEDS),
    Check(codes.VERSION, version, _NEEDS),
    Check(codes.LEAKED, leaked, _NEEDS),
    Check(codes.EXPOSED, exposed, _NEEDS),
    *CONFIG_CHECKS,
)
GATEWAY = Group("KT3", "The gateway", tuple(sorted(_CHECKS, key=lambda check: check.code.id)))
