"""`keyring:SERVICE#NAME`: the desktop's own keyring (Secret Service, KWallet, macOS, Windows).

The `keyring` package is never imported here: each operation runs in a child process, which is
killed when the keyring does not answer (a stopped Secret Service hangs keyring 25.7.0 for ever).
Only backends that encrypt are used. Asked for the best one available, keyring picks
`keyrings.alt`, plaintext on disk, without a word where there is no session bus.

Importing this is cheap, because `keyturn exec` waits for it.
"""

import sys

from bootstrap.adapters.keyring_lookup import has_no_bus, look_up
from bootstrap.adapters.paths import xdg_folder
from bootstrap.domain.base_errors import (
    SecretError,
    SecretNotFoundError,
    StoreDamagedError,
)
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path, PurePath
    from typing import Any

TIMEOUT_S = 4.5


class KeyringProvider:
    """Reads and writes `keyring:SERVICE#NAME`. One instance serves one command.

    Args:
        root: The lab's folder; a keyring has no use for it.
        timeout_s: Seconds for one operation, its process start included (0.3 s as a rule).
    """

    scheme = "keyring"

    def __init__(self, root: "PurePath | str", *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._hung = False

    def unavailable(self, ref: SecretRef) -> str | None:
        """Return why no trusted keyring can be used here (one clause), or None."""
        try:
            self._ask("probe", ref)
        except SecretError as error:
            return error.why
        return None

    def read(self, ref: SecretRef) -> Secret:
        """Return the secret at `ref`.

        Raises:
            SecretNotFoundError: There is no such entry, or its value is empty.
            ProviderUnavailableError: The keyring is locked, absent, hung or not to be trusted.
        """
        value = self._quickly(ref)
        if value is None:
            value = self._ask("read", ref).get("value")
        if not isinstance(value, str):
            raise _not_found(ref, "the keyring has no such entry")
        if not value:
            raise _not_found(ref, "the entry is there, but it is empty")
        return Secret(value)

    def write(self, ref: SecretRef, secret: Secret) -> None:
        """Store `secret` at `ref`, replacing what was there, and read it back.

        Raises:
            ProviderUnavailableError: As `read`. After a timeout the value may have been stored.
            SecretError: The keyring took the value, but returns something else; says whether what
                was there before is back.
        """
        reply = self._ask("write", ref, secret.reveal())
        if reply.get("stored") is not True:
            back = "is back" if reply.get("put_back") is True else "could not be put back"
            raise SecretError(
                f"{ref} was not stored",
                why="the keyring took the new value but returns another one; "
                f"what was there before {back}",
                fix="remove the entry in the desktop's password manager, then try again",
            )

    def delete(self, ref: SecretRef) -> None:
        """Remove every entry of that service and name.

        Raises:
            SecretNotFoundError: There is none.
            ProviderUnavailableError: As `read`.
        """
        if self._ask("delete", ref).get("deleted") is not True:
            raise _not_found(ref, "the keyring has no such entry")

    def _quickly(self, ref: SecretRef) -> str | None:
        """Return the value as `secret-tool` shows it, or None where only Python can tell.

        Raises:
            ProviderUnavailableError: The keyring does not answer.
        """
        if self._hung:
            return None
        try:
            return look_up(ref.place, ref.name, self._timeout_s)
        except TimeoutError:
            from bootstrap.adapters.keyring_ask import HUNG, unusable

            self._hung = True
            raise unusable(ref, HUNG, "") from None

    def _ask(self, operation: str, ref: SecretRef, text: str | None = None) -> "dict[str, Any]":
        """Return the child's reply.

        Raises:
            ProviderUnavailableError: It reports a problem, or none of its replies arrives.
        """
        from bootstrap.adapters.keyring_ask import HUNG, NO_BUS, run_child, unusable

        if has_no_bus():  # what the child would find out in ten times the time
            raise unusable(ref, NO_BUS, "")
        request = {
            "operation": operation,
            "service": ref.place,
            "name": ref.name,
            "text": text,
            "seconds": self._timeout_s,
            # The child is isolated (-I); this lets it import what this process would.
            "path": [folder for folder in sys.path if folder],
        }
        reply = {"problem": HUNG} if self._hung else run_child(request, self._timeout_s)
        if "problem" in reply:
            # Once is enough: a command asks for several secrets, and each would wait as long.
            self._hung = reply["problem"] == HUNG
            raise unusable(ref, str(reply["problem"]), str(reply.get("detail", "")))
        return reply


def plaintext_leftovers(service: str) -> tuple[str, ...]:
    """Return the names under `service` that the plaintext backend of `keyrings.alt` still holds.

    They lie base64-coded in keyring_pass.cfg, and outlive deletion and rotation in a real keyring.
    Names come in lower case, the only one that the file keeps.

    Raises:
        StoreDamagedError: The file is there but cannot be read.
    """
    import configparser

    from bootstrap.domain.plaintext_keyring import escape, unescape

    path = plaintext_file()
    file = configparser.RawConfigParser(strict=False)
    try:
        file.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeError, OSError):  # their texts quote lines of the file
        raise StoreDamagedError(
            f"cannot read {path}",
            why="it is not a readable file in the form that keyrings.alt writes",
            fix=f"look into it, and delete it if nothing needs it: rm {path}",
        ) from None
    section = escape(service)
    return tuple(map(unescape, file.options(section))) if file.has_section(section) else ()


def _not_found(ref: SecretRef, why: str) -> SecretNotFoundError:
    return SecretNotFoundError(f"no secret at {ref}", why=why, fix="store one with: keyturn init")


def plaintext_file() -> "Path":
    """Return where `keyrings.alt` keeps plaintext here (keyring 25.7.0, keyring.util.platform_)."""
    import os
    from pathlib import Path

    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", "."), "Python Keyring")
    else:
        data = xdg_folder(os.environ, "XDG_DATA_HOME") or Path.home() / ".local" / "share"
        folder = Path(data, "python_keyring")
    return folder / "keyring_pass.cfg"
