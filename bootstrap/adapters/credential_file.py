"""`file:PATH`: one secret per file, read-only: systemd credentials, Docker and Kubernetes secrets.

`file:$CREDENTIALS_DIRECTORY/master` names a credential that systemd passes to the service
(`LoadCredential=master:…`, a 0400 file on a tmpfs; seen with systemd 252, `--user`).
"""

import os
import stat
from pathlib import Path

from bootstrap.adapters.paths import words
from bootstrap.domain.errors import (
    ProviderUnavailableError,
    SecretNotFoundError,
    StoreDamagedError,
)
from bootstrap.domain.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePath

    from bootstrap.domain.ref import SecretRef

MOST_BYTES = 64 * 1024
_CREDENTIALS = "$CREDENTIALS_DIRECTORY/"
# Docker mounts secrets 0444 at /run/secrets; nobody else lives in that container.
_RUNTIME = Path("/run")


class CredentialFileProvider:
    """Reads whole files.

    Args:
        root: The lab's folder; relative paths start there.
        environ: Where CREDENTIALS_DIRECTORY is looked up; None for this process's variables.
    """

    scheme = "file"

    def __init__(self, root: "PurePath", environ: "Mapping[str, str] | None" = None) -> None:
        self._root = Path(root)
        self._environ = os.environ if environ is None else environ

    def unavailable(self, ref: "SecretRef") -> str | None:
        """Return why the place cannot be looked up, or None; see `bootstrap.ports.Provider`."""
        if ref.place.startswith(_CREDENTIALS) and not self._environ.get("CREDENTIALS_DIRECTORY"):
            return "CREDENTIALS_DIRECTORY is not set, so systemd passes no credentials here"
        return None

    def read(self, ref: "SecretRef") -> Secret:
        """Return the file's text without one newline at its end.

        Raises:
            SecretNotFoundError: There is no such file, or it is empty.
            ProviderUnavailableError: It may not be read, or systemd passes no credentials here.
            StoreDamagedError: It is not a private file that holds one line of text.
        """
        problem = self.unavailable(ref)
        if problem:
            raise ProviderUnavailableError(
                f"cannot read {ref}",
                why=problem,
                fix="add LoadCredential= to the unit that runs this, or name a plain path",
            )
        data = _contents(self._path(ref), ref)
        text = _one_line(data.removesuffix(b"\n"), ref)
        if not text:
            raise _missing(ref, "the file is empty")
        return Secret(text)

    def _path(self, ref: "SecretRef") -> Path:
        if ref.place.startswith(_CREDENTIALS):
            folder = Path(self._environ["CREDENTIALS_DIRECTORY"])
            return folder / ref.place.removeprefix(_CREDENTIALS)
        return self._root / Path(os.path.expanduser(ref.place))  # noqa: PTH111 - never raises


def _contents(path: Path, ref: "SecretRef") -> bytes:
    try:
        # O_NONBLOCK: a FIFO would make us wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check(os.fstat(handle), path, ref)
            with open(handle, "rb", closefd=False) as file:
                data = file.read(MOST_BYTES + 1)
        finally:
            os.close(handle)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(ref, f"there is no file {path}") from None
    except OSError as error:
        raise ProviderUnavailableError(
            f"cannot read {ref}", why=words(error), fix=f"ls -l {path}"
        ) from None
    if len(data) > MOST_BYTES:
        raise _unsound(ref, f"it is longer than {MOST_BYTES} bytes", "name the right file")
    return data


def _check(found: os.stat_result, path: Path, ref: "SecretRef") -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _unsound(ref, "it is not a regular file", f"name a file: ls -ld {path}")
    if found.st_mode & stat.S_IROTH and _RUNTIME not in path.resolve().parents:
        raise _unsound(ref, "every user of this machine may read it", f"chmod 600 {path}")


def _one_line(data: bytes, ref: "SecretRef") -> str:
    fix = "write the bare value into it, without quotes, and at most one newline at the end"
    for byte, name in ((b"\0", "a NUL byte"), (b"\r", "a carriage return"), (b"\n", "many lines")):
        if byte in data:
            raise _unsound(ref, f"it holds {name}", fix)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _unsound(ref, "it is not UTF-8 text", fix) from None


def _missing(ref: "SecretRef", why: str) -> SecretNotFoundError:
    return SecretNotFoundError(
        f"no secret at {ref}", why=why, fix="write the value into it, 0600, or name another source"
    )


def _unsound(ref: "SecretRef", why: str, fix: str) -> StoreDamagedError:
    return StoreDamagedError(f"{ref} is not a credential file", why=why, fix=fix)
