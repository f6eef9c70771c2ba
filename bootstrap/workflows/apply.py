"""Carry a plan out: files as one unit, then the gateway once, then proof."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from bootstrap.domain.errors import ConflictError
from bootstrap.domain.plan import Plan
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import targets
from bootstrap.workflows.gateway_up import (
    bring_up,
    prove,
    require_own_listener,
    require_port_free,
)
from bootstrap.workflows.planning import (
    gateway_digest,
    inputs_digest,
    make_plan,
    needed_secrets,
    only_secrets,
    seen,
)
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


def apply(tools: Tools, *, force: bool = False, start: bool = True) -> Applied:
    """Make this machine agree with the lab, and prove it.

    Args:
        tools: The lab and everything around it. The caller holds the lab's lock.
        force: Overwrite what was edited by hand, keeping backups.
        start: Start the gateway and prove it; False writes files only.

    Raises:
        ConflictError: A target was edited by hand; nothing was changed.
        LabError: Something could not be done; every file is as before or complete.
    """
    for target in targets(tools.lab, tools.places, tools.service.kind):
        tools.files.tidy(target.path)
    with tools.progress.step("compare"):
        plan = make_plan(tools, force=force, running=start)
    _refuse_conflicts(plan)
    if plan.gateway:
        _refuse_taken_port(tools)
    installed = start and tools.installer.installed() is None
    if installed:
        tools.installer.install(tools.progress)
        plan = replace(plan, gateway=plan.gateway or "another version was installed")
    backups = tuple(
        (c.target.path, tools.files.back_up(c.target.path)) for c in plan.changes if c.backup
    )
    if plan.writes:
        with tools.progress.step(f"write {len(plan.writes)} files"):
            tools.files.replace_all(plan.writes)
    _remember(tools, plan)
    if not start:
        if plan.reload:
            tools.service.reset()
        return Applied(plan, backups)
    secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
    if plan.gateway:
        bring_up(tools, secrets, starts=plan.starts, reload=plan.reload)
    with tools.progress.step("prove: no key refused, wrong key refused, right key accepted"):
        models = prove(tools, secrets[MASTER_KEY])
        status = tools.service.status()
        if status.pid is not None:
            require_own_listener(tools, status.pid)
    _remember(tools, plan, gateway=gateway_digest(plan.remember))
    return Applied(plan, backups, proven=True, models=models, installed=installed)


def _refuse_conflicts(plan: Plan) -> None:
    if not plan.conflicts:
        return
    rows = "; ".join(f"{c.target.path}: {c.why}" for c in plan.conflicts)
    raise ConflictError(
        "some files are not as keyturn left them, so nothing was changed",
        why=rows,
        fix="see: keyturn plan; replace them, keeping backups: keyturn apply --force",
    )


def _refuse_taken_port(tools: Tools) -> None:
    """Find out before anything is written; a running gateway may move to another port, too."""
    own = tools.service.status().pid
    listener = tools.ports.listener(tools.lab.gateway.port)
    related = own and listener and listener.pid and tools.ports.is_descendant(listener.pid, own)
    if not related:
        require_port_free(tools)


def _remember(tools: Tools, plan: Plan, gateway: str | None = None) -> None:
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    state: dict[str, Any] = dict(tools.state.load())
    found = {target.name: tools.files.observe(target.path) for target in wanted}
    remember: Mapping[str, Any] = {name: dict(row) for name, row in plan.remember.items()}
    state.update(targets=remember, seen=seen(found), inputs=inputs_digest(tools, wanted))
    if gateway is not None:
        state["gateway"] = gateway
    tools.state.save(state)
