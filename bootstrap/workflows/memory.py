"""What keyturn remembers of a lab between commands: digests, never a value."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bootstrap.domain.errors import LabError
from bootstrap.domain.plan import Plan
from bootstrap.domain.secret_spec import SALT_KEY
from bootstrap.domain.targets import targets
from bootstrap.workflows.planning import (
    gateway_digest,
    inputs_digest,
    needed_secrets,
    only_secrets,
    render_targets,
    seen,
)
from bootstrap.workflows.tools import NamedSecrets, Tools


def intend(tools: Tools, plan: Plan) -> None:
    """Remember what is about to be written, so that after a crash it is known to be ours.

    What a plan before this one wrote, and this one replaces, stays known until it is replaced.
    """
    state: dict[str, Any] = dict(tools.state.load())
    rows: dict[str, Any] = {name: dict(row) for name, row in state.get("targets", {}).items()}
    for change in plan.changes:
        if change.write is not None and change.write.content is not None:
            row = rows.setdefault(change.target.name, {"path": str(change.target.path)})
            if change.write.expected is not None and change.write.expected == row.get("next"):
                row["digest"] = row["next"]
            row["next"] = change.write.content.digest
            row |= _claim(plan, change.target.name)
    state.update(targets=rows, inputs="", lab=str(tools.lab.root))
    tools.state.save(state)


def doubt_gateway(tools: Tools) -> None:
    """Forget which files the running gateway has read, before those are changed.

    Else a crash between the change and the restart, and then the way back to the old files, would
    end with a gateway that runs with the new ones and is taken for up to date.
    """
    state = dict(tools.state.load())
    if state.pop("gateway", None) is not None:
        tools.state.save(state)


def trust_gateway(tools: Tools, plan: Plan) -> None:
    """Remember that the running gateway has read the files that `plan` found or wrote."""
    state = dict(tools.state.load())
    state["gateway"] = gateway_digest(tools, plan.remember)
    tools.state.save(state)


def recognise(tools: Tools, secrets: NamedSecrets) -> None:
    """Where the state was lost, remember files that are as `secrets` render them as ours.

    In the middle of a rotation a target may hold the other key; without this it would look like
    somebody else's file.
    """
    if tools.state.load():
        return
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    named = replace(tools, lab=tools.lab.with_secrets(secrets))
    contents = render_targets(named, wanted, secrets)
    tools.state.save(
        {
            "targets": {
                target.name: {"path": str(target.path), "next": contents[target.name].digest}
                for target in wanted
                if target.name in contents
            }
        }
    )


def remember(
    tools: Tools, plan: Plan, gateway: str | None = None, secrets: NamedSecrets | None = None
) -> None:
    """Remember what stands there now.

    Args:
        tools: The lab and everything around it.
        plan: What was carried out. What somebody changed since it was begun is not remembered as
            what the targets were made from, whether or not it was read in time.
        gateway: What identifies the files that the running gateway has read, if that is known.
        secrets: What was put in force. Where the store holds others by now, since somebody wrote
            it meanwhile, the next plan must not take it for what the targets were made from.
    """
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    state: dict[str, Any] = dict(tools.state.load())
    found = {target.name: tools.files.observe(target.path) for target in wanted}
    rows: Mapping[str, Any] = {name: dict(row) for name, row in plan.remember.items()}
    inputs = inputs_digest(tools, wanted)
    changed = plan.inputs is not None and plan.inputs != inputs
    if changed or (secrets is not None and inputs and not _are_stored(tools, secrets)):
        inputs = ""
    state.update(targets=rows, seen=seen(found), inputs=inputs, lab=str(tools.lab.root))
    if gateway is not None:
        state["gateway"] = gateway
    tools.state.save(state)


def _are_stored(tools: Tools, secrets: NamedSecrets) -> bool:
    """Tell whether the lab's sources hold these; costs nothing where no file has changed."""
    with suppress(LabError):
        stored = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
        return all(secrets.get(name) == secret for name, secret in stored.items())
    return False


def _claim(plan: Plan, name: str) -> dict[str, Any]:
    """Return the claim that `plan` makes to a target, as a part of its row."""
    row = plan.remember.get(name, {})
    return {"claim": row["claim"]} if "claim" in row else {}


def remember_applied(tools: Tools, plan: Plan, secrets: NamedSecrets) -> None:
    """Remember that every target and the gateway are as `plan`, made for `secrets`, found them."""
    remember(tools, plan, gateway=gateway_digest(tools, plan.remember), secrets=secrets)


def remember_salt(tools: Tools, secrets: NamedSecrets, *, replaced: bool) -> None:
    """Remember the fingerprint of the salt key; LiteLLM cannot tell that it was changed.

    Args:
        tools: The lab and everything around it.
        secrets: What was put in force.
        replaced: Whether another one than is remembered is meant: there is no database that it
            encrypts, or it was rotated by one who knows.
    """
    salt = secrets.get(SALT_KEY)
    state = dict(tools.state.load())
    if salt is not None and (replaced or "salt" not in state):
        tools.state.save({**state, "salt": salt.fingerprint()})
