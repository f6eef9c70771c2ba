"""`keyturn exec --mask`: which secrets are masked, and where."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from bootstrap.adapters.mask import maskable, masks, run_masked
from bootstrap.adapters.supervised import end_like, supervise
from bootstrap.adapters.variables import variables
from bootstrap.adapters.vault import SLOT_SUFFIX
from bootstrap.domain.errors import ProviderUnavailableError, SecretNotFoundError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.ports import Provider
from bootstrap.workflows.resolve import Resolved

Run = Callable[[Sequence[str], Mapping[str, str], tuple[Secret, ...]], int]


def masked_run(found: Mapping[str, Resolved], provider: Callable[[str], Provider]) -> Run | None:
    """Return how to run a program masked; None where a person's terminal gets all its output.

    Args:
        found: What the program gets, by variable.
        provider: The provider of a scheme, for the other key of a rotation in flight.
    """
    streams = maskable(variables())
    if not streams:
        return None
    gc.enable()  # this process will live for as long as the program
    secrets = list(_secrets(found, provider))

    def run(argv: Sequence[str], environment: Mapping[str, str], issued: tuple[Secret, ...]) -> int:
        named = [*secrets, *(("CLIENT_KEY", key) for key in issued)]
        return run_masked(streams, masks(named), lambda: supervise(argv, environment, issued))

    return run


def run_to_the_end(run: Run, argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program, and end as it did."""
    return end_like(run(argv, environment, ()))


def _secrets(
    found: Mapping[str, Resolved], provider: Callable[[str], Provider]
) -> Iterator[tuple[str, Secret]]:
    """Yield every secret that the program might print, and the other key where one is rotated."""
    for variable, resolved in found.items():
        yield variable, resolved.secret
        ref = resolved.ref
        if not ref.name:
            continue
        slot = SecretRef(ref.scheme, ref.place, ref.name + SLOT_SUFFIX)
        with suppress(SecretNotFoundError, ProviderUnavailableError):
            yield variable, provider(ref.scheme).read(slot)
