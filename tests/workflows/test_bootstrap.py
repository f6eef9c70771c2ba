"""`bootstrap`: where it makes a lab, and what it does in which order."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import pytest

from bootstrap.adapters.files import LocalFiles
from bootstrap.domain.errors import ConflictError, LabError, ServiceError, UsageError
from bootstrap.domain.secret_spec import GENERATED
from bootstrap.workflows.bootstrap import Bootstrapped, Builder, bootstrap
from bootstrap.workflows.init import Desk
from support.fakes import FakeProgress, FakeTools, KeyMaker, make_tools


class World:
    """Everything around `bootstrap`; remembers the order of what was done."""

    def __init__(self, folder: Path) -> None:
        self.tools: FakeTools = make_tools(folder)
        self.root = PurePath(folder / "lab")
        self.home = PurePath(folder / "home")
        self.located: PurePath | None = None
        self.here = self.root
        self.has_identity = False
        self.order: list[str] = []
        self.progress = FakeProgress()

    @contextmanager
    def lock(self, root: PurePath) -> Iterator[None]:
        self.order.append(f"lock {root.name}")
        yield
        self.order.append("unlock")

    def desk(self, root: PurePath) -> Desk:
        self.order.append("init")
        store = self.tools.providers["sops"]

        class Store:
            """The store, which is there already."""

            def document(self, place: str) -> dict[str, Any]:
                return dict.fromkeys(GENERATED)

            create = write_many = lambda self, place, secrets: pytest.fail("it is there")

        assert store.file is not None

        def ensure_identity() -> tuple[str, bool, PurePath]:
            created, self.has_identity = not self.has_identity, True
            return "age1test", created, PurePath("/home/me/keys.txt")

        return Desk(
            root,
            LocalFiles(),
            self.tools.templates,
            Store(),
            ensure_identity,
            KeyMaker(),
            "keyturn",
        )

    def register(self, root: PurePath) -> bool:
        self.order.append("register")
        return True

    def run(self, **options: Any) -> Bootstrapped:
        builder = Builder(
            locate=lambda: self.located,
            here=self.here,
            home=self.home,
            desk=self.desk,
            tools=lambda root: self.tools,
            settle=lambda tools: self.order.append("settle"),
            lock=self.lock,
            register=self.register,
        )
        return bootstrap(builder, self.progress, **options)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_makes_the_lab_installs_starts_proves_and_registers_under_one_lock(
    world: World,
) -> None:
    world.tools.installer.present = False
    done = world.run()
    assert world.order == ["lock lab", "init", "settle", "register", "unlock"]
    assert (done.installed, done.applied.installed, done.applied.proven) == (True, True, True)
    assert done.program == world.tools.installer.path
    assert done.registered


def test_a_second_run_changes_nothing(world: World) -> None:
    world.run()
    world.tools.service.calls.clear()
    done = world.run()
    assert not done.applied.plan
    assert done.made.created == []
    assert not done.installed
    assert world.tools.service.calls == []


def test_without_a_start_it_installs_and_writes(world: World) -> None:
    world.tools.installer.present = False
    done = world.run(start=False)
    assert (done.installed, done.applied.installed, done.applied.proven) == (True, False, False)
    assert Path(world.tools.places.env_file).is_file()
    assert world.tools.service.pid is None


def test_a_conflict_is_found_before_600_megabytes_are_downloaded(world: World) -> None:
    world.run()
    world.tools.installer.present = False
    Path(world.tools.places.litellm / "config.yaml").write_text("# mine\n")
    with pytest.raises(ConflictError):
        world.run()
    assert world.tools.installer.installs == 0
    assert world.run(force=True).applied.backups


@pytest.mark.parametrize("way", ["folder", "located", "here"])
def test_the_folder_named_wins_then_the_lab_found_then_the_working_directory(
    world: World, way: str
) -> None:
    elsewhere = PurePath("/nowhere")
    folder = world.root if way == "folder" else None
    world.located = {"folder": elsewhere, "located": world.root}.get(way)
    world.here = world.root if way == "here" else elsewhere
    assert world.run(folder=folder).made.root == world.root


@pytest.mark.parametrize("where", ["home", "/"])
def test_no_lab_is_made_in_the_home_folder_itself_by_accident(world: World, where: str) -> None:
    world.here = world.home if where == "home" else PurePath("/")
    with pytest.raises(UsageError) as caught:
        world.run()
    assert "~/lab" in caught.value.fix
    assert world.order == []


def test_the_home_folder_is_taken_where_it_is_named(world: World) -> None:
    rows = (f'[secrets.{n}]\nsources = ["env:{n}"]' for n in GENERATED)
    (Path(world.home) / "lab.toml").write_text("\n".join(rows))
    assert world.run(folder=world.home).made.root == world.home


def test_a_new_identity_is_told_of_although_a_later_step_fails(world: World) -> None:
    world.tools.service.failures["start"] = ServiceError("no", why="it is broken", fix="mend it")
    with pytest.raises(LabError):
        world.run()
    assert any("/home/me/keys.txt" in note for note in world.progress.notes)
    assert "register" not in world.order


def test_an_identity_that_was_there_is_not_told_of(world: World) -> None:
    world.has_identity = True
    world.tools.service.failures["start"] = ServiceError("no", why="it is broken", fix="mend it")
    with pytest.raises(LabError):
        world.run()
    assert world.progress.notes == []
