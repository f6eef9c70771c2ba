"""The secret's way out, for `keyturn get`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bootstrap.adapters.output import is_closed, is_terminal, write_exports, write_secret
from bootstrap.adapters.paths import words
from bootstrap.domain.errors import TargetError, UsageError
from bootstrap.domain.secret import Secret


def refuse_closed() -> None:
    """Refuse before there is a value that would go nowhere.

    Raises:
        TargetError: The caller has closed standard output.
    """
    if is_closed():
        raise TargetError(
            "standard output is closed",
            why="what this command writes would go nowhere",
            fix="run it without >&-, and lead it to a pipe or a file",
        )


def refuse_unless_possible(names: Sequence[str], *, shell: bool, reveal: bool) -> None:
    """Refuse before anything is decrypted.

    Raises:
        UsageError: Several names without --shell, or a terminal without --reveal.
        TargetError: Standard output is closed.
    """
    refuse_closed()
    if len(names) > 1 and not shell:
        raise UsageError(
            "one name at a time",
            why="several values in one pipe cannot be told apart",
            fix="add --shell for `export NAME=value` lines",
        )
    if is_terminal() and not reveal:
        raise UsageError(
            "this would show the secret on the terminal",
            why="scrollback and recordings keep it",
            fix=f'pipe it, use "$(keyturn get {names[0]})", or add --reveal',
        )


def write(secrets: Mapping[str, Secret], *, shell: bool) -> None:
    """Write the secrets to standard output.

    Raises:
        BrokenPipeError: Nobody reads it any more.
        TargetError: It could not be written, or not all of it.
    """
    with explained():
        if shell:
            write_exports(secrets)
            return
        for secret in secrets.values():
            write_secret(secret)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the system says of a failed write to standard output into an error for a person.

    Raises:
        BrokenPipeError: Nobody reads it any more.
        TargetError: It could not be written, or not all of it.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise TargetError(
            "standard output cannot be written",
            why=words(error),
            fix="look where it leads, and whether that is full: df -h",
        ) from None
