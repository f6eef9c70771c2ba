"""JSON with comments, parsed into nodes that remember where they stand.

Accepts what droid accepts in its settings files and refuses what makes droid drop such a file as a
whole without a word (seen with droid 0.215.0): `//` and `/* */` comments and CRLF pass; trailing
commas, a byte order mark, an empty file, a root that is no object, raw control characters in
strings, NaN and other whitespace do not. A lone CR ends a `//` comment, U+2028 does not. Invalid
UTF-8 is refused although droid reads it: it could not be written back as it was.
"""

import re
from dataclasses import dataclass
from json import JSONDecodeError, JSONDecoder
from typing import NoReturn, TypeAlias

MAX_DEPTH = 200
_SPACE = re.compile(r"[ \t\n\r]*")
_LINE_COMMENT = re.compile(r"//[^\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_LONGEST_INT = 300  # digits; longer ones are beyond any double, and slow to convert
_read_string = JSONDecoder().raw_decode


class MalformedJson(ValueError):
    """A text that droid would not read, or that cannot be edited.

    Args:
        line: 1-based.
        column: 1-based, in characters.
        reason: One clause that quotes nothing of the text, since that may be a key.
    """

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


@dataclass(slots=True)
class Scalar:
    """A string, number, boolean or null in `text[start:end]`."""

    start: int
    end: int
    value: object


@dataclass(slots=True)
class Array:
    """An array in `text[start:end]`, brackets included."""

    start: int
    end: int
    items: "list[Node]"


@dataclass(slots=True)
class Member:
    """A key and its value; `start` is where the key's quote stands."""

    start: int
    key: str
    value: "Node"

    @property
    def end(self) -> int:
        """Where the value ends."""
        return self.value.end


@dataclass(slots=True)
class Object:
    """An object in `text[start:end]`, braces included; duplicate keys are all in `members`."""

    start: int
    end: int
    members: list[Member]

    def last(self, key: str) -> Member | None:
        """Return the member that counts for `key`: the last one, as in droid; None if none."""
        return next((m for m in reversed(self.members) if m.key == key), None)


Node: TypeAlias = Scalar | Array | Object


@dataclass(frozen=True)
class Document:
    """A parsed text and the object at its root; the spans of all nodes index `text`."""

    text: str
    root: Object


def parse(data: bytes) -> Document:
    """Return the document that `data` spells, in time linear in its size.

    Raises:
        MalformedJson: It is not UTF-8, not JSON with comments, nested deeper than MAX_DEPTH, or
            its root is not an object.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise malformed(before, len(before), "it is not valid UTF-8 there") from None
    if text.startswith("\ufeff"):
        raise MalformedJson(1, 1, "it starts with a byte order mark")
    return Document(text, _Parser(text).root())


def malformed(text: str, position: int, reason: str) -> MalformedJson:
    """Return the error for `position`, an index into `text`."""
    line = text.count("\n", 0, position) + 1
    return MalformedJson(line, position - (text.rfind("\n", 0, position) + 1) + 1, reason)


def skip_gap(text: str, position: int) -> int:
    """Return where the next token starts, past whitespace and comments.

    Raises:
        MalformedJson: A comment does not end.
    """
    while True:
        match = _SPACE.match(text, position)
        position = match.end() if match else position
        if text[position : position + 1] != "/":
            return position
        if text.startswith("//", position):
            comment = _LINE_COMMENT.match(text, position)
            position = comment.end() if comment else position
        elif text.startswith("/*", position):
            end = text.find("*/", position + 2)
            if end < 0:
                raise malformed(text, position, "a comment starts there and does not end")
            position = end + 2
        else:
            return position


def plain(node: Node) -> object:
    """Return the node as dicts, lists and scalars; of duplicate keys the last counts."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Array):
        return [plain(item) for item in node.items]
    return {member.key: plain(member.value) for member in node.members}


def same(left: object, right: object) -> bool:
    """Tell whether two plain values are the same JSON value: `1` is `1.0`, but not `true`."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


class _Parser:
    """One pass over a text, with its own stack instead of recursion."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[Array | Object] = []
        self._keys: list[tuple[int, str]] = []

    def root(self) -> Object:
        """Return the object at the root."""
        self._skip()
        if self._at == len(self._text):
            self._fail("there is nothing in it")
        if self._text[self._at] != "{":
            self._fail("its root is not an object")
        node = self._tree()
        self._skip()
        if self._at < len(self._text):
            self._fail("something follows the end of the root object")
        return node

    def _tree(self) -> Object:
        while True:
            node = self._scalar_or_open()
            while node is not None:
                if not self._open and isinstance(node, Object):
                    return node
                self._attach(node)
                node = self._next_or_close()

    def _scalar_or_open(self) -> Node | None:
        """Read a scalar or an empty container; None after the start of one that is not empty."""
        start, text = self._at, self._text
        char = text[start : start + 1]
        if char == '"':
            return Scalar(start, self._end_of_string(), self._string)
        if char in ("{", "["):
            return self._begin(char)
        if char in _WORDS:
            word, value = _WORDS[char]
            if text.startswith(word, start):
                self._at = start + len(word)
                return Scalar(start, self._at, value)
        number = _NUMBER.match(text, start)
        if number is None:
            self._fail("a value is expected there" if char else "it ends too early")
        self._at = number.end()
        return Scalar(start, self._at, _number(number))

    def _begin(self, char: str) -> Node | None:
        node: Array | Object = Object(self._at, 0, []) if char == "{" else Array(self._at, 0, [])
        self._at += 1
        self._skip()
        if self._text.startswith("}" if char == "{" else "]", self._at):
            self._at += 1
            node.end = self._at
            return node
        if len(self._open) == MAX_DEPTH:
            self._fail("it is nested too deeply")
        self._open.append(node)
        if char == "{":
            self._key()
        return None

    def _next_or_close(self) -> Node | None:
        """Go on to the next value of the innermost container (None), or return it closed."""
        top = self._open[-1]
        closer = "}" if isinstance(top, Object) else "]"
        self._skip()
        char = self._text[self._at : self._at + 1]
        if char == closer:
            self._at += 1
            top.end = self._at
            return self._open.pop()
        if char != ",":
            self._fail(f"a comma or {closer} is expected there" if char else "it ends too early")
        comma = self._at
        self._at += 1
        self._skip()
        if self._text.startswith(closer, self._at):
            self._at = comma
            self._fail("a comma stands there before the closing bracket")
        if closer == "}":
            self._key()
        return None

    def _attach(self, node: Node) -> None:
        top = self._open[-1]
        if isinstance(top, Array):
            top.items.append(node)
        else:
            start, key = self._keys.pop()
            top.members.append(Member(start, key, node))

    def _key(self) -> None:
        start = self._at
        if not self._text.startswith('"', start):
            self._fail("a key in double quotes is expected there")
        self._end_of_string()
        self._keys.append((start, self._string))
        self._skip()
        if not self._text.startswith(":", self._at):
            self._fail("a colon is expected there")
        self._at += 1
        self._skip()

    def _end_of_string(self) -> int:
        """Read the string that starts here into `_string`; return where it ends."""
        try:
            self._string, self._at = _read_string(self._text, self._at)
        except JSONDecodeError as error:
            self._at = min(error.pos, len(self._text))
            self._fail(_string_problem(error.msg))
        return self._at

    def _skip(self) -> None:
        self._at = skip_gap(self._text, self._at)

    def _fail(self, reason: str) -> NoReturn:
        raise malformed(self._text, self._at, reason)


def _number(match: re.Match[str]) -> int | float:
    whole = match[1] is None and match[2] is None and len(match[0]) <= _LONGEST_INT
    return int(match[0]) if whole else float(match[0])


def _string_problem(message: str) -> str:
    """Translate an error of the json module, whose texts may quote the string."""
    if message.startswith("Unterminated"):
        return "a string starts there and does not end"
    if message.startswith("Invalid control character"):
        return "a string holds a raw control character there"
    return "a string holds a malformed escape there"
