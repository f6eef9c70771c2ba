"""Small doubles for the workflows' ports, and `make_tools`, which puts a whole lab together.

Files, templates and the redactor are the real ones; secrets, service, gateway, sockets, time and
state are doubles that remember what they were asked and can be told to misbehave.
"""

import hashlib
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.machine import TemplateFolder
from bootstrap.adapters.redact import KnownSecrets
from bootstrap.domain.errors import LabError, SecretNotFoundError
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.places import Places
from bootstrap.domain.probes import Answer
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY, SALT_KEY, STORE
from bootstrap.ports import Listener, Progress, ServiceStatus
from bootstrap.workflows.resolve import Resolver
from bootstrap.workflows.tools import Tools

LAB = "version = 1\n[gateway]\nport = 4123\n"
MASTER = "sk-test-master-0123456789abcdef0123456789"
SALT = "sk-test-salt-0123456789abcdef0123456789ab"
INTERNAL = "sk-test-internal-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
REFUSED = Answer(400, "no_db_connection")
NO_KEY = Answer(401, "auth_error")
SILENT = Answer(None, problem="connection refused")


class MemoryProvider:
    """Secrets in memory. Counts reads; `broken` raises instead of answering.

    Attributes:
        values: Reference as text -> value.
        reads: Every reference that was asked for, in order.
        writes: (reference, fingerprint) for each value stored.
        broken: Reference as text, or "" for all -> the error to raise.
        file: Where the "ciphertext" stands, rewritten at each write; None for none.
    """

    def __init__(
        self, scheme: str, values: Mapping[str, str] | None = None, file: Path | None = None
    ) -> None:
        self.scheme = scheme
        self.values = dict(values or {})
        self.reads: list[str] = []
        self.writes: list[tuple[str, str]] = []
        self.broken: dict[str, LabError] = {}
        self.file = file
        self._save()

    def unavailable(self, ref: SecretRef) -> str | None:
        """Say that it can be used, unless it is broken."""
        error = self.broken.get(str(ref)) or self.broken.get("")
        return error.why if error else None

    def read(self, ref: SecretRef) -> Secret:
        """Return the value, or raise what `broken` says."""
        self.reads.append(str(ref))
        self._break(ref)
        if not self.values.get(str(ref)):
            raise SecretNotFoundError(f"{ref} is not there", why="no such name", fix="add it")
        return Secret(self.values[str(ref)])

    def write(self, ref: SecretRef, secret: Secret) -> None:
        """Store the value, and change the ciphertext."""
        self._break(ref)
        self.writes.append((str(ref), secret.fingerprint()))
        self.values[str(ref)] = secret.reveal()
        self._save()

    def _break(self, ref: SecretRef) -> None:
        error = self.broken.get(str(ref)) or self.broken.get("")
        if error is not None:
            raise error

    def _save(self) -> None:
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            lines = (
                f"{ref.rpartition('#')[2]}=ENC[{hashlib.sha256(value.encode()).hexdigest()}]\n"
                for ref, value in self.values.items()
            )
            self.file.write_text("".join(lines))


class FakeGateway:
    """A gateway that accepts the key it was started with.

    Attributes:
        key: The key in force; None while it does not run.
        answers: What to answer instead: by "alive", "no key", "wrong key", "right key", "complete",
            "cache" or a URL for `reachable` (then the status counts).
        asked: Those words, in the order of the questions.
        model_ids: What it serves.
    """

    def __init__(self, url: str, model_ids: tuple[str, ...] = ()) -> None:
        self.url = url
        self.key: Secret | None = None
        self.model_ids = model_ids
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    def start_with(self, env_file: PurePath) -> None:
        """Take the master key from an env file, as a (re)start does."""
        text = Path(env_file).read_text() if Path(env_file).is_file() else ""
        pairs = (w.partition("=") for w in shlex.split(text, comments=True))
        found = {name: value for name, _, value in pairs}.get(MASTER_KEY)
        self.key = Secret(found) if found else None

    def alive(self) -> Answer:
        """Answer as long as it runs."""
        return self._answer("alive", Answer(200))

    def models(self, key: Secret | None) -> Answer:
        """Answer as LiteLLM without a database does."""
        if key is None:
            return self._answer("no key", NO_KEY)
        if key == self.key:
            return self._answer("right key", Answer(200, model_ids=self.model_ids))
        return self._answer("wrong key", REFUSED)

    def complete(self, key: Secret, model: str) -> Answer:
        """Answer one completion."""
        return self._answer("complete", Answer(200, text="the gateway works"))

    def try_model(self, key: Secret, model: str, *, stream: bool = False) -> Answer:
        """Answer as the model's backend does."""
        return self._answer(f"{model} streams" if stream else model, Answer(200, completed=True))

    def cache_ping(self, key: Secret) -> Answer:
        """Answer that the cache is reached."""
        return self._answer("cache", Answer(200))

    def reachable(self, url: str) -> bool:
        """Say yes, unless `answers[url]` has no status."""
        self.asked.append(url)
        return self.answers.get(url, Answer(200)).status is not None

    def _answer(self, words: str, usual: Answer) -> Answer:
        self.asked.append(words)
        return self.answers.get(words, SILENT if self.key is None else usual)


