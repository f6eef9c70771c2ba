"""`init`: makes what is missing of a lab, and overwrites nothing."""

from collections.abc import Mapping
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.machine import TemplateFolder
from bootstrap.domain.errors import ConfigError, StoreDamagedError, UsageError
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import GENERATED
from bootstrap.workflows.init import Desk, Made, init
from support.fakes import KeyMaker
from support.homes import snapshot

STORE = "secrets/global.enc.env"
IDENTITY = PurePath("/home/somebody/.config/sops/age/keys.txt")


class MemoryStore:
    """The encrypted store: what it holds in memory, a file with the names on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.values: dict[str, str] = {}
        self.damaged = False

    def document(self, place: str) -> dict[str, Secret]:
        """Return what it holds, unless it is damaged."""
        if self.damaged:
            raise StoreDamagedError("bad store", why="it was cut off", fix="restore it")
        return {name: Secret(value) for name, value in self.values.items()}

    def create(self, place: str, secrets: Mapping[str, Secret]) -> None:
        """Make it."""
        assert not (self._root / place).exists()
        self.write_many(place, secrets)

    def write_many(self, place: str, secrets: Mapping[str, Secret]) -> None:
        """Add values."""
        self.values |= {name: secret.reveal() for name, secret in secrets.items()}
        (self._root / place).parent.mkdir(exist_ok=True)
        (self._root / place).write_text("\n".join(self.values))


class Office:
    """A folder with a store, and whether an identity is there."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root = root
        self.store = MemoryStore(root)
        self.has_identity = False
        self.asked_for_identity = 0

    def desk(self) -> Desk:
        """Return what `init` works with."""

        def ensure_identity() -> tuple[str, bool, PurePath]:
            self.asked_for_identity += 1
            created, self.has_identity = not self.has_identity, True
            return "age1test", created, IDENTITY

        return Desk(
            root=PurePath(self.root),
            files=LocalFiles(),
            templates=TemplateFolder(self.root),
            store=self.store,
            ensure_identity=ensure_identity,
            new_key=KeyMaker(),
            keyturn="/usr/bin/keyturn",
        )

    def init(self, port: int | None = None) -> Made:
        """Run it."""
        return init(self.desk(), port=port)

    def text(self, name: str) -> str:
        """Return a file's text."""
        return (self.root / name).read_text()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "lab")


def names(made: Made) -> set[str]:
    return {path.name for path, _ in made.created}


def test_it_makes_everything_that_a_lab_needs(office: Office) -> None:
    made = office.init()
    assert names(made) == {
        "lab.toml",
        "keys.txt",
        ".sops.yaml",
        "global.enc.env",
        ".gitignore",
        ".gitattributes",
        ".envrc",
    }
    assert made.identity == IDENTITY
    assert made.kept == []
    assert set(office.store.values) == set(GENERATED)
    assert len(set(office.store.values.values())) == 3
    assert "age: age1test" in office.text(".sops.yaml")
    assert "port = 4000" in office.text("lab.toml")


def test_a_second_run_changes_nothing_and_says_what_is_there(office: Office) -> None:
    office.init()
    before, values = snapshot(office.root), dict(office.store.values)
    again = office.init()
    assert again.created == []
    assert again.identity is None
    assert {path.name for path in again.kept} == {path.name for path in office.root.iterdir()} - {
        "secrets"
    } | {"global.enc.env"}
    assert snapshot(office.root) == before
    assert office.store.values == values


def test_a_port_is_written_into_a_new_lab_only(office: Office) -> None:
    office.init(port=4711)
    assert "port = 4711" in office.text("lab.toml")
    office.init(port=4711)
    before = snapshot(office.root)
    with pytest.raises(UsageError) as caught:
        office.init(port=4712)
    assert "4711" in caught.value.what
    assert caught.value.exit_code == 2
    assert snapshot(office.root) == before


