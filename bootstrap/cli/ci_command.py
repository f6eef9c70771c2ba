"""`keyturn ci mask`: hide the job's secrets in the logs of the CI system it runs in."""

from typing import Annotated

import typer

from bootstrap.cli.session import Session, command
from bootstrap.domain.ci import AZURE, BUILDKITE, GITHUB, GITLAB, redactor_lines
from bootstrap.domain.errors import ExitCode
from bootstrap.wiring import ci, found_lab, output
from bootstrap.workflows.resolve import Resolved, late_sources

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME[=REF]]...",
        help="The secrets to hide. Default: those under [exec] in lab.toml.",
        show_default=False,
    ),
]
_GITLAB_RULES = """\
GitLab hides only variables that its settings mark as Masked: Settings > CI/CD > Variables. No job
can add one. A value can be masked if it is one line of at least 8 characters, without blanks, of
letters, digits and @ _ - : + / = . ~"""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="For CI jobs.")
    command(
        group,
        "mask",
        examples=(
            "keyturn ci mask",
            "keyturn ci mask LITELLM_MASTER_KEY=env:CI_LITELLM_KEY",
            'eval "$(keyturn ci mask)"     (Buildkite)',
        ),
    )(mask)
    app.add_typer(group, name="ci")


def mask(session: Session, names: NamesArgument = None) -> int | None:
    """Print what makes this CI system hide the job's secrets: one command per value and line.

    On GitHub and Azure Pipelines the runner takes the commands out of the log. On Buildkite they
    are shell lines without a value in them, for eval. GitLab has no such command: this says
    whether its rules allow each value to be masked, and fails where they do not.
    """
    kind = ci.system()
    output.refuse_closed()
    found = ci.resolve(session.lab, names or ())
    for line in late_sources(found.values()):  # another value may be in force by now
        session.warn(line)
    secrets = {name: item.secret for name, item in found.items()}
    if kind in (GITHUB, AZURE):
        for name in ci.write_masks(kind, secrets):
            session.progress.note(
                f"{name} is too short to be hidden: every log would be full of it"
            )
        return None
    if kind == BUILDKITE:
        for name, item in found.items():
            for line in redactor_lines(_variable(item), name, found_lab.keyturn_program()):
                session.print(line)
        return None
    if kind == GITLAB:
        return _explain_gitlab(session, ci.gitlab_problems(secrets))
    session.progress.note(
        "This CI system has no masking command that keyturn knows. Mark the variable as secret in "
        "its settings, and run programs that may print it with: keyturn exec --mask -- PROGRAM"
    )
    return None


def _variable(item: Resolved) -> str | None:
    return item.ref.place if item.ref.scheme == "env" else None


def _explain_gitlab(session: Session, problems: "dict[str, str | None]") -> int:
    session.print(_GITLAB_RULES)
    for name, problem in problems.items():
        session.print(f"{name}: {f'cannot be masked, {problem}' if problem else 'can be masked'}")
    return ExitCode.FAILED if any(problems.values()) else ExitCode.DONE
