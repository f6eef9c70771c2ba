"""A lab for rotations: real files, real vault and journal; store, gateway, time are doubles.

The gateway decides by the keyset on disk, as the guard does. `Disturbance` makes something happen,
once, when the journal is about to say that a step is done.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from bootstrap.adapters.dotenv import secret_in
from bootstrap.adapters.entropy import misfit_of, weakness_of
from bootstrap.adapters.journal import FileJournal
from bootstrap.adapters.vault import SLOT_SUFFIX, LabVault
from bootstrap.domain import targets as names
from bootstrap.domain.errors import LabError, TargetError
from bootstrap.domain.probes import Answer
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.rotation import Record, Step
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY, SALT_KEY, STORE
from bootstrap.domain.targets import targets
from bootstrap.workflows.apply import apply
from bootstrap.workflows.planning import make_plan
from bootstrap.workflows.resolve import Resolver
from bootstrap.workflows.tools import RotationTools
from support.fakes import (
    LAB,
    MASTER,
    SALT,
    FakeGateway,
    FakeTools,
    MemoryProvider,
    make_tools,
)

NEW = "sk-test-new-Zk3Qw8Lr5Ty2Vb7Nm4Xc9Hj6Gf1Dp0Sa"
THIRD = "sk-test-third-Ru4Yt8Ei2Wo6Qp1Al5Sk9Dj3Fh7Gz"
INTERNAL = "sk-test-internal-0123456789abcdef0123456789"
HELD = {MASTER_KEY: MASTER, SALT_KEY: SALT, INTERNAL_KEY: INTERNAL}
PLAIN = LAB + 'auth = "master-key"\n'
BOOM = TargetError("it fails", why="the test says so", fix="mend the test")


class RotationClock:
    """Time that passes only in `sleep`; epoch time can jump without the other one noticing."""

    def __init__(self) -> None:
        self.epoch = 1_800_000_000.0
        self._monotonic = 1000.0

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start."""
        return self._monotonic

    def now(self) -> float:
        """Return epoch seconds."""
        return self.epoch

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._monotonic += seconds
        self.epoch += seconds


class Store(MemoryProvider):
    """An encrypted file in memory, which can write several names at once and remove some.

    Attributes:
        puts: What `write_many` was asked for: the names with a value, the names removed.
    """

    def __init__(self, values: Mapping[str, str], file: Path) -> None:
        super().__init__("sops", values, file)
        self.puts: list[tuple[list[str], list[str]]] = []

    def write_many(self, place: str, secrets: Mapping[str, Secret | None]) -> None:
        """Store all of them, or none where one is broken."""
        for name in secrets:
            self._break(SecretRef(self.scheme, place, name))
        kept = [name for name, secret in secrets.items() if secret is not None]
        self.puts.append((kept, [name for name in secrets if name not in kept]))
        for name, secret in secrets.items():
            ref = str(SecretRef(self.scheme, place, name))
            if secret is None:
                self.values.pop(ref, None)
            else:
                self.values[ref] = secret.reveal()
        self._save()


