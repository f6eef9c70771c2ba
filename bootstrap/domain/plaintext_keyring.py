"""The file in which `keyrings.alt` keeps secrets as plain text, base64-coded: keyring_pass.cfg.

It is an INI file with a section for each service and an option for each name, both escaped, and
options in lower case. A value stands in the lines below its option, which begin with white space.
"""

from collections.abc import Collection
from urllib.parse import unquote


def escape(text: str) -> str:
    """Spell `text` as keyrings.alt does: `_2D` for a byte that is no ASCII letter or digit."""
    return "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"_{byte:02X}"
        for byte in text.encode()
    )


def unescape(text: str) -> str:
    """Return the text that `escape` spelled so."""
    return unquote(text.replace("_", "%"))  # no '%' of its own: that is escaped, too


def without_entries(data: bytes, entries: Collection[tuple[str, str]]) -> bytes:
    """Return the file without some entries, and every other byte as it was.

    Args:
        data: The file.
        entries: (service, name) of those that go; names in lower case.
    """
    kept: list[bytes] = []
    service, goes = "", False
    for line in data.splitlines(keepends=True):
        text = line.decode("utf-8", "replace")
        if text.startswith("["):
            service, goes = text[1:].partition("]")[0], False
        elif not text[:1].isspace():
            name = text.replace(":", "=").partition("=")[0].strip().lower()
            goes = any(
                service == escape(place) and unescape(name) == wanted for place, wanted in entries
            )
        if not goes:
            kept.append(line)
    return b"".join(kept)
