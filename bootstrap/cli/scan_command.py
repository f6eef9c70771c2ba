"""`keyturn scan`: find the lab's keys wherever they still lie."""

from typing import Annotated

import typer

from bootstrap.cli.session import JsonOption, Session, command


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = (
        "keyturn scan",
        "keyturn scan ~/projects /var/backups/me",
        "keyturn scan --only dump.sql",
        "keyturn scan --except ~/.config/chromium",
        "keyturn scan --fingerprint 1a2b3c4d",
        "keyturn scan --json",
    )
    command(app, "scan", examples=examples)(scan_for_keys)


def scan_for_keys(
    session: Session,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...", help="Search these files and folders, too.", show_default=False
        ),
    ] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Search nothing but the paths that are named.")
    ] = False,
    spared: Annotated[
        list[str] | None,
        typer.Option(
            "--except", metavar="PATH", help="Leave this out. Repeatable.", show_default=False
        ),
    ] = None,
    marks: Annotated[
        list[str] | None,
        typer.Option(
            "--fingerprint",
            metavar="8-DIGITS",
            help="Look for the key with this fingerprint, too. Repeatable.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Find old keys wherever they still lie, and those in force where they should not be.

    Searches the lab and its history in git, the dotfiles and histories in your home, the folders of
    droid and Claude Code, ~/.config, ~/.local, running programs, systemd and its journal, the
    crontab. Changes nothing, and never shows a part of a key.

    Exit 0 if there is nothing, 1 if a key that is still good lies where it should not, 3 if only
    old ones do.
    """
    from bootstrap.cli.scan_run import run  # every other command starts without it

    return run(session, paths or [], marks or [], only=only, spared=spared or [])
