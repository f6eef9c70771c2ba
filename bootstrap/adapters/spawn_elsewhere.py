"""Start a program in another folder, or one that PATH leads to: only `subprocess` can do that."""

import os
import subprocess
from collections.abc import Mapping, Sequence

from bootstrap.adapters.spawn import Child


class ChildElsewhere(Child):
    """A program that runs in a session of its own.

    Args:
        argv: It and its arguments.
        stdin: What it reads; None for nothing at all.
        env: Its variables.
        cwd: Where it runs; None for here.
    """

    __slots__ = ("_cwd",)

    def __init__(
        self, argv: Sequence[str], stdin: bytes | None, env: Mapping[str, str], cwd: str | None
    ) -> None:
        super().__init__(argv, stdin, env)
        self._cwd = cwd

    def _spawn(self, theirs: list[int]) -> None:
        read, out, err = theirs
        try:
            started = subprocess.Popen(
                self._argv,
                stdin=read,
                stdout=out,
                stderr=err,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
            self._pid = started.pid
            started.returncode = 0  # its end is waited for here, not there
        finally:
            for end in theirs:
                os.close(end)
