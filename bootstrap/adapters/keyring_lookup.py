"""Read one entry of the Secret Service by `secret-tool`, ten times as fast as through Python.

It only ever shortens the way of `bootstrap.adapters.keyring`: it answers where the answer is beyond
doubt, and leaves everything else, errors included, to that.
"""

import posix
import sys

from bootstrap.adapters.paths import xdg_folder
from bootstrap.adapters.process import run
from bootstrap.adapters.variables import variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUSTED = "keyring.backends.SecretService.Keyring"
_SECRET = b"\nsecret = "
_CREATED = b"\ncreated = "
_LEADING_TO_A_KEYRING = ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "PYTHON_KEYRING_BACKEND")


def look_up(service: str, name: str, timeout_s: float) -> str | None:
    """Return the value of an entry, or None where that cannot be told for certain.

    `search` and not `lookup`: it does not prompt for a password where the keyring is locked, it
    shows the entry without its secret (seen with secret-tool 0.20.5).

    Args:
        service: The entry's attribute `service`.
        name: Its attribute `username`.
        timeout_s: Seconds for all of it.

    Raises:
        TimeoutError: The keyring does not answer.
    """
    environ = _with_bus(variables())
    program = _program(environ)
    if program is None or not _is_secret_service(environ):
        return None
    argv = (program, "search", "--all", "service", service, "username", name)
    try:
        finished = run(argv, env=environ, timeout_s=timeout_s)
    except TimeoutError:
        raise
    except OSError:
        return None
    return _value(finished.stdout) if finished.returncode == 0 else None


def has_no_bus() -> bool:
    """Tell whether this session surely has no keyring, since nothing could lead to one.

    Linux keyrings are asked over D-Bus. Without its address one is only found by starting it for
    an X display, or where the user's settings name another kind of keyring.
    """
    environ = _with_bus(variables())
    return (
        sys.platform == "linux"
        and not any(environ.get(name) for name in _LEADING_TO_A_KEYRING)
        and not _has_settings(environ)
    )


def _value(shown: bytes) -> str | None:
    """Return the secret of the only entry that is shown, if it cannot be mistaken."""
    if shown.count(_SECRET) != 1 or shown.count(_CREATED) != 1:
        return None
    value = shown.partition(_SECRET)[2].rpartition(_CREATED)
    try:
        return value[0].decode() if value[1] else None
    except UnicodeDecodeError:
        return None


def _is_secret_service(environ: "Mapping[str, str]") -> bool:
    """Tell whether the user's settings leave the Secret Service to be the keyring."""
    if sys.platform != "linux" or not environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return False
    named = environ.get("PYTHON_KEYRING_BACKEND", "").strip()
    if named:
        return named == _TRUSTED
    if environ.get("KEYRING_PROPERTY_PREFERRED_COLLECTION"):
        return False
    return not _has_settings(environ)


def _has_settings(environ: "Mapping[str, str]") -> bool:
    """Tell whether keyring's own configuration file is there."""
    config = xdg_folder(environ, "XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    return _exists(f"{config}/python_keyring/keyringrc.cfg")


def _program(environ: "Mapping[str, str]") -> str | None:
    for folder in environ.get("PATH", "").split(":"):
        if folder.startswith("/") and posix.access(f"{folder}/secret-tool", posix.X_OK):
            return f"{folder}/secret-tool"
    return None


def _with_bus(environ: "Mapping[str, str]") -> "Mapping[str, str]":
    """Point at the user's bus where a login shell would have: cron and ssh commands lack that."""
    runtime = xdg_folder(environ, "XDG_RUNTIME_DIR")
    if environ.get("DBUS_SESSION_BUS_ADDRESS") or not (runtime and _exists(f"{runtime}/bus")):
        return environ
    return {**environ, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}


def _exists(path: str) -> bool:
    return posix.access(path, posix.F_OK)
