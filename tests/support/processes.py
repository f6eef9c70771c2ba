"""Processes that the product starts: what they were given, and how they are measured."""

import os
import sys
from pathlib import Path

from support.waiting import until


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    # Empty for a moment while it becomes another program.
    text = until(lambda: Path(f"/proc/{pid}/environ").read_text())
    return dict(entry.split("=", 1) for entry in text.split("\0") if entry)


def measured_python(folder: Path) -> str:
    """Return a Python that brings coverage's setting along, for who inherits next to nothing."""
    program = folder / "python"
    setting = os.environ.get("COVERAGE_PROCESS_CONFIG", "")
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"if {setting!r}: os.environ['COVERAGE_PROCESS_CONFIG'] = {setting!r}\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
    )
    program.chmod(0o700)
    return str(program)
