"""The secret's way out to a pipe: raw, or as lines that a shell evaluates."""

import os
import shlex
import sys
from collections.abc import Mapping

from bootstrap.domain.secret import Secret

_STDOUT = 1


def is_terminal() -> bool:
    """Tell whether standard output is a terminal, where a secret would be seen and kept."""
    return os.isatty(_STDOUT)


def is_closed() -> bool:
    """Tell whether the caller had closed standard output (`>&-`), so that nobody gets a value.

    What stands in its place by now is /dev/null; Python remembers how it found it.
    """
    return sys.__stdout__ is None


def write_secret(secret: Secret) -> None:
    """Write the value and a newline to standard output."""
    write_text(secret.reveal() + "\n")


def write_exports(secrets: Mapping[str, Secret]) -> None:
    """Write `export NAME=value` lines, quoted for every POSIX shell."""
    write_text("".join(f"export {name}={shlex.quote(s.reveal())}\n" for name, s in secrets.items()))


def write_text(text: str) -> None:
    """Write it to standard output, past every buffer; OSError where it cannot be written."""
    left = memoryview(text.encode("utf-8", "surrogateescape"))
    while left:
        left = left[os.write(_STDOUT, left) :]
