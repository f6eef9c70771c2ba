"""What a rotation would do, without doing any of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from bootstrap.domain.rotatable import models_using
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.doors import overlaps
from bootstrap.workflows.planning import make_plan, needed_secrets, only_secrets
from bootstrap.workflows.preflight import refuse_encryption_key, replaced, will_restart
from bootstrap.workflows.reencrypt import require_reencryption
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

# What is different where the master key is not among them.
_OTHER_WORDS: Mapping[Step, str] = {
    Step.OVERLAPPING: "Redis accepts both passwords, where it knows ACLs",
    Step.PROVEN: "the gateway works with the new value, no drift",
    Step.RETIRED: "the old value is refused, where keyturn decides that",
}


@dataclass(frozen=True)
class Preview:
    """What a rotation would do.

    Attributes:
        old: The fingerprint of the key in force.
        steps: In order.
        words: What each step means.
        targets: The files that would be rewritten.
        restarts: Whether the gateway would restart.
        secrets: The fingerprint in force of every secret that would be rotated, by name.
        models: The aliases that would be asked for a completion.
    """

    old: str
    steps: tuple[Step, ...]
    words: Mapping[Step, str]
    targets: tuple[PurePath, ...]
    restarts: bool
    secrets: Mapping[str, str]
    models: tuple[str, ...]


def preview(
    tools: Tools,
    using: RotationTools,
    names: Sequence[str] = (MASTER_KEY,),
    *,
    re_encrypt: bool = False,
    restart: bool = False,
) -> Preview:
    """Plan with trial values, and throw them away.

    Args:
        tools: The lab and everything around it.
        using: Journal and vaults.
        names: The secrets to rotate together.
        re_encrypt: Whether LiteLLM shall encrypt its database with the new key.
        restart: Whether the gateway shall be restarted also where it need not.

    Raises:
        LabError: The lab cannot be rendered, its store not written, or they must not be rotated.
    """
    for name in names:
        using.vaults.of(name).check_writable()
    secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
    old = {name: tools.resolver.resolve(name).secret for name in names}
    trial = {name: tools.new_key() for name in names}
    (require_reencryption if re_encrypt else refuse_encryption_key)(tools, secrets, trial)
    plan = make_plan(tools, secrets=replaced(secrets, trial))
    restarts = will_restart(tools, plan, asked=restart)
    both = overlaps(tools, using, names)
    return Preview(
        old[names[0]].fingerprint(),
        tuple(step for step in _WORDS if both or step is not Step.OVERLAPPING),
        _words(tools.lab.guarded, names, restarts=restarts),
        tuple(change.target.path for change in plan.drift),
        restarts,
        {name: secret.fingerprint() for name, secret in old.items()},
        tuple(model.alias for name in names for model in models_using(tools.lab, name)),
    )


def _words(guarded: bool, names: Sequence[str], *, restarts: bool) -> Mapping[Step, str]:
    words = {**_WORDS, **({} if MASTER_KEY in names else _OTHER_WORDS)}
    if restarts and not guarded:
        words[Step.SWITCHED] = _HANDED_OVER
    elif restarts:
        words[Step.SWITCHED] += f"; {_RESTARTED}"
    return words
