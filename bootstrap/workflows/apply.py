"""Carry a plan out: files as one unit, then the gateway once, then proof."""

from dataclasses import dataclass, replace
from pathlib import PurePath

from bootstrap.domain.errors import ConflictError
from bootstrap.domain.plan import Plan
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import targets
from bootstrap.workflows.adopt import adopt, replaced_key
from bootstrap.workflows.gateway_up import (
    bring_up,
    prove,
    require_own_listener,
    require_port_free,
    wait_until_ready,
)
from bootstrap.workflows.memory import doubt_gateway, intend, remember
from bootstrap.workflows.planning import gateway_digest, make_plan, needed_secrets, only_secrets
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
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    tools.files.sweep([target.path for target in wanted])
    with tools.progress.step("compare"):
        plan = make_plan(tools, force=force, running=start)
    _refuse_conflicts(plan)
    if plan.gateway:
        _refuse_taken_port(tools)
    installed = start and tools.installer.installed() is None
    if installed:
        tools.installer.install(tools.progress)
        plan = replace(plan, gateway=plan.gateway or "another version was installed")
    secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools))) if start else {}
    old = replaced_key(tools, plan, secrets[MASTER_KEY]) if start and plan else None
    if old is not None:
        adopt(tools, secrets, old)
        return Applied(plan, proven=True, models=prove(tools, secrets[MASTER_KEY]))
    backups = tuple(
        (c.target.path, tools.files.back_up(c.target.path)) for c in plan.changes if c.backup
    )
    if plan.writes:
        with tools.progress.step(f"write {len(plan.writes)} files"):
            intend(tools, plan)
            if plan.gateway:
                doubt_gateway(tools)
            tools.files.replace_all(plan.writes)
    remember(tools, plan)
    if not start:
        if plan.reload:
            tools.service.reset()
        return Applied(plan, backups)
    if plan.gateway:
        bring_up(tools, secrets, starts=plan.starts, reload=plan.reload)
    elif tools.gateway.alive().status is None:  # it was started a moment ago, by somebody else
        wait_until_ready(tools, secrets)
    with tools.progress.step("prove: no key refused, wrong key refused, right key accepted"):
        models = prove(tools, secrets[MASTER_KEY])
        status = tools.service.status()
        if status.pid is not None:
            require_own_listener(tools, status.pid)
    remember(tools, plan, gateway=gateway_digest(tools, plan.remember))
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
