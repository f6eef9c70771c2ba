"""What our supervisor and the commands that steer it share: a status file, limits, file names.

Everything in the state folder is 0600 and holds no secret.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bootstrap.adapters.paths import without_waiting
from bootstrap.adapters.process_identity import ProcessIdentity

_ROOM = 4096  # bytes
STATUS_FILE = "supervisor.json"
LOCK_FILE = "supervisor.lock"
LOG_FILE = "gateway.log"
FRESH_LOG_FILE = "fresh.log"  # of the process that is to take over

STARTING = "starting"
RUNNING = "running"
BACKOFF = "backoff"
STOPPING = "stopping"
STOPPED = "stopped"

# The exit status of a supervisor that finds another one in charge (EX_TEMPFAIL of sysexits.h).
ALREADY_SUPERVISED = 75


@dataclass(frozen=True)
class Limits:
    """How patient the supervisor is.

    Attributes:
        backoff_first_s: Seconds before the first restart after a failure; doubles each time.
        backoff_most_s: The longest such pause.
        steady_s: How long the gateway must have run for its next failure to count as the first.
        stop_s: Seconds that running answers get to finish before the gateway is killed.
        ready_s: Seconds that the gateway gets until it says that it is ready.
        start_s: Seconds that the supervisor itself gets to come up (0.2 s on an idle machine).
        log_bytes: The size at which the log file is put aside; one older one is kept.
    """

    backoff_first_s: float = 1.0
    backoff_most_s: float = 30.0
    steady_s: float = 60.0
    stop_s: float = 600.0
    ready_s: float = 180.0
    start_s: float = 30.0
    log_bytes: int = 10_000_000

    def to_text(self) -> str:
        """Return it as one command-line argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Limits":
        """Return what `to_text` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class SupervisorState:
    """What the supervisor last said about itself.

    Attributes:
        daemon: The supervisor's process.
        child: The gateway's process, or None.
        phase: STARTING, RUNNING, BACKOFF, STOPPING or STOPPED.
        detail: One clause for people; empty while all is well.
        restarts_done: How many requests to restart it has carried out.
        listening: The address it holds open for the gateway, or None.
        swaps_done: How many requests to swap it has carried out, whatever their outcome.
        swap_failure: Why the last of them failed; empty where it did not.
    """

    daemon: ProcessIdentity
    child: ProcessIdentity | None
    phase: str
    detail: str
    restarts_done: int
    listening: str | None = None
    swaps_done: int = 0
    swap_failure: str = ""


def read_state(path: Path) -> SupervisorState | None:
    """Return what the status file says, or None where there is none or it does not parse."""
    try:
        with open(path, "rb", opener=without_waiting) as file:
            value: Any = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    match value:
        case {
            "daemon": daemon,
            "child": child,
            "phase": str(phase),
            "detail": str(detail),
            "restarts_done": int(done),
            # An older keyturn's supervisor, which still runs, writes none of the following.
            **more,
        }:
            identity = ProcessIdentity.from_json(daemon)
            if identity is not None:
                known = ProcessIdentity.from_json(child)
                return SupervisorState(identity, known, phase, detail, done, *_swapping(more))
    return None


def _swapping(more: Mapping[Any, Any]) -> tuple[str | None, int, str]:
    match more:
        case {
            "listening": str() | None as address,
            "swaps_done": int(done),
            "swap_failure": str(why),
        }:
            return address, done, why
    return None, 0, ""


def write_state(path: Path, state: SupervisorState) -> None:
    """Replace the status file; a reader sees the old one or the new one.

    Raises:
        OSError: It cannot be written, for example because the disk is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(state), file)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def require_room(folder: Path) -> None:
    """Make sure that a supervisor could say how it stands: one that cannot is waited for in vain.

    Raises:
        OSError: A file of that size cannot be written there now.
    """
    beside = folder / f".{STATUS_FILE}.{os.getpid()}.room"
    try:
        beside.write_bytes(bytes(_ROOM))
    finally:
        beside.unlink(missing_ok=True)
