"""One keyring operation, in a process of its own: a request on stdin, a reply on stdout, both JSON.

A Secret Service that is stopped never answers, and nothing in Python can interrupt that call, so
`bootstrap.adapters.keyring` starts this file and can kill it. It is started by its path and
imports nothing of this package, so that it works however keyturn is installed.

Request: `operation` (probe, read, write or delete), `service`, `name`, `text` (write only),
`seconds` (after which it ends by itself), `path` (where the parent imports modules from).
Reply: `problem` (one of the words below) with `detail`, or the operation's result: `value` (a text
or null), `stored` or `deleted` (true or false).
"""

import contextlib
import importlib
import json
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

SECRET_SERVICE = "keyring.backends.SecretService.Keyring"  # noqa: S105
TRUSTED_BY_PLATFORM = {
    "darwin": ("keyring.backends.macOS.Keyring",),
    "win32": ("keyring.backends.Windows.WinVaultKeyring",),
}
TRUSTED_ELSEWHERE = (
    SECRET_SERVICE,
    "keyring.backends.libsecret.Keyring",
    "keyring.backends.kwallet.DBusKeyring",
)

NO_LIBRARY = "no-library"
NO_BUS = "no-bus"
DEAD_BUS = "dead-bus"
NO_SERVICE = "no-service"
NO_COLLECTION = "no-collection"
LOCKED = "locked"
REFUSED = "refused"
FAILED = "failed"

# The Secret Service is not there at all, so another trusted backend cannot hold a second,
# different copy of what it would have answered.
_ABSENT = (NO_LIBRARY, NO_BUS, DEAD_BUS, NO_SERVICE)

HUNG_STATUS = 75


class Unusable(Exception):
    """No trusted backend can be used.

    Args:
        problem: One of this module's words.
        detail: A backend's name, or an exception's type; never a foreign text.
    """

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.detail = detail


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out `request` and return the reply. Raises nothing."""
    try:
        backend = choose_backend()
        return _perform(backend, request)
    except Unusable as error:
        return {"problem": error.problem, "detail": error.detail}
    except ImportError:
        return {"problem": NO_LIBRARY, "detail": ""}
    except Exception as error:  # noqa: BLE001 - a backend may raise anything, and quote a secret
        kind = type(error).__name__
        return {"problem": LOCKED if kind == "KeyringLocked" else FAILED, "detail": kind}


def choose_backend() -> Any:
    """Return the first trusted backend that works here, never asking the user for anything.

    A backend that the user's own keyring settings name is the only candidate, and refused if it
    is not on the list: `null` forgets what it is given, `keyrings.alt` writes plaintext, and
    `ChainerBackend` reads from both (seen with keyring 25.7.0 and keyrings.alt 5.0.2).

    Raises:
        Unusable: None works.
    """
    trusted = TRUSTED_BY_PLATFORM.get(sys.platform, TRUSTED_ELSEWHERE)
    configured = configured_backend()
    if configured and configured not in trusted:
        raise Unusable(REFUSED, configured)
    first: Unusable | None = None
    for name in (configured,) if configured else trusted:
        try:
            return _load(name)
        except Unusable as error:
            first = first or error
            if error.problem not in _ABSENT:
                break
    raise first or Unusable(NO_LIBRARY)


def configured_backend() -> str:
    """Return the backend that the user's keyring settings name, or an empty text."""
    import configparser

    from keyring.util.platform_ import config_root

    named = os.environ.get("PYTHON_KEYRING_BACKEND", "").strip()
    if named:
        return named
    settings = configparser.RawConfigParser(strict=False)
    settings.read(Path(config_root(), "keyringrc.cfg"), encoding="utf-8")
    return settings.get("backend", "default-keyring", fallback="").strip()


def _load(name: str) -> Any:
    module, _, class_name = name.rpartition(".")
    backend_class = getattr(importlib.import_module(module), class_name)
    if name == SECRET_SERVICE:
        problem = _secret_service_problem(backend_class)
    else:
        problem = None if backend_class.viable else NO_SERVICE
    if problem:
        raise Unusable(problem, name)
    return backend_class()


