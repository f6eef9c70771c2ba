"""What a keyset means to the gateway's guard."""

from bootstrap.domain.keyset import Keyset
from bootstrap.domain.secret import Secret


def accepts(keyset: Keyset, secret: Secret, now: float) -> bool:
    """Tell whether a key opens the gateway at `now`, in seconds since 1970."""
    same = (entry for entry in keyset.entries if entry.sha256 == secret.digest())
    return any(entry.is_valid(now) for entry in same)
