"""The one type that a secret value may have inside this program.

A Secret is opaque: printing, formatting, logging, pickling or JSON-encoding one gives a mask or
an error. Its text comes out of one method, reveal(), so `grep -rn 'reveal()' bootstrap` lists every
place where a secret leaves the process. This module imports next to nothing, because
`keyturn exec` waits for it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

MASK = "<secret>"


class Secret:
    """A secret text that refuses to show itself.

    Not a `str` subclass on purpose: `strip`, `join`, format widths and `shlex.quote` would return
    the plain text of one.

    Raises:
        ValueError: The text is empty; an empty secret is a missing one.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("a secret must not be empty")
        self._text = text

    def reveal(self) -> str:
        """Return the plain text; call it only where the text leaves the process."""
        return self._text

    def fingerprint(self) -> str:
        """Return 8 hex digits (the first 32 bits of SHA-256) that tell two keys apart.

        Safe to show for generated keys, which carry 256 bits. A weak password chosen by a person
        could be guessed from it, so `init` and `rotate` refuse weak values.
        """
        return self.digest()[:8]

    def digest(self) -> str:
        """Return the SHA-256 as 64 hex digits: what the gateway's guard knows a key by.

        Only for generated keys, for the reason that `fingerprint` gives.
        """
        import hashlib

        return hashlib.sha256(self._text.encode("utf-8", "surrogatepass")).hexdigest()

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac

        mine, theirs = (s._text.encode("utf-8", "surrogatepass") for s in (self, other))
        return hmac.compare_digest(mine, theirs)

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce_ex__(self, protocol: object) -> "NoReturn":
        raise TypeError("a Secret refuses to be pickled")

    def __getstate__(self) -> "NoReturn":
        raise TypeError("a Secret refuses to be pickled")
