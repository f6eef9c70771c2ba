"""Take a key out of a shell file, and put a command in its place that asks keyturn for it.

Handles what people write: assignments bare or in quotes, aliases, headers within a longer text,
comments. Quotes are followed within a line, since that is where they nearly always end.
"""

import re
from collections.abc import Iterable, Mapping

from bootstrap.domain.secret import Secret

_REMOVED = "(removed by keyturn adopt)"


def without_keys(data: bytes, commands: Mapping[str, tuple[Secret, str]]) -> bytes:
    """Return a shell file with each key replaced by `$(command)`, and every other byte kept.

    Args:
        data: The file.
        commands: By the secret's name: its value, and what prints it. No double quotes in that.
    """
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    for secret, command in commands.values():
        key = secret.reveal()
        lines = [_line(line, key, command) if key in line else line for line in lines]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def with_reference(data: bytes, references: Mapping[str, tuple[Secret, str]]) -> bytes:
    """Return a YAML or JSON file with each key replaced by a reference such as `${NAME}`.

    Args:
        data: The file.
        references: By the secret's name: its value and the reference.
    """
    for secret, reference in references.values():
        data = data.replace(secret.reveal().encode(), reference.encode())
    return data


def holds(data: bytes, secrets: Iterable[Secret]) -> bool:
    """Tell whether any of the secrets stands in the bytes."""
    return any(secret.reveal().encode() in data for secret in secrets)


def _line(line: str, key: str, command: str) -> str:
    # A whole value in single quotes: nothing in it would be expanded, so the quotes go as well.
    line = re.sub(rf"=([\"'])({re.escape(key)})\1", lambda _: f'="$({command})"', line)
    done: list[str] = []
    quote, at = "", 0
    while at < len(line):
        char = line[at]
        if line.startswith(key, at):
            done.append(_instead(quote, command))
            at += len(key)
            continue
        if char == "\\" and quote != "'":
            done.append(line[at : at + 2])
            at += 2
            continue
        if char == "#" and not quote and (at == 0 or line[at - 1].isspace()):
            return "".join(done) + line[at:].replace(key, _REMOVED)
        if char in "\"'" and quote in ("", char):
            quote = "" if quote else char
        done.append(char)
        at += 1
    return "".join(done)


def _instead(quote: str, command: str) -> str:
    """Return what gives the key where `quote` is open."""
    return {"": f'"$({command})"', '"': f"$({command})", "'": f"'\"$({command})\"'"}[quote]


def assigned(data: bytes, names: tuple[str, ...]) -> list[Secret]:
    """Return the literal values that a shell file gives to one of the variables."""
    text = data.decode("utf-8", "surrogateescape")
    pattern = rf"\b(?:{'|'.join(names)})=[\"']?([A-Za-z0-9][A-Za-z0-9._~+/=-]{{7,}})"
    return [Secret(value) for value in re.findall(pattern, text)]