class FakeService:
    """A service whose process gets a new pid at each start.

    Attributes:
        calls: "start", "restart", "swap", "stop", "reset" in order.
        script: Statuses to answer first, before the true one.
        failures: Call -> the error to raise.
        log: What log_lines returns.
        fresh_log: The same for the process that a swap started.
        address: What its manager opens for it at each start; None for nothing.
        held: What its manager holds open now.
        hindrance: Why it cannot be swapped.
        on_start, on_stop: Called when the process starts or ends.
    """

    def __init__(self, kind: str = "systemd", name: str = "litellm.service") -> None:
        self.kind = kind
        self.name = name
        self.calls: list[str] = []
        self.script: list[ServiceStatus] = []
        self.failures: dict[str, LabError] = {}
        self.log: list[str] = []
        self.fresh_log: list[str] = []
        self.address: str | None = None
        self.held: str | None = None
        self.hindrance: str | None = None
        self.installed = True
        self.pid: int | None = None
        self.starts = 0
        self.on_start: Callable[[], None] = lambda: None
        self.on_stop: Callable[[], None] = lambda: None

    def status(self) -> ServiceStatus:
        """Answer from the script, then truly."""
        self._fail("status")
        if self.script:
            return self.script.pop(0)
        detail = "active" if self.pid else "inactive"
        return ServiceStatus(self.pid is not None, self.pid, detail, self.installed)

    def start(self) -> None:
        """Start."""
        self._do("start")
        self.held = self.address
        self.starts += 1
        self.pid = 70000 + self.starts
        self.on_start()

    def restart(self) -> None:
        """Stop and start."""
        self._do("restart")
        self.starts += 1
        self.pid = 70000 + self.starts
        self.on_start()

    def listening(self) -> str | None:
        """Return what is held."""
        return self.held

    def swap_hindrance(self) -> str | None:
        """Return it."""
        return self.hindrance

    def swap(self, taken_over: Callable[[], None] = lambda: None) -> None:
        """Let a new process take over."""
        self._do("swap")
        self.starts += 1
        self.pid = 70000 + self.starts
        self.on_start()
        taken_over()

    def stop(self) -> None:
        """Stop."""
        self._do("stop")
        self.pid = self.held = None
        self.on_stop()

    def log_lines(self, most: int, *, fresh: bool = False) -> list[str]:
        """Return the last lines."""
        self._fail("log_lines")
        return (self.fresh_log if fresh else self.log)[-most:]

    def reset(self) -> None:
        """Forget failures."""
        self._do("reset")

    def _do(self, call: str) -> None:
        self.calls.append(call)
        self._fail(call)

    def _fail(self, call: str) -> None:
        if call in self.failures:
            raise self.failures[call]


class FakePorts:
    """Sockets: while the service runs its process listens, unless `taken` says who does instead.

    Attributes:
        taken: Who listens instead; None for the service's process.
        closed: Nobody listens at all.
    """

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.taken: Listener | None = None
        self.closed = False

    def listener(self, port: int) -> Listener | None:
        """Return who listens."""
        if self.closed:
            return None
        own = self._service.pid
        return self.taken or (Listener(own, "litellm") if own is not None else None)

    def serves(self, pid: int, port: int) -> bool:
        """Tell whether it is the listener."""
        found = self.listener(port)
        return found is not None and found.pid == pid


class FakeClock:
    """Time that passes only in `sleep`, which never waits."""

    def __init__(self) -> None:
        self.passed = 1000.0
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        """Return the time."""
        return self.passed

    def now(self) -> float:
        """Return the time of day."""
        return 1_700_000_000.0 + self.passed

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += seconds
        self.on_sleep()


class FakeProgress:
    """Remembers the steps and the notes."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Remember the step."""
        self.steps.append(text)
        yield

    def note(self, text: str) -> None:
        """Remember the note."""
        self.notes.append(text)


