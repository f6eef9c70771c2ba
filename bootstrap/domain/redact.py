"""Show a difference between two files without showing a value that could be a key.

Known secrets are masked by the caller first; this masks what merely looks like one, since the file
found may hold keys that we never knew.
"""

import difflib
import re
from collections.abc import Callable, Iterator

_HIDDEN = "<hidden>"
_SENSITIVE = re.compile(
    r"""(?ix)
    ( [\w.\-]*
      (?: key | token | secret | passw(?:or)?d | authorization | credential )
      [\w.\-]* ["']? )
    ( \s* [:=] \s* )
    ( ["']? )
    (?! os\.environ/ | \$\{ | none\b | < )
    ( [^\s"',}\]]+ )
    """,
)
_BEARER = re.compile(r"(?i)(bearer\s+)\S+")
# Long runs of mixed characters: paths and URLs have separators, so they do not match.
_RANDOM = re.compile(r"(?<![\w/.:\-])(?=[\w+=\-]*\d)(?=[\w+=\-]*[A-Za-z])[\w+=\-]{20,}(?![\w/.])")
_URL_LOGIN = re.compile(r"(://)[^/\s@]+@")
_ASSIGNMENT = re.compile(r"^(\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*=)(?!<)(.+)$")
_MOST_LINES = 60


def mask_unknown(line: str) -> str:
    """Return `line` with whatever looks like a key hidden."""
    line = _URL_LOGIN.sub(rf"\1{_HIDDEN}@", line)
    line = _BEARER.sub(rf"\1{_HIDDEN}", line)
    line = _SENSITIVE.sub(rf"\1\2\3{_HIDDEN}", line)
    return _RANDOM.sub(_HIDDEN, line)


def safe_diff(
    found: bytes | None, wanted: bytes, *, known: Callable[[str], str], env_file: bool
) -> Iterator[str]:
    """Yield the lines of a unified diff, without any value that is or looks like a key.

    Args:
        found: What stands there, or None (then there is nothing to compare, and nothing is shown).
        wanted: What should.
        known: Masks the secrets that are known, for example as `<LITELLM_MASTER_KEY 1a2b3c4d>`.
        env_file: Every value of a NAME=VALUE line is hidden unless `known` has masked it.
    """
    if found is None:
        return
    old, new = (_lines(text, known, env_file) for text in (found, wanted))
    shown = 0
    for line in difflib.unified_diff(old, new, lineterm="", n=1):
        if line.startswith(("---", "+++")):
            continue
        shown += 1
        if shown > _MOST_LINES:
            yield "…"
            return
        yield line


def _lines(data: bytes, known: Callable[[str], str], env_file: bool) -> list[str]:
    text = data.decode("utf-8", "replace")
    safe = []
    for line in text.splitlines():
        shown = known(line)
        shown = _ASSIGNMENT.sub(rf"\1{_HIDDEN}", shown) if env_file else mask_unknown(shown)
        safe.append(
            "".join(
                c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in shown
            )
        )
    return safe
