"""Random JSON-with-comments texts for hypothesis: odd space, comments, spellings, duplicates."""

import json
from collections.abc import Mapping, Sequence
from itertools import cycle

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# A busy machine is no fault of the product.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Comments hold what would confuse an editor that does not know comments.
GAPS = [
    "",
    " ",
    "\n",
    "\r\n\t",
    "\n\n    ",
    "/* c */",
    " /*, ] } */ ",
    "// l\n",
    '\n  // " , [\r\n  ',
    "/**//* ä */",
    " //\r",
]
VALUES = [
    "1e3",
    "-0.0",
    "12345678901234567890",
    "true",
    "null",
    '"\\u00e9 \\/"',
    '"é // no comment"',
    '"/* nor this */"',
    '"\\ud800"',
    '"\\"],}"',
    "[]",
    "{ }",
    "[ // one\n1,/**/[2 ]\r\n]",
    '{"a":1, "a" : 2.50, "\\u0061": {"x y": [ ]} /* , */}',
    '{\n    "model": "gpt", // cloud\n    "customModels": [{"model": "a"}]\n  }',
]


class Writer:
    """Writes JSON with the given gaps between tokens, over and over."""

    def __init__(self, gaps: Sequence[str]) -> None:
        self._gaps = cycle(gaps)

    def gap(self) -> str:
        """Return the next gap."""
        return next(self._gaps)

    def container(self, brackets: str, items: Sequence[str]) -> str:
        """Return the text of an array or object that holds the given texts."""
        spaced = [self.gap() + item + self.gap() for item in items]
        return brackets[0] + (",".join(spaced) or self.gap()) + brackets[1]

    def member(self, key: str, value: str) -> str:
        """Return the text of a member."""
        return f"{json.dumps(key)}{self.gap()}:{self.gap()}{value}"

    def entry(self, entry: Mapping[str, object]) -> str:
        """Return the text of an object."""
        members = [self.member(key, json.dumps(value)) for key, value in entry.items()]
        return self.container("{}", members)


def writers() -> st.SearchStrategy[Writer]:
    """Ways to write."""
    return st.lists(st.sampled_from(GAPS), min_size=1, max_size=7).map(Writer)


def values() -> st.SearchStrategy[str]:
    """Texts of values, all kinds of them."""
    return st.sampled_from(VALUES)


@st.composite
def documents(draw: st.DrawFn, array_key: str, entries: Sequence[str]) -> str:
    """The text of a document whose effective `array_key` is a list of the given texts.

    Other members stand around it, also an earlier one of the same key, which does not count.
    """
    write = draw(writers())
    before = draw(st.lists(st.sampled_from(["o", "o", array_key]), max_size=2))
    after = draw(st.lists(st.sampled_from(["p", "q"]), max_size=2))
    members = [
        *(write.member(key, draw(values())) for key in before),
        write.member(array_key, write.container("[]", entries)),
        *(write.member(key, draw(values())) for key in after),
    ]
    end = draw(st.sampled_from(["", "\n", "// end"]))
    return write.gap() + write.container("{}", members) + write.gap() + end


def spelled(entry: Mapping[str, object]) -> st.SearchStrategy[str]:
    """The text of an entry with random gaps."""
    return writers().map(lambda write: write.entry(entry))