class MemoryState:
    """The state file, in memory; counts saves."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.saves = 0

    def load(self) -> Mapping[str, Any]:
        """Return what was saved."""
        return self.values

    def save(self, values: Mapping[str, Any]) -> None:
        """Keep it."""
        self.saves += 1
        self.values = dict(values)


@dataclass
class FakeInstaller:
    """An installation that is there, or appears when installed.

    Attributes:
        path: Where the program is or will be.
        present: Whether it is.
        failure: What `install` raises.
        reencrypts: Whether it can encrypt its database with another key.
    """

    path: PurePath
    present: bool = True
    failure: LabError | None = None
    installs: int = 0
    reencrypts: bool = True

    def installed(self) -> PurePath | None:
        """Return the program where it is there."""
        return self.path if self.present else None

    def interpreter(self) -> PurePath:
        """Return the Python beside it."""
        return self.path.with_name("python")

    def can_reencrypt(self) -> bool:
        """Tell it."""
        return self.reencrypts

    def install(self, progress: Progress) -> PurePath:
        """Install it."""
        self.installs += 1
        if self.failure is not None:
            raise self.failure
        self.present = True
        return self.path


@dataclass
class FakeRedis:
    """What `ping_redis` says: None for well; remembers whether a password was sent."""

    problem: str | None = None
    asked: list[tuple[str, int, bool]] = field(default_factory=list)

    def __call__(self, host: str, port: int, password: Secret | None) -> str | None:
        """Answer."""
        self.asked.append((host, port, password is not None))
        return self.problem


class KeyMaker:
    """Makes keys that are all different and the same in every run; remembers them in `made`."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self) -> Secret:
        """Return a new key."""
        digest = hashlib.sha256(b"%d" % len(self.made)).hexdigest()
        self.made.append(f"sk-test-{digest[:43]}")
        return Secret(self.made[-1])


@dataclass(frozen=True)
class FakeTools(Tools):
    """Tools whose fields are the doubles above; `providers` holds those by scheme."""

    service: FakeService
    gateway: FakeGateway
    ports: FakePorts
    installer: FakeInstaller
    state: MemoryState
    clock: FakeClock
    progress: FakeProgress
    new_key: KeyMaker
    ping_redis: FakeRedis
    providers: dict[str, MemoryProvider] = field(default_factory=dict)

    @property
    def reads(self) -> list[str]:
        """Every reference that any provider was asked for."""
        return [ref for provider in self.providers.values() for ref in provider.reads]


def make_places(home: Path) -> Places:
    """Return the usual places below `home`."""
    return Places(
        home=PurePath(home),
        config=PurePath(home / ".config"),
        state=PurePath(home / ".local/state"),
        cache=PurePath(home / ".cache"),
        factory=PurePath(home / ".factory"),
    )


def make_tools(
    tmp_path: Path,
    lab_text: str = LAB,
    *,
    kind: str = "systemd",
    profile: str | None = None,
    secrets: Mapping[str, str] | None = None,
) -> FakeTools:
    """Return a lab in `tmp_path/lab` for a home in `tmp_path/home`, with doubles around it.

    Args:
        tmp_path: An empty folder.
        lab_text: What its lab.toml says.
        kind: The service manager, `systemd` or `supervisor`.
        profile: A profile instead of the lab file's.
        secrets: Values in the encrypted store, by name; default: master and salt key.
    """
    root, home = tmp_path / "lab", tmp_path / "home"
    for folder in (root, home):
        folder.mkdir(mode=0o700, exist_ok=True)
    (root / "lab.toml").write_text(lab_text)
    lab = parse_lab(lab_text, PurePath(root), profile)
    held = {MASTER_KEY: MASTER, SALT_KEY: SALT} if secrets is None else dict(secrets)
    held.setdefault(INTERNAL_KEY, INTERNAL)
    providers = {
        "sops": MemoryProvider(
            "sops", {f"sops:{STORE}#{name}": value for name, value in held.items()}, root / STORE
        ),
        "keyring": MemoryProvider("keyring"),
        "env": MemoryProvider("env"),
    }
    places = make_places(home)
    service = FakeService(kind, "litellm.service" if kind == "systemd" else "litellm")
    gateway = FakeGateway(lab.gateway.url, tuple(model.alias for model in lab.models))
    service.address = lab.gateway.held
    service.on_start = lambda: gateway.start_with(places.env_file)
    service.on_stop = lambda: setattr(gateway, "key", None)
    return FakeTools(
        lab=lab,
        places=places,
        keyturn="/usr/bin/keyturn",
        files=LocalFiles(),
        templates=TemplateFolder(root),
        resolver=Resolver(lab.secrets, providers.__getitem__),
        provider=providers.__getitem__,
        service=service,
        gateway=gateway,
        ports=FakePorts(service),
        installer=FakeInstaller(places.venv / "bin" / "litellm"),
        state=MemoryState(),
        clock=FakeClock(),
        progress=FakeProgress(),
        new_key=KeyMaker(),
        known=KnownSecrets,
        ping_redis=FakeRedis(),
        providers=providers,
    )


def with_lab(tools: FakeTools, lab_text: str, profile: str | None = None) -> FakeTools:
    """Return the same world after lab.toml was edited."""
    Path(tools.lab.file).write_text(lab_text)
    lab = parse_lab(lab_text, tools.lab.root, profile)
    tools.gateway.model_ids = tuple(model.alias for model in lab.models)
    return replace(tools, lab=lab, resolver=Resolver(lab.secrets, tools.providers.__getitem__))