class Keyring(MemoryProvider):
    """A keyring, which removes entries one by one; `diary` has what it did, in order."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        super().__init__("keyring", values)
        self.diary: list[str] = []
        self.after_each: Callable[[], None] = lambda: None

    def write(self, ref: SecretRef, secret: Secret) -> None:
        """Store the value."""
        super().write(ref, secret)
        self.diary.append(f"write {ref.name}")
        self.after_each()

    def delete(self, ref: SecretRef) -> None:
        """Remove the entry."""
        self._break(ref)
        del self.values[str(ref)]
        self.diary.append(f"delete {ref.name}")
        self.after_each()


class Environ:
    """A provider that cannot write."""

    scheme = "env"

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._memory = MemoryProvider("env", values)
        self.unavailable = self._memory.unavailable
        self.read = self._memory.read


class FakeDoor:
    """The password of a Redis.

    Attributes:
        accepted: The passwords that open it.
        one: It knows one password only.
        problem: Why it cannot be changed.
        broken: What to raise instead of changing it.
    """

    def __init__(self, password: str) -> None:
        self.accepted = {password}
        self.one = False
        self.problem: str | None = None
        self.broken: LabError | None = None

    def hindrance(self, current: Secret) -> str | None:
        """Return it."""
        return self.problem

    def open_both(self, current: Secret, other: Secret) -> None:
        """Accept both, or `current` alone."""
        self._enter(current, other)
        kept = set() if self.one else {*self.accepted, other.reveal()}
        self.accepted = {*kept, current.reveal()}

    def close(self, current: Secret, other: Secret | None) -> None:
        """Accept `current` alone."""
        self._enter(current, other)
        self.accepted = {current.reveal()}

    def forgets(self, current: Secret) -> str:
        """Say what to type."""
        return "type: redis-cli --askpass ACL SAVE"

    def _enter(self, *passwords: Secret | None) -> None:
        if self.broken is not None:
            raise self.broken
        assert self.accepted & {word.reveal() for word in passwords if word is not None}


class GuardedGateway(FakeGateway):
    """Accepts what the keyset on disk says, as long as it runs; without one, its own key.

    Attributes:
        keyset: Where the keyset is.
        clock: The time by which keys end.
        refuses: Values that it refuses whatever the keyset says.
    """

    def __init__(self, url: str, ids: tuple[str, ...], keyset: Path, clock: RotationClock) -> None:
        super().__init__(url, ids)
        self.keyset = keyset
        self.clock = clock
        self.refuses: set[str] = set()

    def models(self, key: Secret | None) -> Answer:
        """Answer as the guard does."""
        if key is None or self.key is None or not self.keyset.exists():
            return super().models(key)
        accepted = key.reveal() not in self.refuses and any(
            row["sha256"] == key.digest()
            and (row["not_after"] is None or self.clock.now() < row["not_after"])
            for row in json.loads(self.keyset.read_bytes())["keys"]
        )
        if accepted:
            return self._answer("right key", Answer(200, model_ids=self.model_ids))
        return self._answer("wrong key", Answer(401, "auth_error"))


class DisturbedJournal(FileJournal):
    """The real journal; `before` and `after` a step is written, something may happen, once."""

    def __init__(self, folder: PurePath) -> None:
        super().__init__(folder)
        self.before: dict[Step, Callable[[], None]] = {}
        self.after: dict[Step, Callable[[], None]] = {}

    def begin(self, record: Record) -> None:
        """Start a journal."""
        self.before.pop(record.step, lambda: None)()
        super().begin(record)
        self.after.pop(record.step, lambda: None)()

    def add(self, record: Record) -> None:
        """Add a line."""
        self.before.pop(record.step, lambda: None)()
        super().add(record)
        self.after.pop(record.step, lambda: None)()


@dataclass
class World:
    """A lab that is bootstrapped, and what a rotation of it needs.

    Attributes:
        tools: With doubles.
        using: With the real journal and vault.
        journal: The journal of `using`.
        store: The encrypted file.
        keyring: The keyring.
        redis: The password of the Redis, where the lab has one.
    """

    tools: FakeTools
    using: RotationTools
    journal: DisturbedJournal
    store: Store
    keyring: Keyring
    env: Environ = field(default_factory=Environ)
    redis: FakeDoor = field(default_factory=lambda: FakeDoor(""))

    @property
    def clock(self) -> RotationClock:
        """Its time."""
        clock = self.tools.clock
        assert isinstance(clock, RotationClock)
        return clock

    @property
    def gateway(self) -> GuardedGateway:
        """Its gateway."""
        assert isinstance(self.tools.gateway, GuardedGateway)
        return self.tools.gateway

    @property
    def steps(self) -> list[str]:
        """The steps in the journal."""
        return [record.step.value for record in self.journal.records()]

    def stored(self, suffix: str = "") -> str | None:
        """Return what the encrypted file holds under the master key's name and `suffix`."""
        return self.store.values.get(f"sops:{STORE}#{MASTER_KEY}{suffix}")

    def path(self, name: str) -> Path:
        """Return where the target called `name` stands."""
        wanted = targets(self.tools.lab, self.tools.places, self.tools.service.kind)
        return Path(next(target.path for target in wanted if target.name == name))

    def in_force(self, key: str, other: str) -> bool:
        """Tell whether `key` alone is in force: store, slot, gateway, every target."""
        held = [self.path(name).read_text() for name in (names.ENV_FILE, names.DROID_SETTINGS)]
        accepted = [self.tools.gateway.models(Secret(k)).status == 200 for k in (key, other)]
        return (
            all(key in text and other not in text for text in held)
            and accepted == [True, False]
            and self.stored() == key
            and self.stored(SLOT_SUFFIX) is None
            and not make_plan(self.tools)
        )


def make_world(
    tmp_path: Path,
    lab_text: str = LAB,
    *,
    held: Mapping[str, str] = HELD,
    keyring: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    also: Mapping[str, str] | None = None,
    kind: str = "systemd",
) -> World:
    """Return a lab in `tmp_path/lab`, applied and running.

    Args:
        tmp_path: An empty folder.
        lab_text: Its lab.toml.
        held: What the encrypted file holds, by name.
        keyring: What the keyring holds, by name.
        environ: What the environment holds, by name.
        also: What other encrypted files hold, by reference.
        kind: Of its service.
    """
    tools = make_tools(tmp_path, lab_text, kind=kind, secrets={})
    root, clock = tmp_path / "lab", RotationClock()
    stored = {f"sops:{STORE}#{name}": value for name, value in held.items()}
    store = Store({**stored, **(also or {})}, root / STORE)
    ring = Keyring({f"keyring:keyturn#{name}": value for name, value in (keyring or {}).items()})
    env = Environ({f"env:{name}": value for name, value in (environ or {}).items()})
    providers = {"sops": store, "keyring": ring, "env": env}
    places = tools.places
    keyset = Path(places.litellm) / "keyturn-keyset.json"
    ids = tuple(model.alias for model in tools.lab.models)
    gateway = GuardedGateway(tools.lab.gateway.url, ids, keyset, clock)
    tools.service.on_start = lambda: gateway.start_with(places.env_file)
    tools.service.on_stop = lambda: setattr(gateway, "key", None)
    tools = replace(
        tools,
        clock=clock,  # type: ignore[arg-type]
        gateway=gateway,
        provider=providers.__getitem__,  # type: ignore[arg-type]
        resolver=Resolver(tools.lab.secrets, providers.__getitem__),  # type: ignore[arg-type]
        deployed_key=lambda: secret_in(places.env_file, MASTER_KEY),
    )
    folder = places.lab_state(tools.lab.root)
    Path(folder).mkdir(parents=True, mode=0o700)
    journal = DisturbedJournal(folder)
    apply(tools)
    using = RotationTools(journal, _vaults(tools), weakness_of, misfit_of)
    world = World(tools, using, journal, store, ring)
    world.env = env
    return world


def afresh(world: World) -> RotationTools:
    """Return what the next command works with: nothing is remembered but what is on disk."""
    return replace(world.using, vaults=_vaults(world.tools))


def _vaults(tools: FakeTools) -> LabVault:
    return LabVault(lambda name: tools.lab.secrets[name].sources, tools.provider)


def raises(error: BaseException) -> Callable[[], None]:
    """Return something that raises."""

    def disturb() -> None:
        raise error

    return disturb
