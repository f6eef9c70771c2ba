"""Rendered bytes that do not print themselves, and what was found where they belong."""

import hashlib
from dataclasses import dataclass


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
