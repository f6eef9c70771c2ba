"""`keyturn models import`: the catalogue of a config or a running backend, into lab.toml."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.errors import UsageError
from bootstrap.wiring import labs, models, signals
from bootstrap.workflows.import_models import Import


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="The catalogue in lab.toml."
    )
    group.callback()(lambda: None)
    command(
        group,
        "import",
        examples=(
            "keyturn models import ~/.config/litellm/config.yaml --dry-run",
            "keyturn models import --from http://127.0.0.1:11434",
            "keyturn models import --from https://llm.example.com/v1 --key EXAMPLE_API_KEY",
        ),
    )(import_models)
    app.add_typer(group, name="models")


def import_models(
    session: Session,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A LiteLLM config.", show_default=False)
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            help="Ask a running Ollama, llama.cpp, vLLM or OpenAI-compatible server instead.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The lab's secret that opens that server.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be added.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add the models of another catalogue to lab.toml, and their keys to the encrypted store.

    Models that lab.toml has already stay as they are, and so does every byte of the file: what is
    new comes at its end. What cannot be carried over is said there in a comment.
    """
    if (file is None) == (url is None):
        why = "name either a FILE or --from URL"
        raise UsageError("nothing to import", why=why, fix="see: keyturn models import --help")
    if key is not None and url is None:
        raise UsageError("--key goes with --from", why="a file names its keys", fix="leave it out")
    root = session.root()
    found = models.from_file(file) if file else models.from_backend(url or "", root, key)
    if dry_run:
        ready = models.prepare(root, found)
    else:
        with signals.termination_raises(), labs.lock(root):
            ready = models.prepare(root, found)
            models.write(root, ready)
    _show(session, ready, dry_run)
    session.document(_data(ready, dry_run))


def _show(session: Session, ready: Import, dry_run: bool) -> None:
    more = ready.additions
    if dry_run or session.verbose:
        for line in models.shown(ready):
            session.print(Text(f"+ {line}".rstrip(), style="green"))
    for alias in more.models if not dry_run else ():
        session.print(Text.assemble(("added    ", "green"), alias))
    for name in more.store:
        verb = "would go" if dry_run else "went"
        session.print(Text.assemble(("secret   ", "green"), f"{name} {verb} into the store"))
    for name in more.missing:
        session.print(Text.assemble(("missing  ", "yellow"), f"{name}: put it into the store"))
    for line in more.left_out:
        session.print(Text.assemble(("left out ", "yellow"), line))
    for alias in more.kept if session.verbose else ():
        session.print(Text.assemble(("there    ", "dim"), alias))
    if not more.text:
        nothing = "lab.toml has these models already" if more.kept else "it has no model to add"
        session.print(f"Nothing to add: {nothing}.")
    elif not dry_run:
        session.print("Next: keyturn apply")


def _data(ready: Import, dry_run: bool) -> dict[str, Any]:
    more = ready.additions
    return {
        "lab": str(ready.root),
        "changed": bool(more.text) and not dry_run,
        "models": list(more.models),
        "backends": list(more.backends),
        "stored": {name: secret.fingerprint() for name, secret in more.store.items()},
        "missing": list(more.missing),
        "kept": list(more.kept),
        "left_out": list(more.left_out),
        "added": models.shown(ready),
    }
