"""Find keys in bytes: by their value where it is known, else by their fingerprint alone.

    hunter = Hunter(prints, forms)
    for hit in hunter.search(chunks):   # of one file, in pieces of any size
        hit.key, hit.line, hit.offset

Of a key that was rotated out nothing is left but the first 8 digits of its SHA-256. So whatever
could be a key is cut out of the bytes, hashed, and compared. Nothing found is ever handed out.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from bootstrap.domain.scan_cut import (
    LONGEST_RUN,
    LONGEST_WORD,
    SHORTEST,
    coded_key_runs,
    key_runs,
    pieces,
    starts,
    words,
)
from bootstrap.domain.strength import LEAST_LENGTH, weakness

_OVERLAP = 4096
_MOST_SEEN = 100_000
# As long as the keys that keyturn makes: `sk-` and 43.
_USUAL_LENGTH = 46
_SHORT_DIGEST = 8


@dataclass(frozen=True)
class Print:
    """A key that is known by its digest, or by the beginning of it.

    Attributes:
        key: What hits call it.
        digest: 64 hex digits, or the first 8.
        strong: Whether keyturn would only have taken a strong value for it.
    """

    key: str
    digest: str
    strong: bool = True


@dataclass(frozen=True)
class Form:
    """A spelling of a key whose value is known.

    Attributes:
        key: What hits call it.
        encoded: Whether it is another one than the value itself.
    """

    key: str
    encoded: bool


@dataclass(frozen=True)
class Hit:
    """One place in the bytes.

    Attributes:
        key: Which key lies there.
        offset: Where it begins, in bytes from 0.
        line: In which line, from 1.
        encoded: Whether it is spelled in another form than its own.
    """

    key: str
    offset: int
    line: int
    encoded: bool = False


class _Span(NamedTuple):
    start: int
    stop: int
    key: str
    encoded: bool
    judged_by: int  # the end of what had to be seen to tell


class _View:
    """The stretch of a stream that is looked at."""

    def __init__(self) -> None:
        self.data = b""
        self.base = 0  # where it begins in the stream
        self._line = 1  # and in which line
        self._done = 0  # up to where in it everything was told
        self._told: set[tuple[str, int]] = set()

    def move_on(self, keep: int) -> None:
        """Keep only the end. What ends there may go on in the next chunk, so it is not yet told."""
        cut = max(0, len(self.data) - keep)
        self._line += self.data.count(b"\n", 0, cut)
        self.data, self.base = self.data[cut:], self.base + cut
        self._done = len(self.data)
        self._told = {(key, offset) for key, offset in self._told if offset >= self.base}

    def hits(self, spans: Iterable[_Span], *, final: bool = False) -> Iterator[Hit]:
        """Yield the spans that can be judged now and could not before."""
        end = None if final else len(self.data)
        fresh = {
            s for s in spans if self._done <= s.judged_by and (end is None or s.judged_by < end)
        }
        counted, line = 0, self._line
        for span in sorted(fresh):
            line += self.data.count(b"\n", counted, span.start)
            counted = span.start
            place = span.key, self.base + span.start
            if place not in self._told:
                self._told.add(place)
                yield Hit(*place, line, span.encoded)


class Hunter:
    """Searches for all keys at once; one instance serves one command.

    Args:
        prints: Keys that are known by digest.
        forms: Spellings of keys that are known by value; none may be empty.
        lengths: How long the keys in force are: an old one that is followed by other letters,
            as in a database, ends there.
    """

    def __init__(
        self,
        prints: Iterable[Print],
        forms: Mapping[bytes, Form],
        lengths: Collection[int] = (),
    ) -> None:
        self._prints: dict[bytes, list[Print]] = {}
        for known in prints:
            self._prints.setdefault(bytes.fromhex(known.digest[:_SHORT_DIGEST]), []).append(known)
        every = [known for row in self._prints.values() for known in row]
        by_word = [known for known in every if len(known.digest) == _SHORT_DIGEST]
        self._wants_words = bool(by_word)
        self._shortest = LEAST_LENGTH if all(known.strong for known in by_word) else SHORTEST
        self._forms = dict(forms)
        self._lengths = sorted({_USUAL_LENGTH, *lengths})
        self._overlap = max([_OVERLAP, *(2 * len(form) for form in forms)])
        self._seen: set[bytes] = set()
        self._learned: dict[bytes, str] = {}  # words that turned out to be keys

    def __repr__(self) -> str:
        return f"Hunter({len(self._prints)} prints, {len(self._forms)} forms)"

    def search(self, chunks: Iterable[bytes]) -> Iterator[Hit]:
        """Yield every hit in a stream, in no order, however it is cut into chunks."""
        view = _View()
        for chunk in chunks:
            view.data += chunk
            yield from view.hits(self._spans(view.data, cut=view.base > 0, final=False))
            view.move_on(self._overlap)
        if view.data:
            yield from view.hits(self._spans(view.data, cut=view.base > 0, final=True), final=True)

    def covered(self, text: bytes) -> bytes:
        """Return a short text, such as a file's name, with every key in it replaced by its name."""
        shown, position = [], 0
        for span in sorted(set(self._spans(text, cut=False, final=True))):
            if span.start >= position:
                shown += [text[position : span.start], b"<" + span.key.encode() + b">"]
            position = max(position, span.stop)
        return b"".join([*shown, text[position:]])

    def _spans(self, data: bytes, *, cut: bool, final: bool) -> Iterator[_Span]:
        """Yield what is found in `data`, the same place twice at times; see `words`."""
        if self._prints:
            yield from self._keys(data)
        if self._wants_words:
            self._learn(words(data, self._shortest, cut=cut, final=final))
            for form, key in self._learned.items():
                for start in starts(data, form):
                    stop = start + len(form)
                    # A word is learned once its end was seen.
                    yield _Span(start, stop, key, False, stop + LONGEST_WORD + 1)
        for text, form_of in self._forms.items():
            for start in starts(data, text):
                stop = start + len(text)
                yield _Span(start, stop, form_of.key, form_of.encoded, stop)

    def _keys(self, data: bytes) -> Iterator[_Span]:
        for start, run in key_runs(data):
            for length, seen, key in self._begins(run):
                yield _Span(start, start + length, key, False, start + seen)
        for start, stop, run in coded_key_runs(data):
            for _, _, key in self._begins(run):
                yield _Span(start, stop, key, True, stop)

    def _begins(self, run: bytes) -> Iterator[tuple[int, int, str]]:
        """Yield (length, how much had to be seen, key) for each known key at the begin of a run."""
        known = {n: n for n in self._lengths if SHORTEST <= n <= len(run)}
        whole = () if len(run) == LONGEST_RUN else (len(run), len(run.rstrip(b"-_")))
        for length, seen in {**dict.fromkeys(whole, len(run)), **known}.items():
            # A weak one counts where it stands alone: `adopt` may have brought a placeholder.
            for key in self._known(run[:length], weak_too=length in whole):
                yield length, seen, key

    def _learn(self, found: set[bytes]) -> None:
        """Hash the words that were not seen before; those that are a key are searched from now."""
        if len(self._seen) > _MOST_SEEN:
            self._seen.clear()
        fresh = found - self._seen
        self._seen |= fresh
        for word in fresh:
            for piece in pieces(word, self._shortest):
                for key in self._known(piece):
                    self._learned[piece] = key

    def _known(self, candidate: bytes, *, weak_too: bool = False) -> Iterator[str]:
        digest = sha256(candidate).digest()
        for known in self._prints.get(digest[:4], ()):
            fits = weak_too or _fits(candidate, known)
            if fits and digest.hex().startswith(known.digest):
                yield known.key


def _fits(candidate: bytes, known: Print) -> bool:
    """Tell whether the value could have been that key: 32 bits alone would be wrong at times."""
    if len(known.digest) > _SHORT_DIGEST or not known.strong:
        return True
    return weakness(candidate.decode("ascii", "replace")) is None
