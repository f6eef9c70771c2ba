"""Mask secrets in a stream of bytes, however it is cut into pieces, and nothing else.

    masker = Masker(spellings("LITELLM_MASTER_KEY", "sk-…"))
    output += masker.feed(piece)      # as often as there is one
    output += masker.finish()

Only bytes that may be the beginning of a secret are held back, for as long as they may be.
"""

import base64
import json
import shlex
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

SHORTEST = 6


def spellings(name: str, text: str) -> dict[bytes, bytes]:
    """Return the forms in which a secret may be printed, each with its mask, `<NAME>`.

    As it is, each of its lines, as base64 (also within a longer text), URL, JSON and shell text.
    Forms other than the text itself are left out below 6 bytes, since they would be found by
    accident.

    Args:
        name: The secret's name.
        text: Its value.
    """
    raw = text.encode("utf-8", "surrogateescape")
    forms = {raw, *(form for form in _forms(text, raw) if len(form) >= SHORTEST)}
    return dict.fromkeys(forms, f"<{name}>".encode())


def _forms(text: str, raw: bytes) -> Iterator[bytes]:
    yield from raw.splitlines()
    yield from _base64_forms(raw)
    for url in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield url.encode()
        yield _lower_escapes(url).encode()
    valid = raw.decode("utf-8", "replace")
    for json_text in (json.dumps(valid), json.dumps(valid, ensure_ascii=False)):
        inner = json_text[1:-1]
        yield inner.encode()
        yield inner.replace("/", "\\/").encode()
        yield inner.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()
    yield from (form.encode("utf-8", "surrogateescape") for form in _shell_forms(text))


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    for shift in range(3):
        # The characters at both ends depend on the neighbours, so they are left out ...
        coded = base64.b64encode(b"\0" * shift + raw)
        start, end = (shift * 8 + 5) // 6, (shift + len(raw)) * 8 // 6
        inner = [coded[start:end]]
        if not shift:  # ... except where the secret is all there is
            inner += [coded, coded.rstrip(b"=")]
        for form in inner:
            yield form
            yield form.replace(b"+", b"-").replace(b"/", b"_")


def _shell_forms(text: str) -> Iterator[str]:
    yield shlex.quote(text).removeprefix("'").removesuffix("'")  # '"'"' for each quote
    yield text.replace("'", "'\\''")
    for special in ('\\"$`', "\\'", " !\"#$&'()*,;<>?[\\]^`{|}"):  # "…", $'…', printf %q
        escaped = "".join(f"\\{c}" if c in special else c for c in text)
        yield escaped
        yield escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _lower_escapes(url: str) -> str:
    """Spell %2F as %2f."""
    first, *rest = url.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


class Masker:
    """Masks a stream of bytes; one instance for each stream.

    Finds that overlap become one mask, that of the first, so that no rest of a second secret stays
    visible beside the first.

    Args:
        masks: What to look for, and what to put there. Neither may be empty.
    """

    def __init__(self, masks: Mapping[bytes, bytes]) -> None:
        self._masks = masks
        self._longest = max(map(len, masks), default=0)
        self._by_first: dict[int, list[bytes]] = {}
        for form in masks:
            self._by_first.setdefault(form[0], []).append(form)
        self._held = b""
        self._covered = 0  # how many of the held bytes belong to a find that was printed already

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes, and return those that can be printed now."""
        data = self._held + piece
        keep = self._possible_start(data)
        return self._release(data, len(data) - keep)

    def finish(self) -> bytes:
        """Return what was held back: the stream ended, so it was no secret."""
        return self._release(self._held, len(self._held))

    def _release(self, data: bytes, end: int) -> bytes:
        """Return data[:end] masked, and hold back the rest."""
        printed, position = [], self._covered
        for start, stop, mask in self._runs(data):
            if start >= end:
                break
            printed += [data[position:start], mask]
            position = stop
        if position < end:
            printed.append(data[position:end])
        self._held, self._covered = data[end:], max(0, position - end)
        return b"".join(printed)

    def _runs(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return (start, stop, mask) of every find, with those that overlap joined."""
        # What was printed before comes first, with no mask of its own.
        runs = [(0, self._covered, b"")] if self._covered else []
        for start, stop, mask in sorted(self._finds(data)):
            if runs and start < runs[-1][1]:
                first, end, shown = runs[-1]
                runs[-1] = first, max(end, stop), shown
            else:
                runs.append((start, stop, mask))
        return runs

    def _finds(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        for form, mask in self._masks.items():
            start = data.find(form)
            while start >= 0:
                yield start, start + len(form), mask
                start = data.find(form, start + 1)

    def _possible_start(self, data: bytes) -> int:
        """Return the length of the longest end of `data` that is a proper beginning of a form."""
        for length in range(min(self._longest - 1, len(data)), 0, -1):
            for form in self._by_first.get(data[-length], ()):
                if len(form) > length and form.startswith(data[-length:]):
                    return length
        return 0
