"""The two ways in which a rotation ends: all new, or all old. Both are safe to repeat."""

from collections.abc import Callable, Mapping

from bootstrap.domain.rotation import Record, Step, reached
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY, SALT_KEY
from bootstrap.workflows.doors import overlaps, reopen, shut
from bootstrap.workflows.force import deploy, prove_targets
from bootstrap.workflows.memory import remember_applied, remember_salt
from bootstrap.workflows.reencrypt import migrating, prove_reencrypted, was_begun
from bootstrap.workflows.tools import NamedSecrets, Pairs, RotationTools, Tools

# A client that has just read a value that is being given up still has to send it.
_UNDER_WAY_S = 0.2


def finish(
    tools: Tools,
    using: RotationTools,
    secrets: NamedSecrets,
    pairs: Pairs,
    note: Callable[[Step], None],
) -> None:
    """Refuse the old values, prove it, and let the store forget them. Safe to repeat.

    Args:
        tools: The lab and everything around it.
        using: Journal and vaults.
        secrets: With the new values.
        pairs: By name the new value, and the old one; None where nobody knows it any more.
        note: Writes the journal's next line.
    """
    refused = MASTER_KEY in pairs or overlaps(tools, using, pairs)
    with tools.progress.step(f"retire: the old one is {'refused' if refused else 'forgotten'}"):
        shut(tools, using, secrets, pairs)
        note(Step.RETIRED)
        using.vaults.put(_alone(pairs))
        remember_applied(tools, prove_targets(tools, secrets), secrets)
        remember_salt(tools, secrets, replaced=SALT_KEY in pairs)
        note(Step.CLOSED)


def put_back(
    tools: Tools,
    using: RotationTools,
    secrets: NamedSecrets,
    last: Record,
    pairs: Pairs,
    note: Callable[[Step], None],
) -> None:
    """Put the old values in force everywhere, prove it and that the new ones are refused.

    Safe to repeat. The store follows last, in one write where it is one file: until then it still
    has both values.

    Args:
        tools: The lab and everything around it.
        using: Journal and vaults.
        secrets: With the old values.
        last: How far the rotation has got.
        pairs: By name the old value, and the one that is given up; None where nobody knows it any
            more.
        note: Writes the journal's next line.
    """
    if reached(last, Step.OVERLAPPING):  # before that nothing has held the new values
        reopen(tools, using, secrets, pairs)
    if was_begun(last):
        deploy(tools, migrating(tools, last, secrets, pairs))
        prove_reencrypted(tools, last)
    deploy(tools, secrets)
    if reached(last, Step.OVERLAPPING):
        tools.clock.sleep(_UNDER_WAY_S)
    shut(tools, using, secrets, pairs)
    using.vaults.put(_alone(pairs))
    if reached(last, Step.SWITCHED):  # before that, no copy has been written
        spread(using, pairs)
    remember_applied(tools, prove_targets(tools, secrets), secrets)
    note(Step.UNDONE)


def spread(using: RotationTools, pairs: Pairs) -> None:
    """Make the copies of each follow its current value."""
    for name, (current, _) in pairs.items():
        using.vaults.of(name).spread(current)


def _alone(pairs: Pairs) -> Mapping[str, tuple[Secret, None]]:
    return {name: (current, None) for name, (current, _) in pairs.items()}
