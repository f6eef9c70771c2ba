"""Ask the child process that speaks to the keyring, and put what it reports into our words."""

import json
import sys
from typing import Any

from bootstrap.adapters import keyring_child as child
from bootstrap.adapters import process
from bootstrap.domain.errors import ProviderUnavailableError
from bootstrap.domain.ref import SecretRef

HUNG = "hung"
NO_BUS = child.NO_BUS
_ELSEWHERE = "or keep the secret in sops: keyturn init"

# problem -> (why, fix); `{detail}` is a backend's name or an exception's type.
_EXPLANATIONS = {
    HUNG: (
        "the keyring did not answer in time, so it was given up",
        "restart it (log out and in, or: systemctl --user restart gnome-keyring-daemon), "
        + _ELSEWHERE,
    ),
    child.NO_LIBRARY: (
        "the Python package that speaks to it cannot be imported",
        "reinstall keyturn, or install the packages keyring and SecretStorage beside it",
    ),
    child.NO_BUS: (
        "this session has no D-Bus (DBUS_SESSION_BUS_ADDRESS is not set)",
        f"run it in your desktop session or as a systemd --user service, {_ELSEWHERE}",
    ),
    child.DEAD_BUS: (
        "nothing answers at DBUS_SESSION_BUS_ADDRESS; the session it names has ended",
        f"log in again, or unset DBUS_SESSION_BUS_ADDRESS, {_ELSEWHERE}",
    ),
    child.NO_SERVICE: (
        "no Secret Service runs on the session bus",
        f"install and start gnome-keyring, KWallet or KeePassXC, {_ELSEWHERE}",
    ),
    child.NO_COLLECTION: (
        "the Secret Service has no default collection to store anything in",
        f"create a default keyring in the desktop's password manager, {_ELSEWHERE}",
    ),
    child.LOCKED: (
        "the keyring is locked",
        "unlock it in the desktop's password manager, or log out and in with your password",
    ),
    child.REFUSED: (
        "the keyring settings choose the backend {detail}, which keyturn does not trust: "
        "it may keep plaintext or forget what it is given",
        "remove it from PYTHON_KEYRING_BACKEND and keyringrc.cfg, " + _ELSEWHERE,
    ),
    child.FAILED: (
        "the keyring failed ({detail})",
        "run keyturn doctor, " + _ELSEWHERE,
    ),
}


def run_child(request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Start the child, and return its reply or a problem of that form."""
    try:
        done = process.run(
            [sys.executable, "-I", child.__file__],
            stdin=json.dumps(request).encode(),
            timeout_s=timeout_s,
        )
    except TimeoutError:
        return {"problem": HUNG}
    except OSError as error:
        return {"problem": child.FAILED, "detail": type(error).__name__}
    if done.returncode == child.HUNG_STATUS:
        return {"problem": HUNG}
    try:
        reply = json.loads(done.stdout)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        return {"problem": child.FAILED, "detail": f"exit status {done.returncode}"}
    return reply


def unusable(ref: SecretRef, problem: str, detail: str) -> ProviderUnavailableError:
    """Return the error for a problem that the child reports, or HUNG."""
    why, fix = _EXPLANATIONS.get(problem, _EXPLANATIONS[child.FAILED])
    error = ProviderUnavailableError(
        f"cannot use the keyring for {ref}", why=why.format(detail=detail), fix=fix
    )
    error.late = problem == HUNG
    return error


def says_none_is_there(error: ProviderUnavailableError) -> bool:
    """Tell whether an error of `unusable` says that this session has no keyring at all."""
    absent = (
        child.NO_BUS,
        child.DEAD_BUS,
        child.NO_SERVICE,
        child.NO_COLLECTION,
        child.NO_LIBRARY,
    )
    return error.why in [_EXPLANATIONS[problem][0] for problem in absent]
