"""The gateway's process under our own supervisor, for machines without systemd --user.

The supervisor is a detached process of its own (`bootstrap.adapters.supervisor_daemon`); this
module starts it, asks it through its status file and steers it by signals. It is found again by
its identity, never by its number alone.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePath

from bootstrap.adapters import memory
from bootstrap.adapters.disk import explain
from bootstrap.adapters.paths import is_file, words
from bootstrap.adapters.supervisor_child import clean_environment
from bootstrap.adapters.supervisor_log import last_lines, open_log
from bootstrap.adapters.supervisor_state import (
    ALREADY_SUPERVISED,
    BACKOFF,
    FRESH_LOG_FILE,
    LOG_FILE,
    RUNNING,
    STARTING,
    STATUS_FILE,
    STOPPED,
    STOPPING,
    Limits,
    SupervisorState,
    read_state,
    require_room,
)
from bootstrap.domain.errors import KeptError, NotReadyError, ServiceError
from bootstrap.ports import ServiceStatus

_KILLED_S = 10.0
_PAUSE_S = 0.05


class SupervisorService:
    """The gateway, kept alive by our own supervisor. It does not come back after a reboot.

    Args:
        spec: The JSON file that `supervisor/service.json.j2` renders: argv, env_file, environment.
        state_dir: Its folder for the status file, the lock and the log; made 0700.
        limits: How patient to be.
    """

    kind = "supervisor"
    name = "litellm"

    def __init__(self, spec: PurePath, state_dir: PurePath, limits: Limits | None = None) -> None:
        self._spec = Path(spec)
        self._state_dir = Path(state_dir)
        self._limits = limits or Limits()
        self._log = self._state_dir / LOG_FILE

    def status(self) -> ServiceStatus:
        """Return what the supervisor last said, where it still runs."""
        state = read_state(self._state_dir / STATUS_FILE)
        installed = is_file(str(self._spec))
        if state is None:
            return ServiceStatus(False, None, "it was never started", installed)
        child = state.child if state.child and state.child.alive() else None
        running, pid = child is not None, child.pid if child else None
        if not state.daemon.alive():
            died = "its supervisor was killed" if state.phase != STOPPED else "stopped"
            return ServiceStatus(running, pid, died, installed)
        detail = f"{state.phase}: {state.detail}" if state.detail else state.phase
        active = running and state.phase in (RUNNING, STARTING)
        return ServiceStatus(active, pid, detail, installed)

    def start(self) -> None:
        """Start the supervisor, and with it the gateway; no effect where it runs.

        Raises:
            ServiceError: The supervisor or the gateway's program cannot be started.
        """
        state = self._living()
        if state is not None and state.phase in (STOPPING, STOPPED):
            self.stop()
        elif state is not None:
            if state.phase == BACKOFF:
                self.restart()
            return
        if not is_file(str(self._spec)):
            raise ServiceError(
                f"{self.name} cannot be started",
                why=f"{self._spec} is not written yet",
                fix="run: keyturn apply",
            )
        self._end_orphan()
        self._spawn()
        limits = self._limits
        self._wait(lambda found: found.phase != STOPPED, limits.start_s, "start")
        patience_s = limits.start_s + limits.ready_s
        found = self._wait(lambda found: found.phase in (RUNNING, BACKOFF), patience_s, "start")
        self._require_started(found, "start")

    def restart(self) -> None:
        """Stop the gateway and start it with the files as they are now.

        Raises:
            ServiceError: Its program cannot be started, or the supervisor does not react.
        """
        state = self._living()
        if state is None:
            self.start()
            return
        state.daemon.send(signal.SIGHUP)
        found = self._wait(
            lambda found: (
                found.daemon != state.daemon
                or (found.restarts_done > state.restarts_done and found.phase in (RUNNING, BACKOFF))
            ),
            self._limits.stop_s + self._limits.ready_s + self._limits.start_s,
            "restart",
        )
        self._require_started(found, "restart")

    def listening(self) -> str | None:
        """Return the address that the supervisor holds open, such as `127.0.0.1:4000`."""
        state = self._living()
        return state.listening if state is not None else None

    def swap_hindrance(self) -> str | None:
        """Return why there can be no second process now, or None."""
        return memory.hindrance(memory.FOR_SECOND)

    def swap(self, taken_over: Callable[[], None] = lambda: None) -> None:
        """Let a fresh process take over the socket, and the running one finish its answers.

        Args:
            taken_over: Called within 0.1 s after the fresh one has begun to serve.

        Raises:
            KeptError: The fresh one does not come up; the old one goes on serving.
            ServiceError: The supervisor does not react, or its program cannot be started.
        """
        state = self._living()
        if state is None:
            self.start()
            taken_over()
            return

        def over(found: SupervisorState) -> bool:
            return found.daemon != state.daemon or found.swaps_done > state.swaps_done

        def serves(found: SupervisorState) -> bool:
            return over(found) or found.child not in (None, state.child)

        state.daemon.send(signal.SIGUSR1)
        limit_s = self._limits.ready_s + self._limits.stop_s + self._limits.start_s
        found = self._wait(serves, limit_s, "swap")
        if not (over(found) and found.swap_failure):
            taken_over()
            found = self._wait(over, limit_s, "swap")
        if found.swap_failure:
            raise KeptError(
                f"a fresh {self.name} does not start",
                why=found.swap_failure,
                fix=f"see {self._state_dir / FRESH_LOG_FILE}",
            )

    def stop(self) -> None:
        """Stop the gateway, letting running answers finish, and the supervisor.

        Raises:
            ServiceError: It survives being killed.
        """
        state = self._living()
        if state is not None:
            for number, patience_s in (
                (signal.SIGTERM, self._limits.stop_s),
                (signal.SIGTERM, _KILLED_S),  # the second one cuts its waiting short
                (signal.SIGKILL, _KILLED_S),
            ):
                state.daemon.send(number)
                if _until(lambda: not state.daemon.alive(), patience_s):
                    break
            else:
                raise ServiceError(
                    f"{self.name} cannot be stopped",
                    why=f"process {state.daemon.pid} survives being killed",
                    fix="look for a file system that hangs, or restart the machine",
                )
        self._end_orphan()

    def log_lines(self, most: int, *, fresh: bool = False) -> list[str]:
        """Return the last lines of the log, unredacted: the caller must redact before showing.

        Args:
            most: How many.
            fresh: Those of the last process that was to take over.
        """
        return last_lines(self._state_dir / FRESH_LOG_FILE if fresh else self._log, most)

    def reset(self) -> None:
        """Do nothing: files are read at each start, and `restart` does not count failures."""

    def _living(self) -> SupervisorState | None:
        state = read_state(self._state_dir / STATUS_FILE)
        return state if state is not None and state.daemon.alive() else None

    def _end_orphan(self) -> None:
        """End a gateway whose supervisor was killed; the kernel usually did that already."""
        state = read_state(self._state_dir / STATUS_FILE)
        if state is None or state.child is None or state.daemon.alive():
            return
        orphan = state.child
        for number in (signal.SIGTERM, signal.SIGKILL):
            orphan.send(number)
            if _until(lambda: not orphan.alive(), min(self._limits.stop_s, _KILLED_S)):
                return

    def _spawn(self) -> None:
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            require_room(self._state_dir)
            log = open_log(self._log)
        except OSError as error:
            raise ServiceError(
                f"{self.name} cannot be started",
                why=f"{self._log}: {words(error)}",
                fix=explain(self._log, "written", error).fix,
            ) from None
        argv = [sys.executable, "-P", "-m", "bootstrap.adapters.supervisor_daemon",
                str(self._spec), str(self._state_dir), self._limits.to_text()]  # fmt: skip
        try:
            code = subprocess.run(
                argv, env=clean_environment(), cwd="/", umask=0o077, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                timeout=self._limits.start_s,
            ).returncode  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            code, why = -1, type(error).__name__
        else:
            why = f"it ended with {code}"
        finally:
            os.close(log)
        # Where another command was faster, its supervisor is as good as ours.
        if code not in (0, ALREADY_SUPERVISED):
            raise NotReadyError("the supervisor does not start", why=why, fix=f"see {self._log}")

    def _wait(
        self, done: Callable[[SupervisorState], bool], limit_s: float, verb: str
    ) -> SupervisorState:
        """Wait for what the supervisor says, and return it: a moment later it may say otherwise.

        Raises:
            ServiceError: It does not come to that in time.
        """
        reached: list[SupervisorState] = []

        def look() -> bool:
            found = self._living()
            if found is not None and done(found):
                reached.append(found)
            return bool(reached)

        if not _until(look, limit_s):
            raise NotReadyError(
                f"{self.name} does not {verb}",
                why=f"its supervisor gave no answer for {limit_s:g} s",
                fix=f"see {self._log}; is it supervised from another container?",
            )
        return reached[0]

    def _require_started(self, state: SupervisorState, verb: str) -> None:
        if state.phase == BACKOFF:
            raise NotReadyError(
                f"{self.name} does not {verb}", why=state.detail, fix=f"see {self._log}"
            )


def _until(done: Callable[[], bool], limit_s: float) -> bool:
    """Wait until `done()`, at most `limit_s` seconds; return whether it came to that."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_S)
    return True
