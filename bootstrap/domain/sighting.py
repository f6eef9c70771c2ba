"""What came of asking a client one question through the gateway."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sighting:
    """One probe.

    Attributes:
        at: When, epoch seconds.
        works: Whether the gateway's answer came back.
        fingerprint: Of the key in force then.
        detail: One clause for people; empty where all is well.
    """

    at: float
    works: bool
    fingerprint: str
    detail: str = ""
