"""Compare what should stand at each target with what does."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bootstrap.domain import targets as target_names
from bootstrap.domain.content import Content, FileState
from bootstrap.domain.plan import Change, Plan, decide
from bootstrap.domain.redact import safe_diff
from bootstrap.domain.targets import Target
from bootstrap.workflows.tools import NamedSecrets, Tools

# (whether it is an env file, the bytes found, the bytes wanted) -> lines that are safe to show.
Differ = Callable[[bool, bytes | None, bytes], list[str]]


def compare(
    tools: Tools,
    wanted: tuple[Target, ...],
    contents: Mapping[str, Content],
    found: Mapping[str, FileState | None],
    last: Mapping[str, Mapping[str, Any]],
    force: bool,
    diff: Differ,
) -> Plan:
    """Return what would change, and what to remember of each target afterwards.

    Args:
        tools: The lab and everything around it.
        wanted: The targets.
        contents: Their rendered bytes, by name.
        found: What stands there, by name.
        last: What the state remembers, by name.
        force: Overwrite what was edited by hand, keeping backups.
        diff: Shows a difference.
    """
    changes: list[Change] = []
    remember: dict[str, Mapping[str, Any]] = {}
    for target in wanted:
        env_file = target.name == target_names.ENV_FILE
        decision = decide(
            target,
            contents.get(target.name),
            found[target.name],
            last.get(target.name, {}),
            gateway_url=tools.lab.gateway.url,
            aliases=[model.alias for model in tools.lab.models],
            force=force,
            diff=partial(diff, env_file),
        )
        if decision.change is not None:
            changes.append(decision.change)
        if decision.remember:
            remember[target.name] = decision.remember
    return Plan(tuple(changes), remember)


def differ(tools: Tools, secrets: NamedSecrets) -> Differ:
    """Return what shows a difference safely."""
    mask = tools.known(secrets).mask
    return lambda env_file, old, new: list(safe_diff(old, new, known=mask, env_file=env_file))


def no_diff(env_file: bool, old: bytes | None, new: bytes) -> list[str]:
    """Show nothing: who plans for secrets of their own carries the plan out."""
    return []
