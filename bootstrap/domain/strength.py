"""Whether a text is strong enough to be a key, told without quoting it."""

import itertools
import re

LEAST_LENGTH = 32
LEAST_VARIETY = 8
_PREFIX = "sk-"
_ALPHABET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~+/=-]*")
# What sample files and chat answers put where a key belongs, in lower case.
_PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "your-",
    "your_",
    "master-key",
    "master_key",
    "password",
    "placeholder",
    "example",
    "replace",
    "insert-",
    "xxxx",
)


def weakness(text: str) -> str | None:
    """Return why `text` must not be a key (one clause, never quoting it), or None.

    A key has at least 32 varied characters after an `sk-`, all of them of the alphabet that an
    HTTP header, a shell, YAML and an env file carry unchanged.
    """
    if any(c.isspace() for c in text):
        return "it holds white space or a line break"
    if not text.isascii():
        return "it holds a character outside ASCII"
    lowered = text.lower()
    if lowered.startswith("sk-1234") or any(word in lowered for word in _PLACEHOLDERS):
        return "it is a placeholder from a sample"
    body = text.removeprefix(_PREFIX)
    if len(body) < LEAST_LENGTH:
        return f"it is shorter than {LEAST_LENGTH} characters" + (
            f" after {_PREFIX}" if body != text else ""
        )
    if not _ALPHABET.fullmatch(text):
        return "it holds other characters than letters, digits and . _ ~ + / = -"
    if _is_monotonous(body):
        return "it repeats itself or counts up, so it can be guessed"
    return None


def misfit(text: str) -> str | None:
    """Return why `text` cannot be a secret that somebody else made (one clause), or None.

    Never quotes it. Its length is not ours to judge, but what a header or an env file would change
    is a slip of a copy.
    """
    if any(c.isspace() for c in text):
        return "it holds white space or a line break"
    if not text.isascii() or not text.isprintable():
        return "it holds a character outside printable ASCII"
    if any(word in text.lower() for word in ("your-", "your_", "changeme", "placeholder")):
        return "it is a placeholder from a sample"
    return None


def _is_monotonous(body: str) -> bool:
    """Tell whether `body` has few characters, few steps between them, or is one part repeated.

    A random key of 32 hexadecimal digits has 14 different ones on average.
    """
    steps = {ord(after) - ord(before) for before, after in itertools.pairwise(body)}
    return (
        len(set(body)) < LEAST_VARIETY or len(steps) < LEAST_VARIETY or body in (body + body)[1:-1]
    )
