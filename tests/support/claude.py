"""The real Claude Code: installed once below .tools/."""

import subprocess
from pathlib import Path

from support.downloads import installing
from support.homes import DOWNLOADS, machine_environment

VERSION = "2.1.197"


def binary() -> Path:
    """Return the program's path; the first call in a checkout installs it from npm."""
    folder = DOWNLOADS / f"claude-{VERSION}"
    program = folder / "node_modules" / ".bin" / "claude"
    folder.mkdir(parents=True, exist_ok=True)
    with installing("claude"):
        if not program.exists():
            options = [
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--cache",
                str(DOWNLOADS / "npm-cache"),
            ]
            done = subprocess.run(
                [
                    "npm",
                    "install",
                    "--prefix",
                    folder,
                    *options,
                    f"@anthropic-ai/claude-code@{VERSION}",
                ],
                env=machine_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"Claude Code cannot be installed: {done.stderr[-2000:]}"
    assert program.exists()
    return program
