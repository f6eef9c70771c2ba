"""Record the README's terminal picture from a real run, in a scratch home.

    .venv/bin/python docs/picture/record.py            writes docs/picture/terminal.svg

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
PICTURE = Path(__file__).with_name("terminal.svg")
WIDTH = 104


def main() -> None:
    """Run the commands and draw what they print."""
    with tempfile.TemporaryDirectory(prefix="keyturn-picture-") as scratch:
        home, lab = Path(scratch, "home"), Path(scratch, "home", "lab")
        lab.mkdir(parents=True, mode=0o700)
        environment = {**_clean(), "HOME": str(home), "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
        console = Console(record=True, width=WIDTH, file=io.StringIO())
        try:
            _prepare(lab, environment)
            for words in (("bootstrap",), ("check", "--deep"), ("rotate",)):
                shown = _run(words, lab, environment).replace(f"{ROOT}/.venv/bin/", "")
                shown = shown.replace(f"{home}", "~")
                console.print(
                    Text.assemble(("$ ", "bold cyan"), (f"keyturn {' '.join(words)}", "bold"))
                )
                console.print(Text.from_ansi(shown.rstrip()))
                console.print()
        finally:
            _run(("service", "stop"), lab, environment)
        drawing = console.export_svg(title="keyturn")
        # A picture must not load anything from elsewhere: the viewer's own fonts will do.
        PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.S))
    print(f"wrote {PICTURE}")  # noqa: T201


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


def _run(words: tuple[str, ...], lab: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bootstrap", *words],
        cwd=lab, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"keyturn {' '.join(words)} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
