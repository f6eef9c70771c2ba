"""The entry point of the `keyturn` command.

`keyturn exec` takes a way of its own, past typer and everything else that it does not need, since
a person waits for it a hundred times a day.
"""

import sys


def main() -> int:
    """Run keyturn with the words of the command line, and return its exit status."""
    words = sys.argv[1:]
    if words[:1] == ["exec"]:
        from bootstrap.cli.exec_command import run_exec

        return run_exec(words[1:])
    from bootstrap.cli.app import run

    return run(words)
