"""Random JSON-with-comments texts for hypothesis: odd space, comments, spellings, duplicates."""

import json

from hypothesis import strategies as st

# Comments hold what would confuse an editor that does not know comments.
SPACES = ["", " ", "\n", "\r\n", "\t", "\n\n    "]
COMMENTS = ["/* c */", "/*, ] } */", "// l\n", '// " , [\r\n', "/**/", "/* ä */", "//\n"]
SCALARS = [
    "1",
    "1e3",
    "-0.0",
    "1.50",
    "12345678901234567890",
    "true",
    "false",
    "null",
    '""',
    '"\\u00e9 \\/"',
    '"é // no comment"',
    '"/* nor this */"',
    '"\\ud800"',
    '"\\"],}"',
]
KEYS = ["a", "model", "displayName", "id", "x y", "\\u0061", "customModels", "baseUrl"]


def gaps() -> st.SearchStrategy[str]:
    """Space and comments between two tokens."""
    return st.lists(st.sampled_from(SPACES + COMMENTS), max_size=3).map("".join)


@st.composite
def lists(
    draw: st.DrawFn, brackets: str, items: list[str], around: st.SearchStrategy[str] | None = None
) -> str:
    """The text of a container that holds the given items, with random gaps."""
    gap = around if around is not None else gaps()
    inside = draw(gap) + "".join(
        item + (draw(gap) + "," + draw(gap) if index < len(items) - 1 else draw(gap))
        for index, item in enumerate(items)
    )
    return brackets[0] + inside + brackets[1]


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    """The text of any value."""
    kind = draw(st.integers(0, 3 if depth else 1))
    if kind < 2:
        return draw(st.sampled_from(SCALARS))
    count = draw(st.integers(0, 3))
    if kind == 2:
        return draw(lists("[]", [draw(values(depth - 1)) for _ in range(count)]))
    return draw(lists("{}", [draw(members(depth - 1)) for _ in range(count)]))


@st.composite
def members(draw: st.DrawFn, depth: int = 2, key: str | None = None, value: str = "") -> str:
    """The text of a member; the key is written as it is given, escapes and all."""
    name = key if key is not None else draw(st.sampled_from(KEYS))
    return f'"{name}"{draw(gaps())}:{draw(gaps())}{value or draw(values(depth))}'


@st.composite
def documents(draw: st.DrawFn, array_key: str, entries: list[str]) -> str:
    """The text of a document whose effective `array_key` is a list of the given texts.

    Other members stand around it, also an earlier one of the same key, which does not count.
    """
    others = [f"o{n}" for n in range(draw(st.integers(0, 2)))]
    before = [draw(members(key=key)) for key in others]
    if draw(st.booleans()):
        before.append(draw(members(key=array_key)))
    after = [draw(members(key=f"p{n}")) for n in range(draw(st.integers(0, 2)))]
    array = draw(lists("[]", entries))
    text = draw(lists("{}", [*before, draw(members(key=array_key, value=array)), *after]))
    return draw(gaps()) + text + draw(gaps()) + draw(st.sampled_from(["", "// end"]))


def spelled(entry: dict[str, object]) -> st.SearchStrategy[str]:
    """The text of an entry with random gaps."""
    return st.tuples(
        *(
            members(key=json.dumps(key)[1:-1], value=json.dumps(value))
            for key, value in entry.items()
        )
    ).flatmap(lambda texts: lists("{}", list(texts)))
