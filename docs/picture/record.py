"""Record the README's terminal pictures from a real run, in a scratch home.

    .venv/bin/python docs/picture/record.py            writes terminal.svg and rotation.svg here
    .venv/bin/python docs/picture/record.py rotation   writes that one only

LiteLLM is installed into the scratch home, or taken from LITELLM=/path/to/litellm.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(__file__).parent
WIDTH = 104
# Name -> (the commands, whether what they say of their steps is shown, too).
PICTURES: dict[str, tuple[tuple[tuple[str, ...], ...], bool]] = {
    "terminal": ((("bootstrap",), ("check", "--deep"), ("rotate",)), False),
    "rotation": ((("rotate", "--dry-run"), ("rotate",), ("rotate", "--restart")), True),
}


def main() -> None:
    """Run the commands of each picture and draw what they print."""
    names = sys.argv[1:] or list(PICTURES)
    with tempfile.TemporaryDirectory(prefix="keyturn-picture-") as scratch:
        home, lab = Path(scratch, "home"), Path(scratch, "home", "lab")
        lab.mkdir(parents=True, mode=0o700)
        environment = {**_clean(), "HOME": str(home), "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
        try:
            _prepare(lab, environment)
            if "terminal" not in names:
                _run(("bootstrap",), lab, environment)
            for name in names:
                _draw(name, home, lab, environment)
        finally:
            _run(("service", "stop"), lab, environment)


def _draw(name: str, home: Path, lab: Path, environment: dict[str, str]) -> None:
    commands, with_steps = PICTURES[name]
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    if with_steps:  # on a terminal that is none they are lines
        environment = {key: value for key, value in environment.items() if key != "FORCE_COLOR"}
    for words in commands:
        shown = _run(words, lab, environment, with_steps=with_steps)
        shown = shown.replace(f"{ROOT}/.venv/bin/", "").replace(f"{home}", "~")
        console.print(Text.assemble(("$ ", "bold cyan"), (f"keyturn {' '.join(words)}", "bold")))
        console.print(Text.from_ansi(shown.rstrip()))
        console.print()
    drawing = console.export_svg(title="keyturn")
    # A picture must not load anything from elsewhere: the viewer's own fonts will do.
    picture = FOLDER / f"{name}.svg"
    picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.S))
    print(f"wrote {picture}")  # noqa: T201


def _clean() -> dict[str, str]:
    kept = ("PATH", "LANG", "SSL_CERT_FILE", "PIP_INDEX_URL", "PIP_CERT")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _prepare(lab: Path, environment: dict[str, str]) -> None:
    program = os.environ.get("LITELLM")
    if program:
        _run(("init", "--port", "4000"), lab, environment)
        file = lab / "lab.toml"
        text = file.read_text().replace("[gateway]\n", f'[gateway]\ncommand = "{program}"\n', 1)
        file.write_text(text)


def _run(
    words: tuple[str, ...], lab: Path, environment: dict[str, str], *, with_steps: bool = False
) -> str:
    """Return what a command prints; with its steps, in the order in which both came."""
    done = subprocess.run(
        [sys.executable, "-m", "bootstrap", *words],
        cwd=lab, env=environment, stdin=subprocess.DEVNULL, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT if with_steps else subprocess.PIPE,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"keyturn {' '.join(words)} failed:\n{done.stderr or done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
