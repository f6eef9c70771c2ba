"""The inside of an array or object as text: items, and the gaps of space and comments between.

Editing this list changes nothing but what it is asked to. No comment outside a removed item is
ever dropped, and removing what was appended gives back the text as it was, to the byte.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bootstrap.domain.jsonc import Array, Document, Member, Node, Object

_PIECE = re.compile(
    r"(?P<space>[ \t\n\r]+)|(?P<line>//[^\n\r]*)|(?P<block>/\*.*?\*/)|(?P<comma>,)", re.DOTALL
)
# Writes an item for the indentation of its first line; None: keep it on one line.
Render = Callable[[str | None], str]


@dataclass(frozen=True)
class Layout:
    """How a document is written.

    Attributes:
        newline: `\\n` or `\\r\\n`.
        unit: One step of indentation; empty where the document does not indent.
        spaced: Whether a space follows a colon or a comma.
    """

    newline: str = "\n"
    unit: str = "  "
    spaced: bool = True

    @classmethod
    def of(cls, document: Document) -> "Layout":
        """Return the layout that the members of the root show; the default where there are none."""
        text, members = document.text, document.root.members
        newline = "\r\n" if text[: text.find("\n")].endswith("\r") else "\n"
        if not members:
            return cls(newline)
        edges = [document.root.start + 1, *(member.end for member in members)]
        gaps = (text[a : m.start] for a, m in zip(edges, members, strict=False))
        starts = (gap.rpartition("\n")[2] for gap in gaps if "\n" in gap)
        unit = next((start for start in starts if not start.strip(" \t")), "")
        return cls(newline, unit, text[members[0].value.start - 1] in " \t\n")


class _Piece(NamedTuple):
    kind: str
    text: str


class CommaList:
    """Items of a container; `gaps[i]` stands before item i, the last gap after all items.

    Args:
        text: The document.
        node: The array or object in it.
        layout: How to write where the items show no way.
    """

    def __init__(self, text: str, node: Array | Object, layout: Layout) -> None:
        parts: Sequence[Node | Member] = node.members if isinstance(node, Object) else node.items
        edges = [node.start + 1, *(e for p in parts for e in (p.start, p.end)), node.end - 1]
        self.items = [text[part.start : part.end] for part in parts]
        self._gaps = [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
        if isinstance(node, Object) and not parts and not self._gaps[0].strip(" \t\n\r"):
            self._gaps = [""]
        self._indent = indent_of(text, node.start)
        self._layout = layout

    def __str__(self) -> str:
        """The inside of the container, without its brackets."""
        pairs = zip(self._gaps, self.items, strict=False)
        return "".join(gap + item for gap, item in pairs) + self._gaps[-1]

    def append(self, render: Render) -> None:
        """Add an item after the last one, written as that is written."""
        kept, space = _split(self._gaps[-1])
        lead = self._lead(kept)
        indent = lead.rpartition("\n")[2] if "\n" in lead else self._inline_indent()
        self._gaps[-1] = ("," if self.items else "") + kept + lead
        self._gaps.append(self._tail(kept, space))
        self.items.append(render(indent))

    def remove(self, index: int) -> None:
        """Take an item out, with the comma that parts it from its neighbour."""
        before, after = self._gaps[index : index + 2]
        if index < len(self.items) - 1:
            gap = before + _from_first_comment(after)
        else:
            gap = _closed(before, after)
        del self.items[index]
        self._gaps[index : index + 2] = [gap]

    def _lead(self, kept: str) -> str:
        """Return the space before a new last item; `kept` are the comments that precede it."""
        layout = self._layout
        own_line = layout.newline + self._indent + layout.unit
        if self.items:
            lead = _split(self._gaps[len(self.items) - 1])[1]
            lead = lead or (" " if layout.spaced else "")
        elif kept or not self._gaps[-1]:
            lead = own_line if layout.unit else ""
        else:
            lead = self._gaps[-1]
        return own_line if _ends_in_line_comment(kept) and "\n" not in lead else lead

    def _tail(self, kept: str, space: str) -> str:
        """Return the space after a new last item."""
        if self.items or kept or space or not self._layout.unit:
            return space
        return self._layout.newline + self._indent

    def _inline_indent(self) -> str | None:
        """Return the indentation that an item on the line of its neighbour continues."""
        last = self.items[-1] if self.items else ""
        return indent_of(last, len(last)) if "\n" in last else None


def indent_of(text: str, position: int) -> str:
    """Return the whitespace that the line of `position` starts with."""
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _pieces(gap: str) -> list[_Piece]:
    return [_Piece(match.lastgroup or "", match[0]) for match in _PIECE.finditer(gap)]


def _split(gap: str) -> tuple[str, str]:
    """Part a gap into everything up to its last comment or comma, and the space after that."""
    pieces = _pieces(gap)
    space = pieces[-1].text if pieces and pieces[-1].kind == "space" else ""
    return gap[: len(gap) - len(space)], space


def _ends_in_line_comment(gap: str) -> bool:
    pieces = _pieces(gap)
    return bool(pieces) and pieces[-1].kind == "line"


def _from_first_comment(gap: str) -> str:
    """Return the gap without its comma, from its first comment on; empty if it has none."""
    pieces = [piece for piece in _pieces(gap) if piece.kind != "comma"]
    if pieces and pieces[0].kind == "space":
        pieces = pieces[1:]
    return "".join(p.text for p in pieces) if any(p.kind != "space" for p in pieces) else ""


def _closed(before: str, after: str) -> str:
    """Return what stays of the two gaps around a removed last item."""
    kept, space = _split("".join(p.text for p in _pieces(before) if p.kind != "comma"))
    if not kept and not after.strip(" \t\n\r") and "," not in before:
        return before if before == after else ""
    if not _ends_in_line_comment(kept):
        return kept + after
    line_end = after.lstrip(" \t")  # blanks before it would become a part of the comment
    return kept + (line_end if line_end.startswith(("\n", "\r")) else space + after)
