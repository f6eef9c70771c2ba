"""New keys, from the operating system's randomness."""

import secrets

from bootstrap.domain.secret import Secret
from bootstrap.domain.strength import misfit, weakness

_BYTES = 32


def new_key() -> Secret:
    """Return a new key: `sk-` and 43 of letters, digits, `-` and `_`, carrying 256 bits.

    One that happens to look weak ("xxxx" in it, once in some ten thousand) is drawn again, so
    that no other command complains about it later.
    """
    while True:
        text = "sk-" + secrets.token_urlsafe(_BYTES)
        if weakness(text) is None:
            return Secret(text)


def weakness_of(secret: Secret) -> str | None:
    """Return why `secret` is not good enough for a key (one clause), or None."""
    return weakness(secret.reveal())


def misfit_of(secret: Secret) -> str | None:
    """Return why `secret` cannot be what somebody else made (one clause), or None."""
    return misfit(secret.reveal())
