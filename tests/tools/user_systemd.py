"""user_systemd - drive one `with-user-systemd` session from Python tests.

    with UserSystemd(tmp_path / "home") as session:
        session.check("systemctl", "--user", "daemon-reload")
        r = session.run("systemctl", "--user", "is-active", "litellm.service")
        r.returncode, r.stdout, r.stderr

Every call runs inside the same private session (same manager, bus, journal, Secret Service), so a
test can mix commands with its own Python in between. The fixture `user_systemd` of
tests/conftest.py is a factory of these. Where no session can be had (`with-user-systemd` exits
with 77 and says why), that is a failure: a tier that quietly ran nothing would prove nothing.
Standard library only.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

SCRIPT = Path(__file__).with_name("with-user-systemd")
# A user made for the session may not pass through the folder of a private Python.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable

# Runs inside the session: one JSON request a line, one JSON answer a line.
SERVER = r"""
import json, os, subprocess, sys
out = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)
keep = ("HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
print(json.dumps({k: os.environ[k] for k in keep if k in os.environ}), file=out, flush=True)
for line in sys.stdin:
    q = json.loads(line)
    env = {**os.environ, **(q.get("env") or {})}
    try:
        p = subprocess.run(q["argv"], input=q.get("input") or "", capture_output=True, text=True,
                           errors="replace", env=env, cwd=q.get("cwd"), timeout=q["timeout"])
        a = {"rc": p.returncode, "out": p.stdout, "err": p.stderr}
    except subprocess.TimeoutExpired as e:
        a = {"timeout": True, "out": str(e.stdout), "err": str(e.stderr)}
    except OSError as e:
        a = {"rc": 127, "out": "", "err": str(e)}
    print(json.dumps(a), file=out, flush=True)
"""


class SessionFailed(AssertionError):
    """The session did not come up, or ended early; the text says why."""


class Session:
    """Commands run one by one beside daemons that a wrapper script keeps for us.

    Args:
        wrapper: The script with its options; CMD and its arguments are appended after `--`.
        cwd: Where commands run.
        env: Variables for every command.
    """

    def __init__(
        self, wrapper: list[str], *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.cwd = cwd
        self.env = dict(env or {})
        self.inner: dict[str, str] = {}
        self._argv = [*wrapper, "--", PYTHON, "-c", SERVER]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Session:
        """Bring it up; `inner` then holds HOME, XDG_RUNTIME_DIR and the bus as seen inside."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        first = self._pipe("stdout").readline()
        if not first:
            errors = self._pipe("stderr").read()
            status = self._process.wait()
            self._close()
            raise SessionFailed(f"no session (exit status {status}): {errors.strip()}")
        self.inner = json.loads(first)
        return self

    def run(
        self,
        *argv: object,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 60,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, to its end; `timeout` in seconds."""
        words = [str(word) for word in argv]
        request = {
            "argv": words,
            "input": input,
            "env": {**self.env, **(env or {})},
            "cwd": str(cwd or self.cwd),
            "timeout": timeout,
        }
        self._pipe("stdin").write(json.dumps(request) + "\n")
        self._pipe("stdin").flush()
        line = self._pipe("stdout").readline()
        if not line:
            raise SessionFailed("the session has ended: " + self._pipe("stderr").read())
        answer: dict[str, Any] = json.loads(line)
        if answer.get("timeout"):
            raise subprocess.TimeoutExpired(words, timeout, answer["out"], answer["err"])
        result = subprocess.CompletedProcess(words, answer["rc"], answer["out"], answer["err"])
        if check and result.returncode:
            said = f"{result.stdout}\n{result.stderr}"
            raise AssertionError(f"{' '.join(words)} -> {result.returncode}\n{said}")
        return result

    def check(self, *argv: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command that must succeed."""
        return self.run(*argv, check=True, **options)

    def stop(self) -> None:
        """End it and all that runs inside; no effect when it has ended."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._pipe("stdin").close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._close()

    def _pipe(self, name: str) -> IO[str]:
        pipe = getattr(self._process, name, None)
        if pipe is None:
            raise SessionFailed("the session was not started")
        return pipe  # type: ignore[no-any-return]

    def _close(self) -> None:
        for name in ("stdin", "stdout", "stderr"):
            self._pipe(name).close()


class UserSystemd(Session):
    """A private `systemd --user` with its bus and journal.

    Args:
        home: HOME inside; made if missing.
        user: `lab:2001` for a user that exists only inside; else the caller.
        keyring: Also an unlocked Secret Service (password "test").
        journal: Also journald.
        env: Variables for every command run by `run` (units do not get them).
        cwd: Where commands run; HOME unless given.
    """

    def __init__(
        self,
        home: Path,
        *,
        user: str | None = None,
        keyring: bool = False,
        journal: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        wrapper = [str(SCRIPT), "--home", str(home)]
        if user:
            wrapper += ["--user", user]
        if keyring:
            wrapper.append("--keyring")
        if not journal:
            wrapper.append("--no-journal")
        super().__init__(wrapper, cwd=cwd or home, env=env)
        self.home = home

    @property
    def runtime_dir(self) -> Path:
        """XDG_RUNTIME_DIR as seen inside (the machine outside does not see that folder)."""
        return Path(self.inner["XDG_RUNTIME_DIR"])

    def systemctl(self, *args: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `systemctl --user`."""
        return self.run("systemctl", "--user", "--no-pager", *args, **options)

    def show(self, unit: str, prop: str) -> str:
        """Return one property of a unit."""
        return str(self.systemctl("show", unit, "-p", prop, "--value", check=True).stdout).strip()

    def journal(self, unit: str) -> str:
        """Return what a unit wrote; `--user-unit` is the form that works as root too."""
        words = ("journalctl", "-q", "--no-pager", "-o", "cat", "--user-unit", unit)
        return self.run(*words).stdout

    def __enter__(self) -> UserSystemd:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
