"""Kill a rotation, or make the disk fail, at any of its system calls; then see what is left.

`keyturn rotate` runs under strace, which kills it, signals it or makes one system call fail. The
key that it shall put in force comes by standard input, so that both keys are known here. Between
two points nothing is put back but what `keyturn recover` puts back.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap.adapters.entropy import new_key
from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.secret import Secret
from support import homes, labs, leaks
from support.power import Disk, Roots, State
from support.sops_lab import REAL_SOPS
from support.waiting import until

MUTATING = (
    "write", "pwrite64", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat",
    "fsync", "fdatasync", "ftruncate", "truncate", "fchmod", "chmod", "fchown", "mkdir", "mkdirat",
    "symlink", "openat",
)  # fmt: skip
# What real disks say; each is tried at every call that can say it.
FAILURES = {
    "write": ("ENOSPC", "EIO"),
    "fsync": ("EIO", "ENOSPC"),
    "rename": ("EACCES", "EIO", "ENOSPC"),
    "renameat2": ("EACCES", "EIO", "EINVAL"),
    "link": ("EACCES", "ENOSPC"),
    "unlink": ("EACCES",),
    "openat": ("ENOSPC", "EACCES"),
    "fchmod": ("EIO",),
}
WORDS = ("rotate", "-q", "--value-stdin")
# What the gateway and its supervisor write.
_VOLATILE = ("lock", "gateway.log", "supervisor.json", "supervisor.lock", "keyturn-uses.json")
Words = Sequence[str]
_CALL = re.compile(r"^(\w+)\((.*)$")
SETTINGS = """\
// my settings: do not touch
{
  "model": "custom:other-1",   "logoAnimation": "off",
  "customModels": [
    {"id": "custom:other-1", "model": "other", "displayName": "Other",
     "baseUrl": "https://other.invalid/v1", "apiKey": "sk-test-somebody-elses-0123456789",
     "provider": "generic-chat-completion-api"} // mine
  ],
  "trustedFolders": {"/somewhere": {"trustedAt": "2026-01-01T00:00:00.000Z"}}
}
"""
LEGACY = (
    '{"custom_models": [{"model": "mine", "base_url": "https://mine.invalid", "api_key": "k"}]}\n'
)
SOURCES = "".join(
    f'[secrets.{name}]\nsources = ["sops:{labs.STORE}#{name}"]\n'
    for name in ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "KEYTURN_INTERNAL_KEY")
)


@dataclass(frozen=True)
class Call:
    """One system call of a good run.

    Attributes:
        name: Its name.
        number: Which of that name it was in that process, from 1.
        text: Its arguments as strace shows them.
    """

    name: str
    number: int
    text: str


@dataclass(frozen=True)
class Point:
    """What to do to a rotation.

    Attributes:
        call: The system call before which it happens.
        what: `signal=KILL`, `error=ENOSPC` and the like, as strace has it.
        onwards: At all later calls of that name, too.
    """

    call: Call
    what: str
    onwards: bool = False

    def __str__(self) -> str:
        more = "+" if self.onwards else ""
        return f"{self.what} at {self.call.name} {self.call.number}{more}: {self.call.text[:120]}"


def make(folder: Path, home: Path, program: Path | None = None) -> labs.CliLab:
    """Return a bootstrapped lab with other people's content in the files that it shares.

    Args:
        folder: For the lab.
        home: Its user's.
        program: The gateway's; the stand-in unless given.
    """
    lab = labs.make(folder, home, write=False)
    lab.wrapper = program or lab.wrapper
    lab.write(more=SOURCES)
    factory = Path(lab.places.factory)
    factory.mkdir(mode=0o700)
    (factory / "settings.json").write_text(SETTINGS)
    (factory / "config.json").write_text(LEGACY)
    (Path(lab.places.config) / "lab-secrets").mkdir(parents=True, mode=0o700)
    (Path(lab.places.config) / "lab-secrets" / "mine.env").write_text("A=1\n")
    lab.ok("bootstrap", str(lab.root))
    return lab


class _Nursery:
    """The process that starts the rotations, see `support.crash_nursery`."""

    def __init__(self, lab: labs.CliLab, stdin: Path, output: Path, words: Sequence[str]) -> None:
        # -B: its own byte code files are none of the product's writes.
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", "support.crash_nursery", str(stdin), str(output), *words],
            cwd=lab.root,
            env=_unmeasured(
                lab.environment(PYTHONPATH=f"{homes.REPOSITORY}:{homes.REPOSITORY / 'tests'}")
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.hear() == "ready"

    def tell(self, line: str) -> None:
        """Send a line."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """Return the next line."""
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=20)


class Crash:
    """A lab in which rotations are disturbed again and again.

    Args:
        lab: The lab.
        words: The command that rotates; gets the new key on standard input.

    Attributes:
        lab: The lab.
        key: The key in force, as the last verification found it.
    """

    def __init__(self, lab: labs.CliLab, words: Sequence[str] = WORDS) -> None:
        self.lab = lab
        self.key = lab.key
        self._gateway = HttpGateway(f"http://127.0.0.1:{lab.port}")
        work = lab.root.parent
        self._log, self._stdin, self._output = (work / f"crash-{n}" for n in ("trace", "in", "out"))
        self._detail = ["-s", "80"]
        self._roots: Roots | None = None
        self._nursery = _Nursery(lab, self._stdin, self._output, words)
        self._foreign = self._foreign_bytes()

    def calls(self) -> list[Call]:
        """Rotate undisturbed, and return the file-changing system calls of that, in order."""
        code, new = self.rotate()
        assert code == 0
        self.verify(new)
        counts: dict[str, int] = {}
        found = []
        for line in self._log.read_text().splitlines():
            match = _CALL.match(line)
            if match is None:
                continue
            name, text = match[1], match[2]
            counts[name] = counts.get(name, 0) + 1
            if _changes_files(name, text):
                found.append(Call(name, counts[name], text))
        return found

    def rotate(
        self, point: Point | None = None, env: dict[str, str] | None = None, words: Words = ()
    ) -> tuple[int, str]:
        """Rotate, disturbed at `point`; return the exit status, -N for signal N, and the key.

        Args:
            point: Where, and how; undisturbed if None.
            env: Further variables.
            words: Another command of keyturn instead.
        """
        new = new_key().reveal()
        self._stdin.write_text(new)
        self._nursery.tell(json.dumps([list(words), env or {}]))
        pid = int(self._nursery.hear())
        self._stdin.unlink()  # it is open there by now; the key must not be found here later
        strace = self._attach(pid, point)
        os.kill(pid, signal.SIGCONT)
        code = int(self._nursery.hear())
        strace.wait(20)
        self.lab.said.append(self._output.read_text())
        return code, new

    def _attach(self, pid: int, point: Point | None) -> "subprocess.Popen[bytes]":
        argv = ["strace", *self._detail, "-y", "-o", str(self._log), "-e", "signal=none"]
        argv += ["-e", f"trace={','.join(MUTATING)}", "-p", str(pid)]
        if point is not None:
            number = f"{point.call.number}{'+' if point.onwards else ''}"
            argv += ["-e", f"inject={point.call.name}:{point.what}:when={number}"]
        strace = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text(), "strace")
        return strace

    def close(self) -> None:
        """End what starts the rotations."""
        self._nursery.close()

    def power_failures(self, point: Point | None = None) -> "PowerFailures":
        """Rotate, and return what power failures in the middle of it would leave.

        Args:
            point: A failure to rotate with; undisturbed if None.
        """
        self._settle()
        roots, disk = self._still()
        code, new, states = self._recorded(disk, point)
        told = {0: "new", 1: "old", 5: "old"}.get(code, "")
        return PowerFailures(self, roots, states, new, code, told)

    def power_failures_of_recovery(self, point: Point) -> "PowerFailures":
        """Return what power failures in the middle of a recovery would leave.

        Args:
            point: What ends the rotation that is recovered.
        """
        self._settle()
        _, new = self.rotate(point)
        roots, disk = self._still()
        code, _, states = self._recorded(disk, None, ("recover", "-q"))
        assert code == 0
        return PowerFailures(self, roots, states, new, code, "")

    def _settle(self) -> None:
        """Bring to its end what the last command may have left open."""
        self.recover()
        self.key = self.lab.key

    def _still(self) -> tuple[Roots, Disk]:
        """Return the folders and what is in them; kept for `start_over`."""
        kept = self.lab.root.parent / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        self.lab.service.stop()  # its own files stand still meanwhile
        self._roots = roots = Roots(kept, self.lab.root, self.lab.home)
        disk = Disk.of(self.lab.root, self.lab.home)
        self._start()
        return roots, disk

    def _recorded(
        self, disk: Disk, point: Point | None, words: Words = ()
    ) -> tuple[int, str, list[State]]:
        """Run a command; return its status, its key, and what power failures would leave."""
        # With what sops writes, and every byte of it.
        self._detail = ["-f", "-s", "1000000"]
        code, new = self.rotate(point, words=words)
        self._detail = ["-s", "80"]
        states = list(disk.replay(self._log.read_text()))
        self._log.unlink()
        for path, file in disk.now.items():
            if not is_volatile(path):
                assert (path, path.read_bytes()) == (path, file.data), "the trace lacks something"
        return code, new, states

    def restart_on(self, roots: Roots, state: State) -> None:
        """Put the files into a state while the gateway is down."""
        self.lab.service.stop()
        roots.put(state)
        self._start()

    def start_over(self) -> None:
        """Put everything back as it was before the last rotation with power failures."""
        assert self._roots
        self.lab.service.stop()
        self._roots.put_back()
        self._start()
        self.key = self.lab.key

    def _start(self) -> None:
        self.lab.service.start()
        until(lambda: self._gateway.alive().status == 200, "the gateway")

    def recover(self) -> None:
        """Recover, and prove that doing it again changes nothing."""
        ran = self.lab.call("recover", "-q")
        assert ran.code == 0, ran.err
        before = self._stamps()
        assert self.lab.call("recover", "-q").code == 0
        assert self._stamps() == before

    def verify(self, new: str) -> None:
        """Prove that exactly one of both keys is in force, everywhere, and nothing else changed."""
        old, stored = self.key, self.lab.key
        assert stored in (old, new), "the store holds a third key"
        refused = new if stored == old else old
        assert self.accepts(stored), "the stored key is not accepted"
        assert not self.accepts(refused), "both keys are accepted"
        assert self.lab.env_file.read_text().count(stored) == 1
        assert self.lab.settings.read_text().count(stored) == 1
        plan = self.lab.call("plan", "--exit-code")
        assert plan.code == 0, plan.out + plan.err
        self.key = stored
        assert self._foreign_bytes() == self._foreign, "somebody else's bytes changed"
        self._find_leaks(refused)

    def accepts(self, key: str) -> bool:
        """Ask the gateway."""
        return self._gateway.models(Secret(key)).status == 200

    def _find_leaks(self, refused: str) -> None:
        lab = self.lab
        roots = (lab.root, lab.home)
        texts = {f"run {number}": text for number, text in enumerate(lab.said) if text}
        assert leaks.find(refused, roots, texts=texts) == []
        allowed = (lab.env_file, lab.settings)
        assert leaks.find(self.key, roots, texts=texts, allowed=allowed) == []
        strays = [
            p for root in roots for p in root.rglob(".*.tmp") if "state/keyturn" not in str(p)
        ]
        assert strays == []
        lab.said.clear()

    def _foreign_bytes(self) -> dict[str, bytes]:
        """Return what is not ours in the files that we share, and all that is none of ours."""
        lab = self.lab
        settings = lab.settings.read_text().replace(self.key, "<ours>")
        other = {
            str(path): path.read_bytes()
            for path in (
                lab.settings.with_name("config.json"),
                lab.env_file.with_name("mine.env"),
                lab.file,
                lab.root / ".sops.yaml",
                lab.root / ".envrc",
                lab.root / ".gitignore",
            )
        }
        return other | {"settings": settings.encode()}

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        """Return inode and times of every file, but for the lock and what the gateway writes."""
        return {
            str(path): (found.st_ino, found.st_mtime_ns, found.st_size)
            for root in (self.lab.root, self.lab.home)
            for path in sorted(root.rglob("*"))
            if path.is_file() and not is_volatile(path)
            for found in [path.stat()]
        }

    def survive(self, point: Point) -> str:
        """Disturb one rotation at `point`, recover, verify; return the exit status."""
        code, new = self.rotate(point)
        return self.judge(code, new)

    def survive_sops(self, at: int, mode: str, *, alone: bool) -> str:
        """Rotate with a sops that dies, see `write_sops`; return the exit status."""
        code, new = self.rotate(
            env=write_sops(self.lab.root.parent / "sops", at, mode, alone=alone)
        )
        return self.judge(code, new)

    def judge(self, code: int, new: str) -> str:
        """Prove that the exit status told the truth, then recover and verify; return it."""
        if code == 0:
            assert self.lab.key == new
        elif code in (1, 5):
            assert self.lab.key == self.key
        if code in (0, 1, 5, 128 + signal.SIGINT, 128 + signal.SIGTERM):
            stored = self.lab.key
            assert self.accepts(stored)
            assert not self.accepts(new if stored == self.key else self.key)
        else:
            ended = (6, -signal.SIGKILL, -signal.SIGTERM)
            assert code in ended, f"exit status {code}: {self.lab.said[-1][-600:]}"
        self.recover()
        self.verify(new)
        return str(code)


class PowerFailures:
    """A rotation that loses its power again and again.

    Args:
        lab: The lab.
        roots: Its folders as they were before the rotation.
        states: What power failures leave of them, in order.
        new: The key that the rotation was to put in force.
        code: Its exit status, where the power stayed.
        told: Which key it then said was in force, `old` or `new`; empty for neither.
    """

    def __init__(
        self, lab: Crash, roots: Roots, states: Sequence[State], new: str, code: int, told: str
    ) -> None:
        self._lab = lab
        self._roots = roots
        self._old, self._new = lab.key, new
        self.states = states
        self.code = code
        self._told = told

    def survive(self, state: State) -> str:
        """Start the gateway on what is left, recover, verify; return which key is in force."""
        self._lab.key = self._old
        self._lab.restart_on(self._roots, state)
        self._lab.recover()
        self._lab.verify(self._new)
        found = "new" if self._lab.key == self._new else "old"
        if state is self.states[-1]:
            assert found == (self._told or found), f"it had ended with {self.code}"
        return found


def is_volatile(path: Path) -> bool:
    """Tell whether the gateway or its supervisor writes the file, whatever keyturn does."""
    return path.name in _VOLATILE or path.name.startswith(".keyturn-uses.json.")


def _changes_files(name: str, text: str) -> bool:
    """Tell whether a call changes the file system, going by strace's text of it."""
    if name == "openat":
        return "O_CREAT" in text or "O_TRUNC" in text
    if name in ("write", "pwrite64", "fsync", "ftruncate", "fchmod", "fchown"):
        return bool(re.match(r"\d+</(?!dev/|proc/)", text))
    return not re.search(r"= -1 E(NOENT|EXIST)", text)


