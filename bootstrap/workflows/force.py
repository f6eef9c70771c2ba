"""Put one key in force, and prove it: the moves that rotate, undo and recover are made of.

Each is safe to repeat, so that recovery can run any of them again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bootstrap.domain import targets as target_names
from bootstrap.domain.content import Content, Write
from bootstrap.domain.errors import (
    ConflictError,
    GatewayError,
    KeptError,
    StoreDamagedError,
    TargetError,
)
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.lab import ECHO_ALIAS
from bootstrap.domain.plan import Change, Plan
from bootstrap.domain.probes import Answer, Verdict, describe, verdict
from bootstrap.domain.secret import Secret
from bootstrap.domain.targets import Owner, Touches, targets
from bootstrap.ports import Switch
from bootstrap.workflows.conflicts import refuse_other_lab
from bootstrap.workflows.gateway_up import bring_up, prove
from bootstrap.workflows.memory import doubt_gateway, intend, trust_gateway
from bootstrap.workflows.planning import make_plan
from bootstrap.workflows.tools import NamedSecrets, Tools

_TRIES = 10
# For another worker process of LiteLLM, and for a gateway that is being restarted.
_SETTLE_S = 5.0
_PAUSE_S = 0.05


def admit(
    tools: Tools, current: Secret, other: Secret | None, not_after: float | None = None
) -> None:
    """Write into the keyset that both keys are accepted, without asking the gateway.

    Args:
        tools: The lab and everything around it.
        current: The key without an end.
        other: The key that is accepted beside it, or None.
        not_after: When that ends, epoch seconds; None for no end.
    """
    if other is None:
        change_keyset(tools, lambda keys: keys.with_current(current))
    else:
        change_keyset(tools, lambda keys: keys.with_overlap(other, current, not_after))


def accept_both(
    tools: Tools, current: Secret, other: Secret, not_after: float | None = None
) -> None:
    """Make the guard accept both keys, see `admit`, and prove it."""
    admit(tools, current, other, not_after)
    for key in (current, other):
        expect(tools, key, Verdict.ACCEPTED)


@dataclass(frozen=True)
class Staged:
    """Targets that stand beside their places, complete and on disk.

    Attributes:
        first: Under the guard, and where the gateway reads none of them, all; else those that it
            reads when it starts.
        rest: The others.
        stale: Whether the gateway has to restart to see them.
    """

    first: Switch
    rest: Switch
    stale: bool


@contextmanager
def staged(tools: Tools, secrets: NamedSecrets) -> Iterator[Staged]:
    """Stage every target that `secrets` change, but for which keys the guard accepts."""
    plan = _planned(tools, secrets)
    intend(tools, plan)

    def comes_first(change: Change) -> bool:
        at_once = tools.lab.guarded or not plan.gateway
        return at_once or change.target.touches is not Touches.NOTHING

    with (
        tools.files.staged(_writes(plan, comes_first)) as first,
        tools.files.staged(_writes(plan, lambda change: not comes_first(change))) as rest,
    ):
        yield Staged(first, rest, bool(plan.gateway))


def switch_and_restart(
    tools: Tools, before: NamedSecrets, after: NamedSecrets, unit: Staged
) -> None:
    """Switch where the gateway knows one key only: its files, the gateway itself, then the rest.

    Until a fresh gateway serves, clients go on with the old key and the old gateway. Then their
    files follow at once.

    Args:
        tools: The lab and everything around it.
        before: With the old values.
        after: With the new ones.
        unit: What was staged.

    Raises:
        KeptError: A fresh gateway does not come up; the old one goes on, and has its files back.
        LabError: Something else failed.
    """

    def follow() -> None:
        # A target that its owner writes meanwhile is merged again by deploying it.
        with suppress(ConflictError):
            unit.rest.switch()

    doubt_gateway(tools)
    unit.first.switch()
    starts = not tools.service.status().running
    try:
        bring_up(tools, after, starts=starts, reload=True, taken_over=follow)
    except KeptError:
        tools.files.replace_all(_writes(plan := _planned(tools, before)))
        trust_gateway(tools, plan)
        raise
    trust_gateway(tools, _planned(tools, after))


def deploy(tools: Tools, secrets: NamedSecrets, *, restart: bool = False) -> None:
    """Make every target hold the key of `secrets`, and the gateway run with them.

    Which keys the guard accepts stays as it is. A file that its owner changes meanwhile is merged
    again.

    Args:
        tools: The lab and everything around it.
        secrets: What to deploy.
        restart: Restart the gateway also where it need not.

    Raises:
        ConflictError: A file was edited by hand, or is written faster than it can be merged.
    """
    for attempt in range(_TRIES):
        plan = _planned(tools, secrets)
        _refuse_conflicts(tools, plan)
        intend(tools, plan)
        if plan.gateway or restart:
            doubt_gateway(tools)
        try:
            tools.files.replace_all(_writes(plan))
            break
        except ConflictError:
            if attempt == _TRIES - 1:
                raise
    if plan.gateway or restart:
        try:
            bring_up(tools, secrets, starts=plan.starts, reload=plan.reload or restart)
        except KeptError:
            if not plan.gateway:  # the one that goes on has read the very same files
                trust_gateway(tools, plan)
            raise
        trust_gateway(tools, plan)


def prove_targets(tools: Tools, secrets: NamedSecrets) -> Plan:
    """Prove that every target holds the key of `secrets`, also where its owner wrote it meanwhile.

    Returns the plan that shows it.

    Raises:
        ConflictError: One does not keep it.
    """
    for _ in range(_TRIES):
        plan = _planned(tools, secrets)
        _refuse_conflicts(tools, plan)
        if not _writes(plan):
            return plan
        with suppress(ConflictError):
            tools.files.replace_all(_writes(plan))
    raise ConflictError(
        "a target does not keep the new key",
        why="its owner writes it faster than keyturn can",
        fix="quit the running droid, then rotate again",
    )


def _planned(tools: Tools, secrets: NamedSecrets) -> Plan:
    """Return the plan; a file that another program is just writing is looked at again."""
    for _ in range(_TRIES):
        with suppress(TargetError):
            return make_plan(tools, secrets=secrets)
        tools.clock.sleep(_PAUSE_S)
    return make_plan(tools, secrets=secrets)


def _refuse_conflicts(tools: Tools, plan: Plan) -> None:
    refuse_other_lab(tools, plan, outcome="")
    for change in plan.conflicts:
        raise ConflictError(
            f"{change.target.path} was edited by hand",
            why=change.why,
            fix=f"keyturn plan shows it; put it right, or move it away: mv {change.target.path} "
            f"{change.target.path}.mine",
        )


def _writes(plan: Plan, wanted: Callable[[Change], bool] = lambda _: True) -> list[Write]:
    """Return what to write, but for which keys the guard accepts."""
    return [
        change.write
        for change in plan.changes
        if change.write and change.target.owner is not Owner.KEYSET and wanted(change)
    ]


def prove_key(tools: Tools, key: Secret) -> None:
    """Prove that the gateway refuses no key and a made-up one, accepts `key`, and answers it."""
    if ECHO_ALIAS not in prove(tools, key):
        return
    answer = tools.gateway.complete(key, ECHO_ALIAS)
    if answer.status != 200 or not answer.text:
        raise GatewayError(
            f"{ECHO_ALIAS} does not answer with the new key",
            why=describe(answer),
            fix="keyturn check --deep",
        )


def refuse_old(tools: Tools, current: Secret, old: Secret | None) -> None:
    """Make the gateway accept `current` and not `old`, and prove both.

    Without the guard the gateway's own restart has done it already, and this only proves it.
    """
    if tools.lab.guarded:
        change_keyset(tools, lambda keys: keys.with_current(current))
    expect(tools, current, Verdict.ACCEPTED)
    if old is not None:
        expect(tools, old, Verdict.REFUSED)


def change_keyset(tools: Tools, change: Callable[[Keyset], Keyset]) -> None:
    """Change which keys the guard accepts, in force at the next request."""
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    target = next(t for t in wanted if t.name == target_names.KEYSET)
    found = tools.files.observe(target.path)
    try:
        keys = Keyset.parse(found.content.data) if found else Keyset()
    except StoreDamagedError:
        keys = Keyset()
    content = Content(change(keys).to_bytes())
    if found is not None and found.content == content and found.mode == target.mode:
        return
    tools.files.replace_all([Write.over(found, target.path, content, target.mode)])


def expect(tools: Tools, key: Secret, wanted: Verdict) -> None:
    """Ask until the gateway gives the wanted verdict on `key`.

    Raises:
        GatewayError: It does not within the time.
    """
    deadline = tools.clock.monotonic() + _SETTLE_S
    answer = Answer(None, problem="it was not asked")
    while True:
        answer = tools.gateway.models(key)
        if verdict(answer, with_key=True) is wanted:
            return
        if tools.clock.monotonic() >= deadline:
            break
        tools.clock.sleep(_PAUSE_S)
    word = "accept" if wanted is Verdict.ACCEPTED else "refuse"
    raise GatewayError(
        f"the gateway does not {word} the key {key.fingerprint()}",
        why=describe(answer),
        fix="keyturn check; see the log of the service",
    )
