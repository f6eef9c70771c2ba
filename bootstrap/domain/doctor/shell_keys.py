"""Keys that stand literally in the start files of shells, and how they are replaced."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from bootstrap.domain.secret import Secret

_NAMES = "ANTHROPIC_AUTH_TOKEN|ANTHROPIC_API_KEY|LITELLM_MASTER_KEY|OPENAI_API_KEY"
# A value of letters and digits only: what could be expanded by the shell is no literal.
_VALUE = r"""(?P<quote>["']?)(?P<value>[A-Za-z0-9._~+/=-]{8,})(?P=quote)(?=[\s;'"&|)]|$)"""
_ASSIGNED = re.compile(rf"(?<![\w$])(?P<name>{_NAMES})=(?P<whole>{_VALUE})")
_FISH = re.compile(rf"\bset(?:\s+-\w+)+\s+(?P<name>{_NAMES})\s+(?P<whole>{_VALUE})")
BASE_URL = re.compile(r"""ANTHROPIC_BASE_URL(?:=|\s+)["']?(https?://[^\s"';\\]+)""")


@dataclass(frozen=True)
class Literal:
    """A key in a shell's file.

    Attributes:
        line: 1-based.
        name: The variable.
        key: The value.
        start, end: Where the value stands, its quotes included; in characters.
        safe: Whether a command can take its place: it stands in no comment and in no double quotes.
        fish: Whether it is written for fish.
    """

    line: int
    name: str
    key: Secret
    start: int = field(compare=False)
    end: int = field(compare=False)
    safe: bool
    fish: bool


def literals_in(data: bytes) -> Iterator[Literal]:
    """Yield the keys that stand in a file, in their order."""
    text = data.decode("utf-8", "surrogateescape")
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        for pattern in (_ASSIGNED, _FISH):
            for match in pattern.finditer(line):
                yield Literal(
                    number,
                    match["name"],
                    Secret(match["value"]),
                    start + match.start("whole"),
                    start + match.end("whole"),
                    _state(line[: match.start("whole")]) not in ('"', "#"),
                    pattern is _FISH,
                )
        start += len(line) + 1


def with_command(data: bytes, which: "list[Literal]", command: str) -> bytes:
    """Return the file with a command in the place of these keys.

    Args:
        data: The file.
        which: From `literals_in` of the same bytes.
        command: A shell command without quotes of any kind.
    """
    text = data.decode("utf-8", "surrogateescape")
    for literal in sorted(which, key=lambda found: found.start, reverse=True):
        new = f"({command})" if literal.fish else f'"$({command})"'
        text = text[: literal.start] + new + text[literal.end :]
    return text.encode("utf-8", "surrogateescape")


def _state(before: str) -> str:
    """Return in what the end of a line's beginning stands: `'`, `"`, `#` (a comment), or nothing.

    Quotes that began on an earlier line are not seen.
    """
    state, position = "", 0
    while position < len(before):
        char = before[position]
        if char == "\\" and state != "'":
            position += 1
        elif state in ("'", '"'):
            state = "" if char == state else state
        elif char in "'\"":
            state = char
        elif char == "#" and (position == 0 or before[position - 1] in " \t;"):
            return "#"
        position += 1
    return state
