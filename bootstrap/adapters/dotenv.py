"""Read our own env files, with python-dotenv and without its interpolation."""

import io
from pathlib import PurePath

from bootstrap.adapters.disk import read, resolved
from bootstrap.adapters.paths import words
from bootstrap.domain.errors import TargetError
from bootstrap.domain.secret import Secret


def read_env_file(path: PurePath) -> dict[str, Secret | str]:
    """Return the variables of the env file at `path`, in its order.

    Every value that is not empty comes as a Secret, since nothing in the file says which are; an
    empty one comes as the empty text. `${X}` in a value stays as it is.

    Raises:
        TargetError: The file is missing, unreadable, not UTF-8, has a line that is no assignment
            or sets a name twice. Names the line, never its text.
    """
    # Imported here: 28 ms that commands without an env file do not pay.
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    text = _text_of(path)
    first_seen: dict[str, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = _line_of(binding.original.string, binding.original.line)
        if binding.error or (binding.key is not None and binding.value is None):
            raise _malformed(path, f"line {line} is no assignment NAME=value")
        if binding.key is None:
            continue
        if binding.key in first_seen:
            raise _malformed(
                path, f"line {line} sets again what line {first_seen[binding.key]} has set"
            )
        first_seen[binding.key] = line
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: Secret(value) if value else "" for name, value in values.items()}


def secret_in(path: PurePath, name: str) -> Secret | None:
    """Return one value of the env file at `path`, or None where it cannot be had."""
    try:
        held = read_env_file(path).get(name)
    except TargetError:
        return None
    return held if isinstance(held, Secret) else None


def _text_of(path: PurePath) -> str:
    try:
        found = read(path, resolved(path))
    except TargetError as error:
        raise _unreadable(path, error.why) from None
    except OSError as error:
        raise _unreadable(path, words(error)) from None
    if found is None:
        raise TargetError(
            f"there is no env file {path}", why="it was not written yet", fix="run: keyturn apply"
        )
    try:
        return found[0].decode()
    except UnicodeDecodeError:
        raise _malformed(path, "it is not UTF-8") from None


def _unreadable(path: PurePath, why: str) -> TargetError:
    return TargetError(
        f"cannot read the env file {path}", why=why, fix=f"check its owner and mode: ls -l {path}"
    )


def _line_of(statement: str, first: int) -> int:
    """Return where a statement stands: python-dotenv counts blank lines before it as part of it."""
    return first + statement[: len(statement) - len(statement.lstrip())].count("\n")


def _malformed(path: PurePath, why: str) -> TargetError:
    return TargetError(
        f"the env file {path} is malformed",
        why=why,
        fix="write it anew with: keyturn apply, or correct that line",
    )