def steps(calls: Sequence[Call]) -> list[Call]:
    """Return the first call after each line of the journal is on disk, the last line's included."""
    found = []
    for before, call, after in zip(calls, calls[1:], calls[2:], strict=False):
        begun = before.name == "rename" and 'rotation.journal"' in before.text
        if call.name == "fsync" and (begun or "rotation.journal>" in call.text):
            found.append(after)
    return found


def signals(calls: Sequence[Call], name: str) -> Iterator[Point]:
    """Return a signal before every call: `KILL`, `TERM`, `INT`."""
    return (Point(call, f"signal={name}") for call in calls)


def failures(calls: Sequence[Call]) -> Iterator[Point]:
    """Return every failure of every call, once."""
    for call in calls:
        for error in FAILURES.get(call.name, ()):
            yield Point(call, f"error={error}")


def write_sops(folder: Path, at: int, mode: str, *, alone: bool) -> dict[str, str]:
    """Write a sops that dies at its call number `at`, and return the variables that choose it.

    Args:
        folder: Where; its counter starts anew.
        at: Which call, from 1.
        mode: `before` it does anything, `empty` after it has emptied the file it writes to, `after`
            all is done.
        alone: keyturn lives on; else it is killed first.
    """
    folder.mkdir(exist_ok=True)
    count, script = folder / "count", folder / "sops"
    count.write_text("0")
    killed = "" if alone else "kill -9 $PPID\n"
    body = {
        "before": f"{killed}kill -9 $$",
        "empty": f"{killed}for last; do file=$before; before=$last; done\n"
        '[ -f "$file" ] && : >"$file"\n[ -f "$before" ] && : >"$before"\nkill -9 $$',
        "after": f'{REAL_SOPS} "$@"\n{killed}kill -9 $$',
    }[mode]
    script.write_text(
        f"#!/bin/sh\nn=$(($(cat {count}) + 1)); echo $n >{count}\n"
        f'[ $n = {at} ] || exec {REAL_SOPS} "$@"\n{body}\n'
    )
    script.chmod(0o755)
    return {"KEYTURN_SOPS": str(script)}


def _unmeasured(environment: dict[str, str]) -> dict[str, str]:
    """Leave coverage out: the writes of its own at the end are no points of a rotation."""
    return {name: v for name, v in environment.items() if not name.startswith("COVERAGE")}