def _secret_service_problem(backend_class: Any) -> str | None:
    """Return what is wrong with the Secret Service, or None.

    Looked at before keyring does, because keyring answers a locked or missing collection with a
    prompt that waits for somebody (25 s and more seen).
    """
    try:
        import secretstorage
    except ImportError:
        return NO_LIBRARY
    _find_bus()
    if not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return NO_BUS
    try:
        connection = secretstorage.dbus_init()
    except (secretstorage.SecretStorageException, OSError, RuntimeError):
        return DEAD_BUS
    with contextlib.closing(connection):
        if not secretstorage.check_service_availability(connection):
            return NO_SERVICE
        # An instance, because keyring sets this from KEYRING_PROPERTY_PREFERRED_COLLECTION in one.
        preferred = getattr(backend_class(), "preferred_collection", None)
        where = (preferred,) if preferred else ()
        try:
            return LOCKED if secretstorage.Collection(connection, *where).is_locked() else None
        except secretstorage.ItemNotFoundException:
            return NO_COLLECTION
        except secretstorage.SecretServiceNotAvailableException:
            return NO_SERVICE


def _find_bus() -> None:
    """Point at the user's bus where a login shell would have: cron and ssh commands lack that."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        bus = Path(runtime, "bus")
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(bus.stat().st_mode):
                os.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"


def _perform(backend: Any, request: dict[str, Any]) -> dict[str, Any]:
    service, name = request["service"], request["name"]
    match request["operation"]:
        case "read":
            return {"value": backend.get_password(service, name)}
        case "write":
            return _write(backend, service, name, request["text"])
        case "delete":
            return {"deleted": _delete(backend, service, name)}
        case _:
            return {}


def _write(backend: Any, service: str, name: str, text: str) -> dict[str, Any]:
    """Store `text` and read it back; where that fails, put back what was there."""
    before = backend.get_password(service, name)
    try:
        _store(backend, service, name, text)
        if backend.get_password(service, name) == text:
            return {"stored": True}
    except BaseException:
        with contextlib.suppress(Exception):
            _put_back(backend, service, name, before)
        raise
    return {"stored": False, "put_back": _put_back(backend, service, name, before)}


def _put_back(backend: Any, service: str, name: str, before: str | None) -> bool:
    """Make a read return `before` again; tell whether it does."""
    if before is None:
        _delete(backend, service, name)
    else:
        _store(backend, service, name, before)
    return bool(backend.get_password(service, name) == before)


def _store(backend: Any, service: str, name: str, text: str) -> None:
    """Write into the entries that a read would find, or make one.

    keyring's own set_password leaves an entry that `secret-tool store` made (without its
    `application` attribute) beside the new one, and a read may then return the old key.
    """
    entries = []
    if hasattr(backend, "get_preferred_collection"):
        collection = backend.get_preferred_collection()
        with contextlib.closing(collection.connection):
            entries = list(collection.search_items({"service": service, "username": name}))
            for entry in entries:
                entry.set_secret(text.encode())
    if not entries:
        backend.set_password(service, name, text)


def _delete(backend: Any, service: str, name: str) -> bool:
    """Remove every entry of that name (keyring removes the first one only)."""
    deleted = False
    while backend.get_password(service, name) is not None:
        backend.delete_password(service, name)
        deleted = True
    return deleted


def end_after(seconds: float) -> None:
    """End this process in `seconds`, even if the parent is no longer there to kill it."""
    timer = threading.Timer(seconds, os._exit, (HUNG_STATUS,))
    timer.daemon = True
    timer.start()


def main() -> None:
    """Answer the one request on stdin."""
    request = json.load(sys.stdin)
    end_after(request["seconds"])
    sys.path += [folder for folder in request["path"] if folder not in sys.path]
    json.dump(answer(request), sys.stdout)


if __name__ == "__main__":
    main()
