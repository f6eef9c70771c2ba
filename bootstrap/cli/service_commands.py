"""`service`: start, stop and look at the gateway, whichever manager keeps it alive."""

from enum import StrEnum
from typing import Annotated

import typer

from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.errors import ExitCode
from bootstrap.wiring import labs, signals
from bootstrap.workflows.gateway_up import bring_up
from bootstrap.workflows.planning import needed_secrets, only_secrets


class ServiceAction(StrEnum):
    """What to do with the gateway's service."""

    STATUS = "status"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    LOG = "log"


ActionArgument = Annotated[ServiceAction, typer.Argument(help="What to do.", show_default=True)]
LinesOption = Annotated[int, typer.Option("-n", "--lines", min=1, help="Lines of the log.")]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("keyturn service status", "keyturn service log -n 50", "keyturn service stop")
    command(app, "service", examples=examples)(service)


def service(
    session: Session,
    action: ActionArgument = ServiceAction.STATUS,
    lines: LinesOption = 20,
    as_json: JsonOption = False,
) -> int:
    """Start, stop or look at the gateway. Log lines are shown without known or likely keys.

    `status` exits 1 when it does not run.
    """
    root = session.root()
    tools = labs.tools(root, session.progress)
    if action is ServiceAction.LOG:
        secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
        shown = tools.known(secrets).redact(tools.service.log_lines(lines))
        session.document({"lines": shown})
        for line in shown:
            session.print(line)
        return ExitCode.DONE
    if action is not ServiceAction.STATUS:
        with signals.termination_raises(), labs.lock(root):
            if action is ServiceAction.STOP:
                tools.service.stop()
            else:
                running = tools.service.status().running
                secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
                if action is ServiceAction.RESTART or not running:
                    bring_up(tools, secrets, starts=not running, reload=True)
    found = tools.service.status()
    session.document(
        {
            "name": tools.service.name,
            "kind": tools.service.kind,
            "running": found.running,
            "pid": found.pid,
            "detail": found.detail,
        }
    )
    pid = f", pid {found.pid}" if found.pid else ""
    session.print(f"{tools.service.name} ({tools.service.kind}): {found.detail or 'stopped'}{pid}")
    wanted = action is not ServiceAction.STOP
    return ExitCode.DONE if found.running == wanted else ExitCode.FAILED
