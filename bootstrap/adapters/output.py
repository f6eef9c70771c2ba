"""The secret's way out to a pipe: raw, or as lines that a shell evaluates."""

import os
import shlex
from collections.abc import Mapping

from bootstrap.domain.secret import Secret

_STDOUT = 1


def is_terminal() -> bool:
    """Tell whether standard output is a terminal, where a secret would be seen and kept."""
    return os.isatty(_STDOUT)


def write_secret(secret: Secret) -> None:
    """Write the value and a newline to standard output."""
    _write(secret.reveal() + "\n")


def write_exports(secrets: Mapping[str, Secret]) -> None:
    """Write `export NAME=value` lines, quoted for every POSIX shell."""
    _write("".join(f"export {name}={shlex.quote(s.reveal())}\n" for name, s in secrets.items()))


def _write(text: str) -> None:
    left = memoryview(text.encode("utf-8", "surrogateescape"))
    while left:
        left = left[os.write(_STDOUT, left) :]
