"""Bring the gateway up and prove it: refused without the key, accepted with it.

Nothing here takes an answer on the port for the gateway's own: the listener must be a process of
the service, and an open gateway is an error however healthy it looks.
"""

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager

from bootstrap.domain.errors import (
    GatewayError,
    KeptError,
    LabError,
    NotReadyError,
    OpenGatewayError,
    ServiceError,
)
from bootstrap.domain.probes import Answer, Verdict, describe, verdict
from bootstrap.domain.secret import Secret
from bootstrap.workflows.tools import NamedSecrets, Tools

# LiteLLM takes 6-8 s to start on an idle machine, 20 s on a busy one, more without bytecode.
READY_BUDGET_S = 180.0
_PAUSE_S = 0.2
# A service manager waits 2 s before it starts a dead process again.
_ABSENT_BUDGET_S = 10.0
_MOST_PROCESSES = 3
_LOG_LINES = 12


def bring_up(
    tools: Tools,
    secrets: NamedSecrets,
    *,
    starts: bool,
    reload: bool,
    taken_over: Callable[[], None] = lambda: None,
) -> None:
    """Start or restart the gateway, and wait until it answers.

    Where its service manager holds its port open, a restart refuses no connection and breaks no
    stream.

    Args:
        tools: The lab and everything around it.
        secrets: The lab's secrets, to keep them out of log lines.
        starts: Whether it does not run yet.
        reload: Whether the service manager must re-read its files first.
        taken_over: Called once, when the fresh gateway serves.

    Raises:
        KeptError: It does not come up with the files as they are; the one before goes on serving.
        ServiceError: It does not start, or dies; shows its last log lines, redacted.
        GatewayError: The port is taken by another program, or nothing answers in time.
    """
    service = tools.service
    # Asked before the manager re-reads its files: then it would name the new address.
    held = service.listening()
    moves = held != tools.lab.gateway.held
    if starts or moves:
        require_port_free(tools)
    if moves and (held is not None or not starts):
        service.stop()
    if reload:
        service.reset()
    called = False
    try:
        if starts or moves:
            with _step(tools, "start"):
                service.start()
        else:
            called = _restart(tools, taken_over)
    except NotReadyError as error:
        fresh = isinstance(error, KeptError)
        fix = _with_log(tools, secrets, error.fix, fresh=fresh)
        raise type(error)(error.what, why=error.why, fix=fix) from None
    wait_until_ready(tools, secrets)
    if not called:
        taken_over()


def wait_until_ready(tools: Tools, secrets: NamedSecrets) -> None:
    """Wait until the running service answers on its port; raises as `bring_up`."""
    with tools.progress.step(f"wait until it answers on {tools.gateway.url} (20 s is normal)"):
        _wait(tools, secrets)


def _restart(tools: Tools, taken_over: Callable[[], None]) -> bool:
    """Swap it where that can be done; else restart it, and say what that costs.

    Returns whether `taken_over` was called, which a swap does in its middle.
    """
    service = tools.service
    why_not = service.swap_hindrance() if tools.lab.gateway.held else None
    if tools.lab.gateway.held is None:
        with _step(tools, "restart", "requests are refused meanwhile"):
            service.restart()
    elif why_not is not None:
        tools.progress.note(f"No second {service.name} beside it: {why_not}.")
        with _step(tools, "restart", "requests wait meanwhile"):
            service.restart()
    else:
        with _step(tools, "restart", "a second one serves meanwhile"):
            service.swap(taken_over)
        return True
    return False


def _step(tools: Tools, verb: str, meanwhile: str = "") -> AbstractContextManager[None]:
    more = f": {meanwhile}" if meanwhile else ""
    return tools.progress.step(f"{verb} {tools.service.name} ({tools.service.kind}){more}")


def require_port_free(tools: Tools) -> None:
    """Refuse to start on a port that somebody else holds: LiteLLM would move to a random one.

    The service itself may hold it, or its manager.

    Raises:
        GatewayError: Another program listens there; names it.
    """
    gateway, service = tools.lab.gateway, tools.service
    listener = tools.ports.listener(gateway.port)
    if listener is None or (service.listening() or "").endswith(f":{gateway.port}"):
        return
    pid = service.status().pid
    if pid is not None and tools.ports.serves(pid, gateway.port):
        return
    who = (
        f"{listener.command or 'a program'} (pid {listener.pid})"
        if listener.pid
        else "another user's program"
    )
    stop = "stop it"
    if listener.supervisor is not None and listener.lab in tools.other_labs():
        who = f"the gateway of the lab in {listener.lab}"
        stop = f"keyturn --lab {shlex.quote(listener.lab)} service stop"
    elif listener.supervisor is not None:
        who = f"a gateway of keyturn's, of no lab in this home ({listener.lab or 'unknown'}),"
        stop = f"if that lab is gone: kill {listener.supervisor}"
    raise GatewayError(
        f"port {gateway.port} is taken",
        why=f"{who} listens there",
        fix=f"{stop}; or choose another port: gateway.port in {tools.lab.file}",
    )


