"""Show text from files and programs without showing a value that could be a key.

Known secrets are masked by the caller first; this masks what merely looks like one, since the text
may hold keys that we never knew. Where in doubt it hides too much: what must stay readable are
paths, URLs, ports and the names of models.
"""

import difflib
import re
from collections.abc import Callable, Iterator

from bootstrap.domain.printable import printable

_HIDDEN = "<hidden>"
_MOST_SHOWN = 60
_MOST_LINES = 5000  # more cannot be compared in reasonable time
_LONGEST_LINE = 2000

# `keyturn`, `keyring`, `max_tokens` and `tokenizer` are no names of secrets.
_NAME = r"""(?<![\w.\-])[\w.\-]*?
    (?:key(?!turn|ring|board)|token(?!s\b|iz)|secret|passw|passphrase|pwd
    |credential|authorization|cookie)[\w.\-]*["']?\s*[:=]\s*"""
# The line is an assignment, as in YAML, JSON, an env file or a unit: all of the rest is the value.
_LINE = re.compile(
    rf"""(?ix) ^ ( [\s+\-]* (?:\#\s*)? (?:export\s+)? (?:Environment=)? ["']? {_NAME} ) (\S.*) $"""
)
# Somewhere in a line: the value is a mask of ours, quoted, or ends at a space or a bracket.
_INSIDE = re.compile(
    rf"""(?ix) ( {_NAME} )
    ( <[A-Za-z_]\w*[ ][0-9a-f]{{8}}> | "(?:[^"\\]|\\.)*"? | '[^']*'? | [^\s"',;&)}}\]]+ )"""
)
# A value that holds nothing: a reference, a mask of ours, a word of YAML or JSON.
_HARMLESS = re.compile(
    r"""["']? (?: os\.environ/\w+ | \$\{\w+\} | <[A-Za-z_]\w*[ ][0-9a-f]{8}> | <hidden>
    | none | null | true | false | ) ["']? [\s,;}\])]*""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME = re.compile(r"(?i)\b((?:bearer|basic|requirepass)\s+)(?!<)\S+")
_OPTION = re.compile(r"(?i)(--[\w\-]*(?:key|token|secret|passw|pwd)[\w\-]*\s+)(?![-<])\S+")
_URL_LOGIN = re.compile(r"(://)[^/\s\"'<>]+@")
_ENV_VALUE = re.compile(r"^([#\s]*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*=)(.+)$")

# What could be a key: a long word. A rooted one (a path, a URL) is judged part by part, but base64
# may begin with a slash too.
_WORD = re.compile(r"[\w+/=.~:\-]{16,}")
_ROOTED = re.compile(r"(?:[a-z][a-z0-9+.\-]*:/)?/|~/|\.\.?/|os\.environ/")
_LEAST, _LEAST_ROOTED = 16, 10
_MOST_ODD = 6
_SHORT = 5
_SHORT_MIX = re.compile(r"[A-Za-z]{0,4}\d{1,4}[A-Za-z]{0,3}\d?")  # 7b, Q4, FP8, 128E, e4m3
_HUMP = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{1,5}(?![a-z])")


def mask_unknown(line: str) -> str:
    """Return `line` with whatever looks like a key hidden."""
    if len(line) > _LONGEST_LINE:
        return f"<{len(line)} characters hidden>"
    line = _URL_LOGIN.sub(rf"\1{_HIDDEN}@", line)
    line = _SCHEME.sub(rf"\1{_HIDDEN}", line)
    line = _OPTION.sub(rf"\1{_HIDDEN}", line)
    line = _LINE.sub(_hide_value, line)
    line = _INSIDE.sub(_hide_value, line)
    return _WORD.sub(_hide_random, line)


def safe_diff(
    found: bytes | None, wanted: bytes, *, known: Callable[[str], str], env_file: bool
) -> Iterator[str]:
    """Yield the lines of a unified diff, without any value that is or looks like a key.

    Args:
        found: What stands there, or None (then there is nothing to compare, and nothing is shown).
        wanted: What should.
        known: Masks the secrets that are known, for example as `<LITELLM_MASTER_KEY 1a2b3c4d>`.
        env_file: Every value is hidden unless `known` has masked it.
    """
    if found is None:
        return
    old, new = (_lines(text, known, env_file) for text in (found, wanted))
    if max(len(old), len(new)) > _MOST_LINES:
        yield f"({len(old)} and {len(new)} lines: too many to compare)"
        return
    shown = 0
    for line in list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]:
        shown += 1
        if shown > _MOST_SHOWN:
            yield "…"
            return
        yield line
    if not shown and found != wanted:
        yield "(only what is hidden here differs)"


def _lines(data: bytes, known: Callable[[str], str], env_file: bool) -> list[str]:
    hide = _hide_env_line if env_file else mask_unknown
    return [printable(hide(known(line))) for line in data.decode("utf-8", "replace").splitlines()]


def _hide_env_line(line: str) -> str:
    """Hide every value; and what is neither assignment nor comment is a value that went astray."""
    assignment = _ENV_VALUE.match(line)
    if assignment:
        return _hide_value(assignment)
    return mask_unknown(line) if not line.strip() or line.startswith("#") else _HIDDEN


def _hide_value(match: re.Match[str]) -> str:
    """Hide the second group, unless it holds nothing."""
    name, value = match[1], match[2]
    return match[0] if _HARMLESS.fullmatch(value) else name + _HIDDEN


def _hide_random(match: re.Match[str]) -> str:
    word = match[0]
    if _ROOTED.match(word) and "+" not in word and not word.endswith("="):
        parts = re.split("([/:=])", word)
        return "".join(_HIDDEN if _is_random(part, _LEAST_ROOTED) else part for part in parts)
    parts = re.split("([:]|=(?=.))", word)
    return "".join(_HIDDEN if _is_random(part, _LEAST) else part for part in parts)


def _is_random(text: str, least: int) -> bool:
    """Tell whether too much of `text` is neither a word nor a number nor short."""
    chunks = re.split(r"[-_.+=~/]", text)
    odd = sum(len(chunk) for chunk in chunks if not _is_plain(chunk))
    return len(text) >= least and odd >= _MOST_ODD


def _is_plain(chunk: str) -> bool:
    """Tell whether a person could have written it: a word, a number, `qwen2`, `llama3instruct`."""
    if chunk.isdigit():
        return len(chunk) <= 14
    if chunk.isalpha():
        return len(chunk) <= 24 and _is_word(chunk)
    if len(chunk) <= _SHORT:
        return not chunk or _SHORT_MIX.fullmatch(chunk) is not None
    letters = [part for part in re.split(r"\d{1,3}", chunk) if part]
    return len(chunk) <= 16 and len(letters) <= 2 and all(map(_is_word, letters))


def _is_word(letters: str) -> bool:
    """Tell whether `letters` are one word, or some in CamelCase."""
    if letters.isupper() or letters.islower():
        return len(letters) <= 16
    humps = _HUMP.findall(letters)
    acronyms = sum(hump.isupper() for hump in humps)
    return "".join(humps) == letters and acronyms < 2 and len(letters) >= 3 * len(humps)