def test_keys_that_are_there_already_go_into_the_store_in_place_of_fresh_ones(
    office: Office,
) -> None:
    key = Secret("sk-test-kept-0123456789abcdef0123456789")
    made = init(office.desk(), keys={GENERATED[0]: key}, version="1.80.0")
    assert office.store.values[GENERATED[0]] == key.reveal()
    assert office.store.values[GENERATED[1]] != key.reveal()
    assert any(f"{GENERATED[0]} (yours)" in what for _, what in made.created)
    assert '\nlitellm_version = "1.80.0"' in office.text("lab.toml")


def test_names_that_the_store_lacks_are_added_to_it(office: Office) -> None:
    office.init()
    master = office.store.values["LITELLM_MASTER_KEY"]
    del office.store.values["LITELLM_SALT_KEY"]
    made = office.init()
    assert [what for _, what in made.created] == ["added a fresh LITELLM_SALT_KEY"]
    assert office.store.values["LITELLM_MASTER_KEY"] == master


def test_an_identity_that_is_there_is_used_and_not_shouted_about(office: Office) -> None:
    office.has_identity = True
    made = office.init()
    assert made.identity is None
    assert "keys.txt" not in names(made)


def test_no_identity_is_made_for_a_store_that_is_there(office: Office) -> None:
    office.init()
    office.has_identity = False
    office.asked_for_identity = 0
    office.init()
    assert office.asked_for_identity == 0


def test_rules_that_were_lost_are_written_again(office: Office) -> None:
    office.init()
    (office.root / ".sops.yaml").unlink()
    assert names(office.init()) == {".sops.yaml"}


def test_a_store_that_cannot_be_opened_stops_it_before_anything_is_written(office: Office) -> None:
    office.init()
    (office.root / ".envrc").unlink()
    office.store.damaged = True
    before = snapshot(office.root)
    with pytest.raises(StoreDamagedError):
        office.init()
    assert snapshot(office.root) == before


@pytest.mark.parametrize("data", [b"[gateway\n", b"\xff\xfe", b"surprise = 1\n"])
def test_a_broken_lab_file_stops_it_before_anything_is_written(office: Office, data: bytes) -> None:
    (office.root / "lab.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=r"lab\.toml"):
        office.init()
    assert [path.name for path in office.root.iterdir()] == ["lab.toml"]


def test_lines_of_the_users_own_ignore_file_stay(office: Office) -> None:
    (office.root / ".gitignore").write_text("build/\n*.dec.env\nlast line without an end")
    made = office.init()
    lines = office.text(".gitignore").splitlines()
    assert lines[:3] == ["build/", "*.dec.env", "last line without an end"]
    assert lines.count("*.dec.env") == 1
    assert ("3 lines to keep plaintext out of git") in [what for _, what in made.created]


def test_one_missing_line_is_one_line(office: Office) -> None:
    office.init()
    kept = [line for line in office.text(".gitignore").splitlines() if line != ".direnv/"]
    (office.root / ".gitignore").write_text("\n".join(kept) + "\n")
    assert [what for _, what in office.init().created] == ["1 line to keep plaintext out of git"]


def test_a_lab_that_wants_no_envrc_gets_none(office: Office) -> None:
    (office.root / "lab.toml").write_text("[targets]\nenvrc = false\n")
    assert ".envrc" not in names(office.init())


def test_the_envrc_asks_for_the_names_that_the_lab_passes_on(office: Office) -> None:
    text = '[secrets.OPENAI_API_KEY]\n[exec]\nsecrets = ["OPENAI_API_KEY"]\n'
    (office.root / "lab.toml").write_text(text)
    office.init()
    assert "OPENAI_API_KEY" in office.text(".envrc")
    assert "LITELLM_MASTER_KEY" not in office.text(".envrc")


def test_a_lab_that_reads_its_keys_elsewhere_gets_no_store(office: Office) -> None:
    rows = [f'[secrets.{name}]\nsources = ["env:{name}"]' for name in GENERATED]
    (office.root / "lab.toml").write_text("\n".join(rows))
    assert names(office.init()) == {".gitignore", ".gitattributes", ".envrc"}
    assert office.asked_for_identity == 0
