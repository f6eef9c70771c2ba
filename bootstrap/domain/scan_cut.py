"""Cut out of bytes what could be a key: words, runs of a key's letters, base64 text."""

import re
from binascii import a2b_base64
from collections.abc import Iterator

SHORTEST = 16
LONGEST_WORD = 512
LONGEST_RUN = 256

_LETTERS = rb"[A-Za-z0-9_-]{%d,%d}" % (SHORTEST - 3, LONGEST_RUN - 3)
# The lookahead lets a second `sk-` within the same run count as well.
_KEY = re.compile(rb"sk-(?=(%s))" % _LETTERS)
_KEY_AT_START = re.compile(rb"sk-%s" % _LETTERS)
# `sk-` in base64, at each of its three alignments: what it must hold, how many characters before
# that belong to it as well, and how many are missing before those in their group of four.
_CODED_KEYS = ((b"c2st", 0, 0), (b"NrL", 1, 1), (b"zay", 1, 2))
_LONGEST_CODED = 4 * (LONGEST_RUN // 3 + 2)
_CODED = re.compile(rb"[A-Za-z0-9+/_-]*")
_CODED_LINES = re.compile(rb"[A-Za-z0-9+/_-]*(?:(?:\r?\n|\\n)[ \t]*[A-Za-z0-9+/_-]+)*")
_LINE_BREAK = re.compile(rb"(?:\r?\n|\\n)[ \t]*")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")

# What ends a word: everything but printable ASCII, and quotes, brackets and the like.
_ENDS = b"\"'`\\<>(){}[]|,;"
_TO_WORDS = bytes(c if 33 <= c <= 126 and c not in _ENDS else 32 for c in range(256))
_END = re.compile(b"[%s]" % re.escape(bytes(c for c in range(256) if _TO_WORDS[c] == 32)))
_PARTING = re.compile(rb"[=:@/?&#%]")
_NAMING = re.compile(rb"[=:@]")
_EDGES = b".,=:/~+-_@?&#%!$*^"


def starts(data: bytes, part: bytes) -> Iterator[int]:
    """Yield where `part` begins in `data`."""
    at = data.find(part)
    while at >= 0:
        yield at
        at = data.find(part, at + 1)


def words(data: bytes, shortest: int, *, cut: bool, final: bool) -> set[bytes]:
    """Return the words that a secret could be in.

    Args:
        data: A stretch of a text.
        shortest: How long such a word is at least.
        cut: Whether something went before it, so that its first word may be half a word.
        final: Whether nothing comes after it.
    """
    start, stop = 0, len(data)
    if cut:
        start = next((match.start() for match in _END.finditer(data)), stop)
    if not final:
        tail = max(start, stop - LONGEST_WORD - 1)
        stop = max((match.end() for match in _END.finditer(data, tail)), default=tail)
    # A line break within JSON text would become a letter of the word after it.
    whole = data[start:stop].replace(b"\\n", b"  ").translate(_TO_WORDS)
    return {word for word in whole.split() if shortest <= len(word) <= LONGEST_WORD}


def pieces(word: bytes, shortest: int) -> set[bytes]:
    """Return what of a word could be a secret: all of it, and what its separators part.

    `--password=abc`, `redis://:abc@host:6379/0`, `"Authorization: Bearer abc".`
    """
    if not _PARTING.search(word):
        return {word, *_at_least(shortest, word.rstrip(b".,:"), word.strip(_EDGES))}
    rests = [word, *(word[at.end() :] for at in _NAMING.finditer(word))]
    bare = (rest.rstrip(b".,:") for rest in rests)
    return {*_at_least(shortest, *rests, *bare, word.strip(_EDGES), *_PARTING.split(word))}


def _at_least(shortest: int, *found: bytes) -> Iterator[bytes]:
    return (piece for piece in found if len(piece) >= shortest)


def key_runs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (where, run) for each `sk-` and the letters of a key after it."""
    for match in _KEY.finditer(data):
        yield match.start(), b"sk-" + match[1]


def coded_key_runs(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (start, stop, run) for each such run that is base64, also broken into lines.

    Start and stop are those of the base64 text.
    """
    for mark, before, missing in _CODED_KEYS:
        for at in starts(data, mark):
            start = at - before
            for shape in (_CODED, _CODED_LINES) if start >= 0 else ():
                match = shape.match(data, start, start + _LONGEST_CODED)
                text = match[0] if match else b""
                raw = _decoded(b"A" * missing + _LINE_BREAK.sub(b"", text))
                run = _KEY_AT_START.match(raw, missing)
                if run:
                    yield start, start + len(text), run[0]


def _decoded(text: bytes) -> bytes:
    text = text[: len(text) - (len(text) % 4 == 1)].translate(_URL_SAFE)
    return a2b_base64(text + b"=" * (-len(text) % 4))
