"""Shell functions `claude-ALIAS`, one for each model: text for eval, without any key in it."""

import re
import shlex
from collections.abc import Sequence

SHELLS = ("bash", "zsh", "fish")
# What all three shells take in the name of a function. `:` and `/` are special in some.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def function_names(aliases: Sequence[str], client: str) -> dict[str, str]:
    """Return alias -> name of its function, all different."""
    names: dict[str, str] = {}
    for alias in aliases:
        stem = name = f"{client}-{_UNSAFE.sub('-', alias).strip('-') or 'model'}"
        number = 2
        while name in names.values():
            name = f"{stem}-{number}"
            number += 1
        names[alias] = name
    return names


def functions(shell: str, aliases: Sequence[str], *, client: str, keyturn: str, lab: str) -> str:
    """Return the definitions of the functions, a line each.

    Args:
        shell: One of SHELLS.
        aliases: The models.
        client: The preset, which is the program's name too.
        keyturn: The absolute path of the keyturn program.
        lab: The folder of the lab whose models these are.
    """
    quote = _fish_quote if shell == "fish" else shlex.quote
    lines = []
    for alias, name in function_names(aliases, client).items():
        words = [keyturn, "exec", "--client", client, "--model", alias, "--lab", lab, "--", client]
        call = " ".join(quote(word) for word in words)
        if shell == "fish":
            lines.append(f"function {name}; {call} $argv; end")
        else:
            # `function` keeps an alias of the same name from being put in its place.
            lines.append(f'function {name} {{ {call} "$@"; }}')
    return "".join(f"{line}\n" for line in lines)


def _fish_quote(word: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_./:@+-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
