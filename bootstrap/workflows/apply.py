"""Carry a plan out: files as one unit, then the gateway once, then proof."""

from dataclasses import dataclass
from pathlib import PurePath

from bootstrap.domain.errors import ConflictError
from bootstrap.domain.plan import Plan
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.adopt import adopt, replaced_key
from bootstrap.workflows.gateway_up import bring_up, prove, require_own_listener
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
    """

    plan: Plan
    backups: tuple[tuple[PurePath, PurePath], ...] = ()
    proven: bool = False
    models: tuple[str, ...] = ()


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
    with tools.progress.step("compare"):
        plan = make_plan(tools, force=force, running=start)
    _refuse_conflicts(plan)
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
    with tools.progress.step("prove: no key refused, wrong key refused, right key accepted"):
        models = prove(tools, secrets[MASTER_KEY])
        status = tools.service.status()
        if status.pid is not None:
            require_own_listener(tools, status.pid)
    remember(tools, plan, gateway=gateway_digest(tools, plan.remember))
    return Applied(plan, backups, proven=True, models=models)


def _refuse_conflicts(plan: Plan) -> None:
    if not plan.conflicts:
        return
    rows = "; ".join(f"{c.target.path}: {c.why}" for c in plan.conflicts)
    raise ConflictError(
        "some files are not as keyturn left them, so nothing was changed",
        why=rows,
        fix="see: keyturn plan; replace them, keeping backups: keyturn apply --force",
    )
