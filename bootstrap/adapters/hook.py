"""Run the program that a lab wants run after a rotation: it gets fingerprints, and no secret."""

import os
from collections.abc import Mapping, Sequence

from bootstrap.adapters.process import run
from bootstrap.domain.errors import ConfigError

TIMEOUT_S = 60.0
# Nothing else passes: a shell may have exported any key under any name.
_PASSED = (
    "DBUS_SESSION_BUS_ADDRESS",
    "HOME",
    "LANG",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
)


def run_hook(argv: Sequence[str], told: Mapping[str, str], folder: str) -> None:
    """Run it to its end; what it prints is thrown away, since it could be anything.

    Args:
        argv: The program and its arguments.
        told: Further variables; none of them secret.
        folder: Where it runs.

    Raises:
        ConfigError: It cannot be run, does not end in TIMEOUT_S, or ends with a status above 0.
    """
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    try:
        status = run(argv, env={**passed, **told}, cwd=folder, timeout_s=TIMEOUT_S).returncode
    except TimeoutError:
        raise _failed(f"it did not end within {TIMEOUT_S:.0f} s") from None
    except (OSError, ValueError):
        raise _failed("it cannot be started, or prints without an end") from None
    if status:
        ended = f"signal {-status} ended it" if status < 0 else f"its exit status is {status}"
        raise _failed(ended)


def _failed(why: str) -> ConfigError:
    return ConfigError(
        "the program that [rotate] after names failed",
        why=why,
        fix="the key is in force nevertheless; run that program by hand",
    )
