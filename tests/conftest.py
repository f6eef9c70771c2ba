"""Every test lives in an empty home of its own, without the developer's keys and network."""

import gc
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

from bootstrap.adapters.ending import ENDING, IGNORED_BY_PYTHON
from support import forked, homes
from support import leaks as leaks_module
from support.home_pool import HomePool
from support.parts import part_of
from support.sessions import SecretService, UserSystemd

# A busy machine is no fault of the product. `quick` is for the tiers that run all day; all others,
# and so a run of everything, have hypothesis' own number of examples.
settings.register_profile("thorough", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=10)
settings.load_profile("thorough")


# What `scripts/test.sh` selects, and the modules that have nothing of it.
_UNIT = "not integration and not slow and not faults"
_INTEGRATION = "integration and not slow and not faults"
_MARKED_AS_A_WHOLE = re.compile(
    r"^pytestmark = .*\bmark\.(?:integration|slow|faults)\b", re.MULTILINE
)
_STARTS = ("subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn")
_MARKS = ("integration", "slow", "faults")
_HANDLERS = {
    number: signal.getsignal(number)
    for number in (*ENDING, *IGNORED_BY_PYTHON)
    if number != signal.SIGALRM  # pytest-timeout's
}
_in_unit_test = False
_session: pytest.Session  # a fixture that asks for `request` costs each test a fixture more


def pytest_sessionstart(session: pytest.Session) -> None:
    """Keep what the fixture of every test asks."""
    global _session
    _session = session


# Thousands of tests are not looked through for garbage while they are collected, nor afterwards.
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on look for garbage, less often than usual."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let several processes have a part of the tests each.

    pytest-xdist does that, too, but spends more on telling its workers' results than most unit
    tests take.
    """
    parser.addoption("--part", metavar="N/M", help="the Nth of M parts of the unit tests")


@cache
def _modules_of(part: str) -> frozenset[Path]:
    """Return the modules of a part; each weighs as much as it has tests."""
    texts = {path: path.read_text() for path in Path(__file__).parent.rglob("test_*.py")}
    weights = {
        path: text.count("def test_")
        for path, text in texts.items()
        if not _MARKED_AS_A_WHOLE.search(text)
    }
    return frozenset(part_of(weights, part))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the quick tiers the import of every module that has no test of theirs."""
    selected = config.getoption("markexpr")
    if selected not in (_UNIT, _INTEGRATION) or not collection_path.match("test_*.py"):
        return None
    part = config.getoption("part")
    if part and collection_path not in _modules_of(part):
        return True
    text = collection_path.read_text()
    if selected == _UNIT:
        return _MARKED_AS_A_WHOLE.search(text) is not None or None
    return "mark.integration" not in text or None


class ProcessStarted(AssertionError):
    """A unit test started a process. Not an OSError: the code under test must not catch it."""


def _no_process_in_unit_tests(event: str, arguments: tuple[object, ...]) -> None:
    if _in_unit_test and event in _STARTS:
        raise ProcessStarted(f"a test that starts a process ({event}) is marked `integration`")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note whether the test may start processes (by no fixture: one takes longer than this)."""
    global _in_unit_test
    _in_unit_test = not any(item.get_closest_marker(mark) for mark in _MARKS)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Let fixtures that several tests share end what they started.

    A test in which `keyturn exec` fails within this process leaves it with the signals that the
    program would have had, and so with a SIGPIPE that ends the worker some time later.
    """
    global _in_unit_test
    _in_unit_test = False
    for number, handler in _HANDLERS.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


class NetworkBlocked(AssertionError):
    """A test reached for another machine. Not an OSError: the code under test must not catch it."""


def _isolate(patch: pytest.MonkeyPatch, base: Path) -> Path:
    """Point this process, and its children, at the folders of `base`; return the home."""
    for name in list(os.environ):
        if homes.is_foreign(name):
            patch.delenv(name)
    patch.setenv("HOME", f"{base}/home")
    patch.setenv("XDG_RUNTIME_DIR", f"{base}/run")
    return base / "home"