def _wait(tools: Tools, secrets: NamedSecrets) -> None:
    began = tools.clock.monotonic()
    deadline, appears_by = began + READY_BUDGET_S, began + _ABSENT_BUDGET_S
    processes: set[int] = set()
    answer = Answer(None, problem="it was not asked")
    while (now := tools.clock.monotonic()) < deadline:
        status = tools.service.status()
        if status.pid is not None:
            processes.add(status.pid)
        gone = not status.running and (processes or now >= appears_by)
        if gone or len(processes) > _MOST_PROCESSES:
            raise ServiceError(
                f"{tools.service.name} starts and dies again",
                why=status.detail,
                fix=_with_log(tools, secrets, "mend what its log says, then: keyturn apply"),
            )
        answer = tools.gateway.alive()
        if answer.status == 200 and status.pid is not None:
            require_own_listener(tools, status.pid)
            return
        tools.clock.sleep(_PAUSE_S)
    raise GatewayError(
        f"the gateway does not answer on {tools.gateway.url}",
        why=f"{describe(answer)} for {READY_BUDGET_S:.0f} s",
        fix=_with_log(tools, secrets, "see its log, then: keyturn apply"),
    )


def require_own_listener(tools: Tools, service_pid: int) -> None:
    """Refuse an answer that another program gives on the gateway's port.

    Raises:
        GatewayError: Nothing listens there, or no process of the service does.
    """
    port = tools.lab.gateway.port
    if tools.ports.serves(service_pid, port):
        return
    listener = tools.ports.listener(port)
    if listener is None:
        raise GatewayError(
            f"nothing listens on port {port}",
            why=f"{tools.service.name} runs, but does not serve (it takes 10 to 20 s to start)",
            fix="wait a little; keyturn service log shows what it does",
        )
    who = "another user's program"
    if listener.pid is not None:
        who = f"{listener.command} (pid {listener.pid})"
    raise GatewayError(
        f"port {port} is not the gateway's",
        why=f"{who} answers there, not {tools.service.name}",
        fix=f"stop that program, or choose another port: gateway.port in {tools.lab.file}",
    )


def _with_log(tools: Tools, secrets: NamedSecrets, fix: str, *, fresh: bool = False) -> str:
    try:
        lines = tools.service.log_lines(_LOG_LINES, fresh=fresh)
    except LabError:
        lines = []
    shown = tools.known(secrets).redact(lines)
    return fix + "".join(f"\n       | {line}" for line in shown)


def prove(tools: Tools, key: Secret) -> tuple[str, ...]:
    """Prove that the gateway refuses no key and a wrong one, and accepts `key`.

    Returns the ids of the models that it serves to `key`.

    Raises:
        OpenGatewayError: It serves requests that carry no key, or a made-up one.
        GatewayError: It does not accept `key`, or its answers prove nothing.
    """
    for sent, words in ((None, "no key"), (tools.new_key(), "a made-up key")):
        answer = tools.gateway.models(sent)
        found = verdict(answer, with_key=sent is not None)
        if found is Verdict.ACCEPTED:
            raise open_gateway(tools, words)
        if found is Verdict.UNKNOWN:
            raise GatewayError(
                f"the gateway's answer to {words} proves nothing",
                why=describe(answer),
                fix="keyturn check says more; see the log of the service",
            )
    answer = tools.gateway.models(key)
    if verdict(answer, with_key=True) is Verdict.ACCEPTED:
        return answer.model_ids
    raise GatewayError(
        "the gateway does not accept the lab's key",
        why=describe(answer),
        fix="it may run with an older key: keyturn apply restarts it when its files changed",
    )


def open_gateway(tools: Tools, words: str) -> OpenGatewayError:
    """Return the loudest error there is."""
    return OpenGatewayError(
        f"THE GATEWAY IS OPEN: {tools.gateway.url} served a request with {words}",
        why="no master key is in force, so anybody who reaches the port may use every model",
        fix="stop it now (keyturn service stop), then: keyturn apply",
    )
