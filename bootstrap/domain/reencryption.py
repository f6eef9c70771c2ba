"""LiteLLM's own way to another encryption key: one start with the old one beside the new one.

Without a salt key LiteLLM encrypts what its database holds with its master key. Since 1.106 a start
that finds the earlier key in a variable of its own encrypts all of it anew, as often as one likes,
and logs how that went. Read in its source; there is no other way to learn the outcome.
"""

from collections.abc import Iterable

from bootstrap.domain.lab import Lab
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY

MIGRATE_FROM = "LITELLM_MIGRATE_FROM_MASTER_KEY"
_DONE = ("Done re-encrypting", "nothing in the database is left to migrate")
_FAILED = {
    "no database is connected": "it is not connected to its database",
    "Could not migrate stored values": "it could not encrypt them anew",
    "are still encrypted with the previous key": "some changed meanwhile and were left out",
    "is what encrypts your stored": "a salt key encrypts them",
}


def encryption_key(lab: Lab) -> str:
    """Return the name of what LiteLLM takes for its master key, and encrypts with."""
    return INTERNAL_KEY if lab.guarded else MASTER_KEY


def failure_in(log: Iterable[str]) -> str | None:
    """Return why the last start of this log did not encrypt everything anew, or None if it did."""
    why: str | None = "its log does not say that it encrypted them anew"
    for line in log:
        if any(words in line for words in _DONE):
            why = None
        for words, meaning in _FAILED.items():
            if words in line:
                why = meaning
    return why
