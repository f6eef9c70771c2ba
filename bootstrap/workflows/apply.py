"""Carry a plan out: files as one unit, then the gateway once, then proof."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from bootstrap.domain.content import Write
from bootstrap.domain.errors import KeptError, TargetError
from bootstrap.domain.plan import Plan
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import targets
from bootstrap.workflows.conflicts import refuse_conflicts
from bootstrap.workflows.gateway_up import (
    bring_up,
    prove,
    require_own_listener,
    require_port_free,
    wait_until_ready,
)
from bootstrap.workflows.memory import (
    doubt_gateway,
    intend,
    remember,
    remember_applied,
    remember_salt,
)
from bootstrap.workflows.own_keys import make_missing, prove_own_keys
from bootstrap.workflows.pickup import pick_up, replaced_key
from bootstrap.workflows.planning import make_plan, needed_secrets, only_secrets
from bootstrap.workflows.preflight import has_database
from bootstrap.workflows.tools import Tools


@dataclass(frozen=True)
class Applied:
    """What `apply` did.

    Attributes:
        plan: What it carried out.
        backups: (original, copy) for each file that was copied aside.
        proven: Whether the gateway was asked without, with a wrong and with the right key.
        models: The model ids that the gateway serves.
        installed: Whether the gateway's program had to be installed.
    """

    plan: Plan
    backups: tuple[tuple[PurePath, PurePath], ...] = ()
    proven: bool = False
    models: tuple[str, ...] = ()
    installed: bool = False


def apply(tools: Tools, *, force: bool = False, start: bool = True, copies: bool = True) -> Applied:
    """Make this machine agree with the lab, and prove it.

    Args:
        tools: The lab and everything around it. The caller holds the lab's lock.
        force: Overwrite what was edited by hand, keeping backups.
        start: Start the gateway and prove it; False writes files only.
        copies: Keep backups; False for a caller that has made its own.

    Raises:
        ConflictError: A target was edited by hand; nothing was changed.
        KeptError: The gateway does not come up with the new files; all is as before.
        LabError: Something could not be done; every file is as before or complete.
    """
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    tools.files.sweep([target.path for target in wanted])
    with tools.progress.step("compare"):
        plan = make_plan(tools, force=force, running=start)
    refuse_conflicts(tools, plan)
    if plan.new_keys:
        made = plan.new_keys
        make_missing(tools, made)
        plan = replace(make_plan(tools, force=force, running=start), new_keys=made)
    if plan.gateway:
        require_port_free(tools)  # before anything is written
    installed = start and tools.installer.installed() is None
    if installed:
        tools.installer.install(tools.progress)
        plan = replace(plan, gateway=plan.gateway or "another version was installed")
    secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools))) if start else {}
    old = replaced_key(tools, plan, secrets[MASTER_KEY]) if start and plan else None
    if old is not None:
        pick_up(tools, secrets, old)
        return Applied(plan, proven=True, models=prove(tools, secrets[MASTER_KEY]))
    before = _snapshot(tools, plan)
    backups = tuple(
        (c.target.path, tools.files.back_up(c.target.path))
        for c in plan.changes
        if c.backup and copies
    )
    _write(tools, plan, before)
    remember(tools, plan)
    if not start:
        if plan.reload:
            tools.service.reset()
        return Applied(plan, backups)
    if plan.gateway:
        try:
            bring_up(tools, secrets, starts=plan.starts, reload=plan.reload)
        except KeptError as error:
            raise _put_back(tools, before, error) from None
    elif tools.gateway.alive().status is None:  # it was started a moment ago, by somebody else
        wait_until_ready(tools, secrets)
    with tools.progress.step("prove: no key refused, wrong key refused, right key accepted"):
        models = prove(tools, secrets[MASTER_KEY])
        prove_own_keys(tools, secrets)
        status = tools.service.status()
        if status.pid is not None:
            require_own_listener(tools, status.pid)
    remember_applied(tools, plan, secrets)
    remember_salt(tools, secrets, replaced=not has_database(tools))
    return Applied(plan, backups, proven=True, models=models, installed=installed)


@dataclass(frozen=True)
class _Snapshot:
    """What stood there before: `undo` brings it back."""

    undo: tuple[Write, ...]
    state: Mapping[str, Any]


def _snapshot(tools: Tools, plan: Plan) -> _Snapshot:
    undo = []
    for write in plan.writes:
        found = tools.files.observe(write.path)
        content, mode = (found.content, found.mode) if found else (None, write.mode)
        written = write.content.digest if write.content else None
        undo.append(Write(write.path, content, mode, written))
    return _Snapshot(tuple(undo), tools.state.load())


def _write(tools: Tools, plan: Plan, before: _Snapshot) -> None:
    """Put the plan's files in force, known as ours even if this is killed in the middle."""
    if not plan.writes:
        return
    many = len(plan.writes)
    with tools.progress.step(f"write {many} file{'s' if many > 1 else ''}"):
        intend(tools, plan)
        if plan.gateway:
            doubt_gateway(tools)
        try:
            tools.files.replace_all(plan.writes)
        except BaseException:
            tools.state.save(before.state)
            raise


def _put_back(tools: Tools, before: _Snapshot, error: KeptError) -> KeptError:
    """Undo the writes of an apply whose files the gateway does not start with."""
    try:
        tools.files.replace_all(before.undo)
    except TargetError as second:
        outcome = f"the new files stay in place, since they cannot be put back ({second})"
    else:
        tools.state.save(before.state)
        tools.service.reset()
        outcome = "every file is as before"
    why = f"{error.why}; the gateway goes on as it was, and {outcome}"
    return KeptError(error.what, why=why, fix=error.fix)
