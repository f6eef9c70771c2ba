"""Runs `keyturn rotate` again and again without starting Python each time, for strace to attach.

    python crash_nursery.py STDIN OUTPUT WORD...

For each line read from standard input it forks a child, which stops itself before it does anything
and then is `keyturn WORD...`, reading the file STDIN and writing to OUTPUT. Says `PID`, and when
the child has ended `STATUS` (-N for signal N). The line is JSON: other words than those, or none,
and an object with further environment variables.
"""

import json
import os
import signal
import sys
from pathlib import Path

from bootstrap.main import main


def warm() -> None:
    """Import what commands import when they need it."""
    keep = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    for words in (["check", "-q"], ["rotate", "--dry-run", "-q"]):
        sys.argv = ["keyturn", *words]
        main()
    os.dup2(keep[0], 1)
    os.dup2(keep[1], 2)


def child(stdin: str, output: str, words: list[str], environment: dict[str, str]) -> None:
    """Stop, then be keyturn."""
    os.setsid()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.argv = ["keyturn", *words]
    os.kill(os.getpid(), signal.SIGSTOP)
    code = 70
    try:
        code = main()
        sys.stderr.flush()
    finally:
        os._exit(code)


def serve(stdin: str, output: str, words: list[str]) -> None:
    """Fork one child for each line."""
    warm()
    Path(output).touch()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            other, environment = json.loads(line)
            child(stdin, output, other or words, environment)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3:])
