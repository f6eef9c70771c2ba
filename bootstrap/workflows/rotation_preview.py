"""What a rotation would do, without doing any of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from bootstrap.domain.rotation import Step
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.planning import make_plan, needed_secrets, only_secrets
from bootstrap.workflows.tools import RotationTools, Tools

_WORDS: Mapping[Step, str] = {
    Step.BEGUN: "journal opened; targets, store and gateway checked",
    Step.CREATED: "new key into the store, pending beside the current one",
    Step.STAGED: "every target rendered beside its live file, on disk",
    Step.OVERLAPPING: "the gateway accepts both keys",
    Step.SWITCHED: "the targets below are renamed into place as one unit",
    Step.PROMOTED: "the store's current key is the new one",
    Step.PROVEN: "new key accepted, a completion answered, no drift",
    Step.RETIRED: "the old key is refused, proven",
    Step.CLOSED: "the store forgets the old key",
}
_RESTARTED = "a second gateway takes the port over, and the first one finishes its answers"
_HANDED_OVER = f"the gateway's files renamed into place; {_RESTARTED}; then the other targets below"


@dataclass(frozen=True)
class Preview:
    """What a rotation would do.

    Attributes:
        old: The fingerprint of the key in force.
        steps: In order.
        words: What each step means.
        targets: The files that would be rewritten.
        restarts: Whether the gateway would restart.
    """

    old: str
    steps: tuple[Step, ...]
    words: Mapping[Step, str]
    targets: tuple[PurePath, ...]
    restarts: bool


def preview(tools: Tools, using: RotationTools, *, restart: bool = False) -> Preview:
    """Plan with a trial key, and throw it away.

    Args:
        tools: The lab and everything around it.
        using: Journal and vault.
        restart: Whether the gateway shall be restarted also where it need not.

    Raises:
        LabError: The lab cannot be rendered, or its store not written.
    """
    using.vault.check_writable()
    secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
    plan = make_plan(tools, secrets={**secrets, MASTER_KEY: tools.new_key()})
    steps = tuple(s for s in _WORDS if tools.lab.guarded or s is not Step.OVERLAPPING)
    paths = tuple(change.target.path for change in plan.drift)
    restarts = restart or bool(plan.gateway)
    words = dict(_WORDS)
    if not tools.lab.guarded:
        words[Step.SWITCHED] = _HANDED_OVER
    elif restarts:
        words[Step.SWITCHED] += f"; {_RESTARTED}"
    return Preview(secrets[MASTER_KEY].fingerprint(), steps, words, paths, restarts)
