"""Bytes that do not print themselves: what a file should hold, and what was found there."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath


class Content:
    """The bytes of a target, opaque because they may hold a key.

    Attributes:
        data: The bytes themselves.
        digest: Their SHA-256, hexadecimal.
    """

    __slots__ = ("data", "digest")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest = digest_of(data)

    def __repr__(self) -> str:
        return f"Content({len(self.data)} bytes, sha256 {self.digest[:8]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True)
class FileState:
    """What stands at a path.

    Attributes:
        content: Its bytes, never printed.
        mode: Its permission bits, for example 0o600.
        real: The path behind a symlink, or the path itself.
    """

    content: Content
    mode: int
    real: str


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of `data`, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Write:
    """One file to put in force.

    Attributes:
        path: Where.
        content: What; None removes the file.
        mode: Permission bits from the first byte on.
        expected: The digest found when the plan was made; None if there was no file.
        again: For files that another program writes, too: makes `content` anew from the bytes that
            stand there now. None where such a change is a conflict.
        shared: Another program writes or watches it, as with every `again`.
    """

    path: PurePath
    content: Content | None
    mode: int
    expected: str | None
    again: "Callable[[bytes], Content] | None" = field(default=None, compare=False)
    shared: bool = field(default=False, compare=False)

    @property
    def is_shared(self) -> bool:
        """Whether another program writes or watches the file."""
        return self.shared or self.again is not None

    @classmethod
    def over(
        cls,
        found: FileState | None,
        path: PurePath,
        content: Content | None,
        mode: int,
        again: "Callable[[bytes], Content] | None" = None,
    ) -> "Write":
        """Return the write that puts `content` in the place of `found`, which stood at `path`."""
        return cls(path, content, mode, found.content.digest if found else None, again)
