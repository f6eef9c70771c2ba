"""Values in an env file that every reader takes alike.

systemd's EnvironmentFile, `set -a; . file` in bash, dash and zsh, direnv's `dotenv` and
python-dotenv (with and without interpolation) agree on two spellings only: a bare word of safe
characters, and single quotes around a text without the few characters that one of them treats
specially there. Seen with systemd 252, bash 5.2, dash 0.5.12, zsh 5.9, direnv 2.32.1 and
python-dotenv 1.2.4; tests/adapters/test_envfile_readers.py asks all of them. sops takes quotes as
part of the value, so a file written with these is not for sops to read.
"""

import re

from bootstrap.domain.errors import TargetError
from bootstrap.domain.ref import is_variable_name

# Starts with a letter or digit: zsh expands a leading '=' and every shell a leading '~'.
_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/=-]*")


def quote(text: str, *, name: str = "a value") -> str:
    """Return `text` as the right-hand side of a line `NAME=...` of an env file.

    Args:
        text: Any text; the empty one is spelled `''`.
        name: What the error calls the value, for example the variable's name.

    Raises:
        TargetError: No spelling means the same to every reader. Never quotes the text.
    """
    if _BARE.fullmatch(text):
        return text
    problem = unwritable(text)
    if problem:
        raise TargetError(
            f"{name} cannot be written to an env file",
            why=f"it holds {problem}, which the readers of env files take differently",
            fix="use another value; keyturn makes keys of letters, digits, '-' and '_'",
        )
    return f"'{text}'"


def problems(text: str) -> list[str]:
    """Return what readers of the env file `text` would disagree about, as `line N: ...`.

    For files that people or other programs wrote. Shows line numbers and the names of variables
    that are set twice, never a value. Values that span lines are reported at their first line.
    """
    found: list[str] = []
    if text.startswith("\ufeff"):
        found.append("line 1: begins with a byte order mark, which becomes part of the name")
    lines = text.removeprefix("\ufeff").split("\n")
    carriage = next((n for n, line in enumerate(lines, 1) if line.endswith("\r")), None)
    if carriage:
        found.append(f"line {carriage}: ends in CR LF; shells keep the CR in the value")
    first_seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        found += [f"line {number}: {problem}" for problem in _line_problems(line.rstrip("\r"))]
        name = _name_of(line)
        if name in first_seen:
            found.append(f"line {number}: {name} is set again (first on line {first_seen[name]})")
        elif name:
            first_seen[name] = number
    return found


def unwritable(text: str) -> str | None:
    """Return what keeps `text` out of an env file, whatever the quotes, or None."""
    if not text.isascii():
        return "a character outside ASCII"
    if not text.isprintable():
        return "a line break or another control character"
    if "'" in text:
        return "a single quote"
    if "${" in text:
        return "'${'"
    if re.search(r"\\(\\|$)", text):
        return "a backslash before another one or at the end"
    return None


def _line_problems(line: str) -> list[str]:
    if not line.strip() or line.startswith("#"):
        return []
    if line.lstrip().startswith(("#", ";")):
        return ["is a comment to some readers only; begin it with '#' in the first column"]
    name, equals, value = line.partition("=")
    if not equals:
        return ["has no '='"]
    found = []
    if name.startswith(("export ", "export\t")):
        found.append("begins with 'export'; systemd ignores the line and logs it, value and all")
    elif not is_variable_name(name):
        found.append("has a name of other characters than letters, digits and '_', or spaces")
    problem = _value_problem(value)
    return [*found, problem] if problem else found


def _value_problem(value: str) -> str | None:
    """Return why readers disagree about the raw right-hand side `value`, or None."""
    if value != value.strip():
        return "has spaces around its value"
    if not value or _BARE.fullmatch(value):
        return None
    mark, inner = value[0], value[1:-1]
    if mark in "'\"":
        if len(value) < 2 or value[-1] != mark:
            return "has a quote that does not end on the line, or text after it"
        special = "a single quote, '${' or an odd backslash" if mark == "'" else 'one of \\ " $ `'
        bad = unwritable(inner) if mark == "'" else re.search(r'[\\"$`]', inner)
        return f"is quoted and holds {special}, or is not plain ASCII" if bad else None
    if re.search(r"[^!%*+,\-./0-9:=?@A-Z\[\]^_a-z{}]", value) or value[0] == "=":
        return "needs quotes: it holds a character that some readers treat specially"
    return None


def _name_of(line: str) -> str | None:
    """Return the variable that a line sets, where that is a plain name."""
    name, equals, _ = line.partition("=")
    name = name.removeprefix("\ufeff").removeprefix("export").strip()
    return name if equals and is_variable_name(name) else None
