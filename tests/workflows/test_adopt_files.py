"""Adopting: what is copied, what is put back, what the plan says."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from bootstrap.domain.errors import ConfigError, ConflictError, ServiceError
from bootstrap.domain.found_models import Found
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.adopt import AdoptDesk, Adopted, Adoptee, Edit, adopt
from bootstrap.workflows.adopt_note import Note, read_note, write_note
from bootstrap.workflows.adopt_plan import plan_lines, refuse_none
from bootstrap.workflows.init import Desk
from support.fakes import INTERNAL, LAB, MASTER, SALT, FakeTools, make_tools

COMMAND = b"$(keyturn get)"


class Store:
    """What the encrypted store holds."""

    def __init__(self) -> None:
        names = (MASTER_KEY, "LITELLM_SALT_KEY", "KEYTURN_INTERNAL_KEY")
        self.values = dict(zip(names, map(Secret, (MASTER, SALT, INTERNAL)), strict=True))

    def document(self, place: str) -> Mapping[str, Secret]:
        """Return it."""
        return self.values

    def create(self, place: str, secrets: Mapping[str, Secret]) -> None:
        """Nothing makes one here."""

    def write_many(self, place: str, secrets: Mapping[str, Secret]) -> None:
        """Add to it."""
        self.values |= secrets


class Old:
    """A gateway by hand that remembers what happens to it."""

    label = "process 7, started by hand"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failure: Exception | None = None
        self.killed = False
        self.to_come = {"port": 4123, "command": "0a1b"}

    def stop(self) -> None:
        """Stop, or refuse to."""
        self.calls.append("stop")
        if self.failure is not None:
            raise self.failure

    def start(self) -> dict[str, object]:
        """Start."""
        self.calls.append("start")
        if self.killed:
            raise KeyboardInterrupt
        return {"port": 4123, "unit": "old.service"}


class House:
    """A lab with doubles around it, a shell file with the key, and a gateway by hand."""

    def __init__(self, tmp_path: Path) -> None:
        self.tools: FakeTools = make_tools(tmp_path, LAB)
        self.root = PurePath(tmp_path / "lab")
        self.rc = tmp_path / "home" / ".bashrc"
        self.rc.write_bytes(b"K=" + MASTER.encode())
        self.old = Old()
        self.store = Store()
        self.keep = tmp_path / "kept"
        self.holders: list[PurePath] = []

    def adoptee(self, **more: object) -> Adoptee:
        """Return what a survey would have found."""
        edit = Edit(PurePath(self.rc), "a command", self._without)
        values: dict[str, object] = {
            "root": self.root,
            "port": 4123,
            "keys": {MASTER_KEY: Secret(MASTER)},
            "key_from": "config.yaml",
            "accepted": True,
            "weakness": None,
            "config": None,
            "found": None,
            "old": self.old,
            "edits": (edit, Edit(PurePath(self.rc.parent / "gone"), "a command", self._without)),
            "targets": (),
        }
        return Adoptee(**(values | more))  # type: ignore[arg-type]

    def adopt(self, settle: Callable[[object], object] = lambda _: None) -> Adopted:
        """Run it."""
        tools = self.tools
        desk = Desk(
            self.root,
            tools.files,
            tools.templates,
            self.store,
            lambda: ("age1test", False, PurePath("/keys.txt")),
            tools.new_key,
            "/usr/bin/keyturn",
        )
        using = AdoptDesk(
            tools.files,
            desk,
            lambda: tools,
            settle,
            nullcontext,
            lambda: True,
            lambda: self.holders,
            PurePath(self.keep),
        )
        return adopt(self.adoptee(), using, tools.progress)

    @staticmethod
    def _without(data: bytes) -> bytes:
        return data.replace(MASTER.encode(), COMMAND)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_the_old_gateway_stops_once_and_the_key_leaves_the_file(house: House) -> None:
    house.holders = [PurePath(house.rc), PurePath(house.tools.places.env_file)]
    house.tools.installer.present = False
    done = house.adopt()
    assert house.old.calls == ["stop"]
    assert house.tools.installer.installs == 1
    assert house.rc.read_bytes() == b"K=" + COMMAND
    assert done.edited == (house.rc,)
    assert done.leftovers == (house.rc,)  # the env file is keyturn's own
    assert done.imported is None
    (copy,) = house.keep.iterdir()
    assert (copy.read_bytes(), copy.stat().st_mode & 0o777) == (b"K=" + MASTER.encode(), 0o600)


def test_a_further_run_keeps_its_copies_beside_the_first_ones(house: House) -> None:
    house.adopt()
    house.rc.write_bytes(b"new K=" + MASTER.encode())
    house.adopt()
    house.rc.write_bytes(b"K=" + MASTER.encode())
    house.adopt()
    copies = sorted(path.read_bytes() for path in house.keep.iterdir())
    assert copies == [b"K=" + MASTER.encode(), b"new K=" + MASTER.encode()]


def test_a_gateway_that_does_not_stop_leaves_everything_as_it_was(house: House) -> None:
    house.old.failure = ServiceError("it goes on", why="it does", fix="stop it")
    with pytest.raises(ServiceError):
        house.adopt()
    assert house.old.calls == ["stop", "start"]
    assert house.rc.read_bytes() == b"K=" + MASTER.encode()
    assert not Path(house.tools.places.litellm).joinpath("config.yaml").exists()
    note = read_note(house.tools.files, PurePath(house.keep))
    assert note is not None
    assert note.started == {"port": 4123, "unit": "old.service"}
    house.old.failure = None
    house.adopt()
    assert read_note(house.tools.files, PurePath(house.keep)) is None


def test_a_run_that_ends_just_as_it_starts_the_old_gateway_again_has_noted_it(
    house: House,
) -> None:
    house.old.failure = ServiceError("it goes on", why="it does", fix="stop it")
    house.old.killed = True
    with pytest.raises(KeyboardInterrupt):
        house.adopt()
    note = read_note(house.tools.files, PurePath(house.keep))
    assert note is not None
    assert note.started == house.old.to_come


def test_a_run_that_was_cut_off_is_known_and_its_remains_go(house: House) -> None:
    noted = Note(PurePath("/elsewhere/unified.yaml"), (PurePath(house.rc),))
    write_note(house.tools.files, PurePath(house.keep), noted)
    assert read_note(house.tools.files, PurePath(house.keep)) == noted
    (house.rc.parent / "..bashrc.keyturn-1.tmp").write_bytes(MASTER.encode())
    assert house.adoptee(old=None, edits=(), unfinished=True)
    assert plan_lines(house.adoptee(unfinished=True), None)[0][0] == "go on"
    house.adopt()
    assert read_note(house.tools.files, PurePath(house.keep)) is None
    assert [path.name for path in house.rc.parent.glob("*bashrc*")] == [".bashrc"]
    write_note(house.tools.files, PurePath(house.keep), None)  # safe to repeat


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"config": 1, "edits": "no"}',
        b'{"edits": [1], "started": 1}',
    ],
    ids=range(5),
)
def test_a_damaged_note_is_an_empty_one(data: bytes) -> None:
    assert Note.parse(data) == Note()


def test_another_labs_files_are_not_taken_over(house: House) -> None:
    path = str(house.tools.places.litellm / "config.yaml")
    states = {"/other": {"targets": {"litellm-config": {"path": path, "claim": 1}}}}
    house.tools = replace(house.tools, other_labs=lambda: states)
    with pytest.raises(ConflictError, match="another lab's"):
        house.adopt()
    assert house.old.calls == []


def test_a_gateway_that_would_serve_nothing_is_refused(house: House) -> None:
    found = Found("config.yaml", left_out=("a: no chat model", "b: its address is no URL"))
    refuse_none(house.adoptee(found=found))
    with pytest.raises(ConfigError, match="none of the models") as refused:
        refuse_none(house.adoptee(found=found, serves_none=True))
    assert refused.value.why == "a: no chat model; b: its address is no URL"
    assert "--without-models" in refused.value.fix


def test_what_cannot_be_put_back_is_said(house: House) -> None:
    failure = ServiceError("no start", why="it does not", fix="look")
    house.tools.service.failures = {"start": failure, "stop": failure}
    with pytest.raises(ServiceError):
        house.adopt()
    assert any("Not everything is back" in note for note in house.tools.progress.notes)
    assert house.old.calls == ["stop", "start"]


def test_the_plan_says_which_key_and_whether_it_works(house: House) -> None:
    def why(**more: object) -> list[str]:
        rows = plan_lines(house.adoptee(**more), None)
        return [reason for verb, what, reason in rows if what == MASTER_KEY]

    assert why() == ["from config.yaml, accepted by the gateway; goes into the store"]
    assert why(accepted=False) == [
        "from config.yaml, which the gateway refuses; goes into the store"
    ]
    assert why(accepted=None, weakness="short") == [
        "from config.yaml; goes into the store",
        "short; afterwards: keyturn rotate",
    ]
    assert why(keys={}) == ["no key was found: a fresh one"]


def test_what_is_there_already_turns_switches(house: House) -> None:
    assert house.adoptee().switches == ""
    both = house.adoptee(envrc=True, claude=True).switches
    assert both.startswith("[targets]\nenvrc = false")
    assert "claude_settings = true" in both
    assert not house.adoptee(old=None, edits=())
    assert house.adoptee(old=None, edits=(), claude=True)
