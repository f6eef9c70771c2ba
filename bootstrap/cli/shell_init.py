"""`keyturn shell-init`: functions for the lab's models, and completions."""

import sys
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from bootstrap.cli.session import Session, command
from bootstrap.domain.client_presets import models_for
from bootstrap.domain.clients import PRESETS
from bootstrap.domain.errors import UsageError
from bootstrap.domain.shell_init import SHELLS, functions
from bootstrap.domain.table import did_you_mean
from bootstrap.wiring import found_lab

_CLIENT = "claude"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "shell-init",
        examples=(
            'eval "$(keyturn shell-init bash)"     (in ~/.bashrc)',
            'eval "$(keyturn shell-init zsh)"      (in ~/.zshrc)',
            "keyturn shell-init fish | source     (in ~/.config/fish/config.fish)",
        ),
    )(shell_init)


def shell_init(
    session: Session,
    shell: Annotated[
        str,
        typer.Argument(
            metavar="bash|zsh|fish", show_default=False, autocompletion=lambda: list(SHELLS)
        ),
    ],
) -> None:
    """Print functions `claude-ALIAS` for the lab's models, and completions, for a shell to eval.

    No key is in them: each asks keyturn for one when it is called.
    """
    if shell not in SHELLS:
        fix = did_you_mean(shell, SHELLS)
        raise UsageError(f"no functions for {shell!a}", why="it is no shell we know", fix=fix)
    root = found_lab.locate(session.lab)
    text = ""
    if root is not None:  # a new shell must start without a lab, too
        models = models_for(PRESETS[_CLIENT], found_lab.load(root).models)
        text = functions(
            shell,
            [model.alias for model in models],
            client=_CLIENT,
            keyturn=found_lab.keyturn_program(),
            lab=str(root),
        )
    script = get_completion_script(
        prog_name="keyturn", complete_var="_KEYTURN_COMPLETE", shell=shell
    )
    if shell == "zsh":  # compdef is there only after compinit
        script = f"if (( ${{+functions[compdef]}} )); then\n{script.strip()}\nfi"
    sys.stdout.write(f"{text}{script.strip()}\n")
