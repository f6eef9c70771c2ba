"""Take known secrets out of text that other programs wrote."""

from collections.abc import Iterable, Mapping

from bootstrap.domain.masking import SHORTEST, spellings
from bootstrap.domain.printable import printable
from bootstrap.domain.redact import mask_unknown
from bootstrap.domain.secret import Secret

# Masking less would garble every line, and the gaps would spell it.
_SHORTEST_WHOLE = 4


class KnownSecrets:
    """Masks each secret it knows, in every spelling of `bootstrap.domain.masking.spellings`.

    Texts of less than four characters are left alone.

    Args:
        secrets: By name; the name and the fingerprint are what is shown instead.
    """

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._masks: dict[str, str] = {}
        for name, secret in secrets.items():
            mask = f"<{name} {secret.fingerprint()}>"
            for form in _forms(secret.reveal()):
                self._masks.setdefault(form, mask)
        self._order = sorted(self._masks, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return `text` with every form of every known secret masked."""
        for form in self._order:
            text = text.replace(form, self._masks[form])
        return text

    def redact(self, lines: Iterable[str]) -> list[str]:
        """Return the lines with known secrets, and what looks like one, masked.

        What a terminal could obey is replaced: a log repeats what clients send.
        """
        return [printable(mask_unknown(self.mask(line))) for line in lines]


def _forms(text: str) -> set[str]:
    """Return what to mask: the spellings of a value, and each of its lines without indentation."""
    try:
        forms = {form.decode("utf-8", "surrogateescape") for form in spellings("", text)}
    except UnicodeEncodeError:  # half a character, as JSON can spell one: no program prints it
        forms = {text}
    forms |= {line.strip() for line in text.splitlines() if len(line.strip()) >= SHORTEST}
    return forms if len(text) >= _SHORTEST_WHOLE else forms - {text}
