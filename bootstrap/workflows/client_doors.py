"""The guard as a door that opens to a client's own key: both keys of a rotation, then one."""

from bootstrap.domain.keyset import Keyset
from bootstrap.domain.lab_keys import with_lab_overlap
from bootstrap.domain.probes import Verdict
from bootstrap.domain.rotatable import client_key
from bootstrap.workflows.force import change_keyset, expect
from bootstrap.workflows.tools import Pairs, Tools


def admit_clients(tools: Tools, pairs: Pairs, not_after: float | None = None) -> None:
    """Write into the keyset that both keys of each client among `pairs` are accepted.

    Args:
        tools: The lab and everything around it.
        pairs: By name the key without an end, and the one beside it or None.
        not_after: When the latter ends, epoch seconds; None for no end.
    """
    if of_clients(tools, pairs):
        change_keyset(tools, lambda keys: with_clients(tools, keys, pairs, not_after))


def with_clients(
    tools: Tools, keys: Keyset, pairs: Pairs, not_after: float | None = None
) -> Keyset:
    """Return the keyset with both keys of each client among `pairs`, see `admit_clients`."""
    for client, (current, other) in of_clients(tools, pairs).items():
        keys = with_lab_overlap(keys, client, current, other, not_after)
    return keys


def accept_clients(tools: Tools, pairs: Pairs, not_after: float | None = None) -> None:
    """As `admit_clients`, and prove it by asking the gateway with each key."""
    admit_clients(tools, pairs, not_after)
    for current, other in of_clients(tools, pairs).values():
        expect(tools, current, Verdict.ACCEPTED)
        if other is not None:
            expect(tools, other, Verdict.ACCEPTED)


def refuse_clients(tools: Tools, pairs: Pairs) -> None:
    """Make the gateway accept the first key of each client alone, and prove it."""
    own = of_clients(tools, pairs)
    admit_clients(tools, {name: (current, None) for name, (current, _) in pairs.items()})
    for current, other in own.values():
        expect(tools, current, Verdict.ACCEPTED)
        if other is not None:
            expect(tools, other, Verdict.REFUSED)


def of_clients(tools: Tools, pairs: Pairs) -> Pairs:
    """Return those of `pairs` that are clients' own keys, by client."""
    found = ((client_key(tools.lab, name), pair) for name, pair in pairs.items())
    return {key.client: pair for key, pair in found if key is not None}
