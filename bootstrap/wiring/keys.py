"""The lab's client keys, and the way of a new one to whoever asked for it."""

from pathlib import PurePath

from bootstrap.adapters.output import is_terminal, write_secret
from bootstrap.adapters.paths import words
from bootstrap.domain.errors import TargetError, UsageError
from bootstrap.domain.secret import Secret
from bootstrap.wiring import found_lab
from bootstrap.wiring.client_run import key_desk
from bootstrap.wiring.output import refuse_closed
from bootstrap.workflows.client_keys import KeyDesk


def desk(root: PurePath) -> KeyDesk:
    """Return what issues and revokes client keys of the lab at `root`.

    Raises:
        UsageError: The lab does without the guard, and so without client keys.
    """
    return key_desk(found_lab.load(root), wait_s=0)


def refuse_terminal(*, reveal: bool) -> None:
    """Refuse before a key is made that nobody could keep.

    Raises:
        UsageError: Standard output is a terminal, and `reveal` is not given.
        TargetError: Standard output is closed.
    """
    refuse_closed()
    if is_terminal() and not reveal:
        raise UsageError(
            "this would show the key on the terminal",
            why="it is shown once, and scrollback and recordings keep it",
            fix="pipe it to whoever needs it, or add --reveal",
        )


def write(secret: Secret) -> None:
    """Write the key to standard output.

    Raises:
        TargetError: It could not be written, or nobody reads it any more.
    """
    try:
        write_secret(secret)
    except OSError as error:
        raise TargetError(
            "nobody got the key, so it was taken back",
            why=f"standard output: {words(error)}",
            fix="look where it leads, and run it again; the keys are as they were",
        ) from None
