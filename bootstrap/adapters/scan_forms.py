"""What `keyturn scan` searches for of the secrets in force: the spellings of their values."""

import re
from collections.abc import Iterable

from bootstrap.domain.masking import spellings
from bootstrap.domain.scan_cut import LONGEST_RUN
from bootstrap.domain.scan_keys import SoughtKey
from bootstrap.domain.scanning import Form, Hunter, Print
from bootstrap.domain.secret import Secret

# A shorter value would be found by accident.
SHORTEST = 8
# Found by its digest wherever `sk-` stands, also as base64; its other spellings are no others.
_PLAIN_KEY = re.compile(rf"sk-[A-Za-z0-9_-]{{13,{LONGEST_RUN - 4}}}")


def hunter_for(keys: Iterable[SoughtKey], values: Iterable[Secret]) -> Hunter:
    """Return what finds `keys`, knowing the values of those that are in force.

    Values below 8 characters are not looked for; see `too_short`.
    """
    forms: dict[bytes, Form] = {}
    lengths = set()
    for secret in values:
        text, mark = secret.reveal(), secret.fingerprint()
        lengths.add(len(text))
        if _PLAIN_KEY.fullmatch(text) or too_short(secret):
            continue
        raw = text.encode("utf-8", "surrogateescape")
        for spelling in spellings(mark, text):
            # The single lines of a longer text would be found in other texts as well.
            if len(spelling) >= SHORTEST and (spelling == raw or spelling not in raw):
                forms.setdefault(spelling, Form(mark, spelling != raw))
    by_value = {form.key for form in forms.values()}
    prints: list[Print] = [key.print for key in keys if key.fingerprint not in by_value]
    return Hunter(prints, forms, {length for length in lengths if length >= SHORTEST})


def too_short(secret: Secret) -> bool:
    """Tell whether a value is too short to be looked for."""
    return len(secret.reveal()) < SHORTEST
