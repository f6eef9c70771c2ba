"""Real clients that go on working while a test changes the key: in a loop, or on a terminal."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from support.droid import OFFLINE, binary
from support.homes import machine_environment
from support.waiting import until

_CONTROLS = re.compile(rb"\x1b(?:\[[0-9;?<>=]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
_TURN_S = 120.0
_AGAIN_S = 3.0


class Looping:
    """One program again and again, from the block's begin to its end, in a thread.

    Args:
        run: Runs it once.

    Attributes:
        turns: What each run gave, in order.
    """

    def __init__(self, run: Callable[[], "subprocess.CompletedProcess[str]"]) -> None:
        self._run = run
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self.turns: list[subprocess.CompletedProcess[str]] = []

    def __enter__(self) -> "Looping":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def more(self, count: int) -> None:
        """Wait for `count` turns that begin after now."""
        wanted = len(self.turns) + 1 + count  # one has begun already
        until(lambda: len(self.turns) >= wanted or self._ended, "a client's turns", _TURN_S)

    def stop(self) -> None:
        """End it after the turn that runs."""
        self._stop.set()
        self._thread.join()

    def failures(self, said: str) -> list[str]:
        """Return what the turns gave that did not answer `said`."""
        return [
            f"turn {number}: {turn.returncode} {turn.stdout[-500:]} {turn.stderr[-500:]}"
            for number, turn in enumerate(self.turns)
            if (turn.returncode, turn.stdout.strip()) != (0, said)
        ]

    @property
    def _ended(self) -> bool:
        return not self._thread.is_alive()

    def _loop(self) -> None:
        while not self._stop.is_set():
            self.turns.append(self._run())


class InteractiveDroid:
    """The real droid on a terminal, offline, with a person who answers its questions.

    Args:
        home: HOME, with .factory/ in it.
        folder: Where it is started; it asks whether to trust that.
        env: Variables beside PATH, LANG, TERM, HOME and those that keep it offline.
    """

    def __init__(self, home: Path, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._sessions = home / ".factory" / "sessions"
        _still_logo(home / ".factory" / "settings.json")
        variables = {
            "PATH": machine_environment()["PATH"],
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "HOME": str(home),
            **OFFLINE,
            **(env or {}),
        }
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._process = subprocess.Popen(
            [str(binary())],
            cwd=folder,
            env=variables,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._screen = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> "InteractiveDroid":
        until(lambda: "Trust this folder" in self.screen or self._is_ready, "droid's screen", 60)
        self._press_enter(lambda: self._is_ready, "droid's prompt")
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)  # its worker, too
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self._reader.join()
        os.close(self._terminal)

    @property
    def screen(self) -> str:
        """All that it has written to its terminal, without the controls."""
        return _CONTROLS.sub(b"", self._screen).decode(errors="replace")

    def ask(self, text: str) -> str:
        """Type a question and return droid's answer, as its session file has it."""
        self._type(text)
        until(lambda: self._screen.count(text.encode()) > 0, "the question on the screen")
        self._press_enter(lambda: self._was_asked(text), f"{text} in its session")
        until(lambda: self._answer(text) is not None, f"an answer to {text}", _TURN_S)
        return self._answer(text) or ""

    def _press_enter(self, done: Callable[[], bool], what: str) -> None:
        """Press it until `done`, as a person does where a busy program has not taken it."""
        pressed = 0.0

        def look() -> bool:
            nonlocal pressed
            if done():
                return True
            if time.monotonic() - pressed > _AGAIN_S:
                pressed = time.monotonic()
                self._type("\r")
            return False

        until(look, what, _TURN_S)

    def _session_files(self) -> Iterator[Path]:
        """Yield those of every droid in this home; unlike rglob, past folders that come and go."""
        for folder, _, names in os.walk(self._sessions):
            yield from (Path(folder, name) for name in names if name.endswith(".jsonl"))

    def _was_asked(self, text: str) -> bool:
        files = self._session_files()
        return any(_texts(row, "user") == [text] for file in files for row in _rows(file))

    def _answer(self, text: str) -> str | None:
        """Return what came after a question once its turn is over; None before."""
        for file in self._session_files():
            rows = list(_rows(file))
            asked = [n for n, row in enumerate(rows) if _texts(row, "user") == [text]]
            after = rows[asked[0] :] if asked else []
            if any(row["type"] == "agent_turn_outcome" for row in after):
                return "".join(piece for row in after for piece in _texts(row, "assistant"))
        return None

    @property
    def _is_ready(self) -> bool:
        return "? for help" in self.screen

    def _type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the last one has closed it
            while data := os.read(self._terminal, 65536):
                self._screen += data


def _still_logo(settings: Path) -> None:
    """Spare the five seconds of a core that droid moves its logo for at its first start."""
    document = json.loads(settings.read_text())
    settings.write_text(json.dumps({"logoAnimation": "off", **document}, indent=2))


def _rows(session: Path) -> Iterator[dict[str, object]]:
    for line in session.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # it is being written
            yield json.loads(line)


def _texts(row: Mapping[str, object], role: str) -> list[str]:
    """Return the texts of a message by `role`; none for any other row."""
    message = row.get("message")
    if not isinstance(message, dict) or message.get("role") != role:
        return []
    return [piece["text"] for piece in message["content"] if piece.get("type") == "text"]
