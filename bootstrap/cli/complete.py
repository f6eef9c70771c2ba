"""What a shell offers after a word of the command line; nothing is decrypted for it."""

import re
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand

from bootstrap.domain.errors import LabError
from bootstrap.wiring import found_lab


@dataclass(frozen=True)
class Offer:
    """One word that fits, in the form in which Typer's shells take it."""

    value: str
    type: str = "plain"
    help: str = ""


class ExecCommand(TyperCommand):
    """`exec`, which reads its words itself: they reach it as they were typed, each `--` too."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Keep every word."""
        ctx.args = list(args)
        return ctx.args

    def shell_complete(self, ctx: typer.Context, incomplete: str) -> list[Any]:  # type: ignore[override]
        """Offer the options of its help; a shell itself offers programs and files."""
        from bootstrap.cli.exec_help import USAGE

        options = re.findall(r"^ +(?:-\w, )?(--\w[\w-]*)", USAGE, re.MULTILINE)
        return [Offer(option) for option in options if option.startswith(incomplete or "-")]


def secret_names(ctx: typer.Context) -> list[str]:
    """Return the names of the lab's secrets; none where there is no lab that can be read."""
    try:
        return list(found_lab.load(found_lab.require(_lab(ctx))).secrets)
    except LabError:
        return []


def _lab(ctx: typer.Context) -> str | None:
    """Return what stands behind --lab, after the command or before it."""
    given = ctx.params.get("lab") or (ctx.parent.params.get("lab") if ctx.parent else None)
    return str(given) if given else None
