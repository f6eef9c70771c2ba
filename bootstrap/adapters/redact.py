"""Take known secrets out of text that other programs wrote."""

import base64
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

from bootstrap.domain.redact import mask_unknown
from bootstrap.domain.secret import Secret

_SHORTEST = 6


class KnownSecrets:
    """Masks each secret it knows, line by line, in the clear and as base64, URL and JSON text.

    Texts of less than four characters are left alone: masking them would garble every line, and
    the gaps would spell them.

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
        """Return the lines with known secrets, and what looks like one, masked."""
        return [mask_unknown(self.mask(line)) for line in lines]


def _forms(text: str) -> set[str]:
    raw = text.encode("utf-8", "surrogatepass")
    forms = {quote(text, safe=kept, errors="replace") for kept in ("", "/")}
    forms.add(quote_plus(text, errors="replace"))
    forms |= {json.dumps(text, ensure_ascii=escaped)[1:-1] for escaped in (True, False)}
    forms |= {line.strip() for line in text.splitlines()}
    for shift in range(3):
        # The characters at both ends depend on the neighbours, so they are left out.
        coded = base64.b64encode(b"\0" * shift + raw).decode()
        start, end = (shift * 8 + 5) // 6, len(b"\0" * shift + raw) * 8 // 6
        forms |= {coded[start:end], coded[start:end].replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= _SHORTEST} | ({text} if len(text) > 3 else set())
