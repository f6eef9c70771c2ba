"""Words of somebody else's, as a terminal may get them."""


def printable(text: str) -> str:
    """Return `text` with U+FFFD for all that a terminal could obey, line ends too; tabs stay."""
    shown = (c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(shown)