def _is_loopback(host: str) -> bool:
    return host in ("", "localhost", "::1") or host.startswith("127.")


def _block_network(patch: pytest.MonkeyPatch) -> None:
    """Let this process connect to loopback and local sockets only, and ask no name server."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    getaddrinfo = socket.getaddrinfo

    def refuse_elsewhere(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise NetworkBlocked(f"a test must not connect to {address[0]}")

    def guarded_connect(sock: socket.socket, address: Any) -> None:
        refuse_elsewhere(sock, address)
        connect(sock, address)

    def guarded_connect_ex(sock: socket.socket, address: Any) -> int:
        refuse_elsewhere(sock, address)
        return connect_ex(sock, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or ""
        if name.endswith(".invalid"):  # reserved: never a real name, so tests may use it
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_loopback(name) and name[-1:].isalpha() and ":" not in name:
            raise NetworkBlocked(f"a test must not look up {name}")
        return getaddrinfo(host, *args, **options)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)


@pytest.fixture(scope="session", autouse=True)
def _isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomePool]:
    """Isolate what module- and session-wide fixtures do, too; give the homes of all tests."""
    before = os.umask(0o022)
    # A shell has what it starts in the background ignore these, and all that is started from there.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):  # the latter under nohup
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    sys.addaudithook(_no_process_in_unit_tests)
    with pytest.MonkeyPatch.context() as patch:
        made = HomePool(tmp_path_factory.mktemp("homes"))
        _isolate(patch, made.take())
        _block_network(patch)
        yield made
        forked.end()
    os.umask(before)


# A patch of its own, so that a test's monkeypatch.undo() cannot end the isolation.
@pytest.fixture(autouse=True)
def home(_isolated_session: HomePool) -> Iterator[Path]:
    """The empty HOME of this test, 0700; kept afterwards where the test failed."""
    os.umask(0o022)
    base = _isolated_session.take()
    failed_before = _session.testsfailed
    with pytest.MonkeyPatch.context() as patch:
        yield _isolate(patch, base)
    if _session.testsfailed == failed_before:
        _isolated_session.give_back(base)


@pytest.fixture
def age_identity(home: Path) -> homes.AgeIdentity:
    """An age identity where sops looks by default; has `.recipient` and `.path`."""
    return homes.write_age_identity(home)


@pytest.fixture
def free_port() -> int:
    """A loopback TCP port that nobody listens on."""
    return homes.pick_free_port()


@pytest.fixture
def leaks() -> ModuleType:
    """`leaks.find(secret, roots, texts=…, allowed=…)`, see tests/support/leaks.py."""
    return leaks_module


@pytest.fixture
def user_systemd(tmp_path: Path) -> Iterator[Callable[..., UserSystemd]]:
    """Factory: user_systemd(), user_systemd(keyring=True), user_systemd(user="lab:2001") …"""
    started: list[UserSystemd] = []

    def start(home: Path | None = None, **options: Any) -> UserSystemd:
        if options.get("user"):  # another user must be able to pass through to its home
            for folder in (tmp_path, *list(tmp_path.parents)[:3]):
                if folder.stat().st_uid == os.getuid() and folder != Path(folder.root):
                    folder.chmod(folder.stat().st_mode | 0o011)
        session = UserSystemd(home or tmp_path / f"home{len(started)}", **options)
        session.start()
        started.append(session)
        return session

    yield start
    for session in started:
        session.stop()


@pytest.fixture
def secret_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., SecretService]]:
    """Factory: secret_service(state="locked", items={("keyturn", "KEY"): "sk-test-1"}) …

    Starts one and points this process at it, so both in-process calls and children find it.
    """
    started: list[SecretService] = []

    def start(**options: Any) -> SecretService:
        service = SecretService(cwd=tmp_path, **options)
        service.start()
        started.append(service)
        monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        return service

    yield start
    for service in started:
        service.stop()
