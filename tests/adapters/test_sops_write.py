"""Writing encrypted files, with the real sops."""

import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest

from bootstrap.adapters import sops_store
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.errors import (
    LabError,
    LockedError,
    ProviderUnavailableError,
    SecretError,
    StoreDamagedError,
)
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from support import homes
from support.sops_lab import PLACE, REAL_SOPS, SopsLab, fake_sops, make_lab

pytestmark = pytest.mark.integration

KEY = "sk-test-sops-0123456789"
OTHER = "sk-test-other-9876543210"
NEXT = "sk-test-next-1111111111"
REF = SecretRef("sops", PLACE, "KEY")


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> SopsLab:
    """A lab whose store holds KEY and OTHER."""
    made = make_lab(tmp_path / "lab", home)
    made.put({"KEY": KEY, "OTHER": OTHER})
    return made


def secrets(**values: str) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}


def refusal(lab: SopsLab, environ: dict[str, str] | None = None, **values: str) -> LabError:
    """Return the error of writing, after checking that nothing changed and nothing is quoted."""
    before = homes.snapshot(lab.root)
    with pytest.raises(LabError) as caught:
        SopsProvider(lab.root, environ).write_many(PLACE, secrets(**values or {"KEY": NEXT}))
    error = caught.value
    said = f"{error.what} {error.why} {error.fix}"
    assert homes.snapshot(lab.root) == before
    assert error.why
    assert error.fix
    for value in (KEY, OTHER, *values.values()):
        assert value not in said
    return error


def around_sops(tmp_path: Path, body: str) -> dict[str, str]:
    """Return variables for a sops that runs `body`, where `real` is the real one."""
    script = f'real() {{ "{REAL_SOPS}" "$@"; }}\n{body}'
    return {**os.environ, "KEYTURN_SOPS": fake_sops(tmp_path / "sops", script)}


def test_a_write_changes_three_lines(lab: SopsLab) -> None:
    before = lab.store.read_text().splitlines()
    SopsProvider(lab.root).write(REF, Secret(NEXT))
    after = lab.store.read_text().splitlines()
    changed = [line.split("=")[0] for line in after if line not in before]
    assert set(changed) <= {"KEY", "sops_lastmodified", "sops_mac"}
    assert "KEY" in changed
    assert lab.values() == {"KEY": NEXT, "OTHER": OTHER}


def test_writing_what_is_there_leaves_the_file_as_it_is(lab: SopsLab) -> None:
    before = (lab.store.read_bytes(), lab.store.stat().st_ino)
    SopsProvider(lab.root).write(REF, Secret(KEY))
    assert (lab.store.read_bytes(), lab.store.stat().st_ino) == before


def test_several_secrets_are_written_as_one(lab: SopsLab, tmp_path: Path) -> None:
    environ = around_sops(tmp_path, f'echo "$1" >> {tmp_path}/runs\nreal "$@"')
    provider = SopsProvider(lab.root, environ)
    assert provider.read(REF) == Secret(KEY)
    provider.write_many(PLACE, secrets(KEY=NEXT, OTHER=OTHER, NEW="new"))
    assert provider.document(PLACE) == secrets(KEY=NEXT, OTHER=OTHER, NEW="new")
    assert lab.values() == {"KEY": NEXT, "OTHER": OTHER, "NEW": "new"}
    runs = (tmp_path / "runs").read_text().split()
    assert runs == ["decrypt", "set", "set", "decrypt"]


def test_json_and_yaml_stores_are_written_too(lab: SopsLab) -> None:
    for end in ("json", "yaml"):
        place = f"secrets/more.enc.{end}"
        lab.put({"KEY": KEY, "N": 12, "T": {"in": "x"}}, place)
        provider = SopsProvider(lab.root)
        provider.write_many(place, secrets(KEY=NEXT, NEW="12"))
        fresh = SopsProvider(lab.root)
        assert fresh.document(place) == secrets(KEY=NEXT, N="12", NEW="12")
        assert fresh.names(place) == ("KEY", "N", "T", "NEW")


# Making a store.


def test_a_missing_store_is_made_private_for_the_recipients_of_the_rule(lab: SopsLab) -> None:
    place = "secrets/deep/new.enc.env"
    SopsProvider(lab.root).write_many(place, secrets(KEY="two\nlines", B="a\\nb"))
    made = lab.root / place
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
    assert lab.values(made) == {"KEY": "two\nlines", "B": "a\\nb"}
    assert lab.identity.recipient in made.read_text()
    assert [entry.name for entry in made.parent.iterdir()] == ["new.enc.env"]


def test_a_made_store_can_be_read_at_once(lab: SopsLab) -> None:
    provider = SopsProvider(lab.root)
    provider.create("secrets/new.enc.yaml", secrets(KEY=KEY))
    assert provider.read(SecretRef("sops", "secrets/new.enc.yaml", "KEY")) == Secret(KEY)


def test_an_existing_store_is_not_made_anew(lab: SopsLab) -> None:
    before = homes.snapshot(lab.root)
    with pytest.raises(SecretError, match="exists already"):
        SopsProvider(lab.root).create(PLACE, secrets(KEY=NEXT))
    assert homes.snapshot(lab.root) == before


@pytest.mark.parametrize("links", [True, False])
def test_a_store_that_appears_meanwhile_is_not_replaced(
    lab: SopsLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse_links)
    place = "secrets/late.enc.env"
    meanwhile = f"cp {lab.store} {lab.root / place}"
    environ = around_sops(tmp_path, f'real "$@"; [ "$1" = decrypt ] && {meanwhile}; true')
    with pytest.raises(SecretError, match="exists already"):
        SopsProvider(lab.root, environ).write_many(place, secrets(KEY=NEXT))
    assert lab.values(lab.root / place) == {"KEY": KEY, "OTHER": OTHER}


def refuse_links(self: Path, target: Path) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_file_system_without_hard_links_will_do(
    lab: SopsLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "hardlink_to", refuse_links)
    SopsProvider(lab.root).create("secrets/new.enc.env", secrets(KEY=KEY))
    assert lab.values(lab.root / "secrets/new.enc.env") == {"KEY": KEY}
    assert lab.scratch_files() == []


def test_a_disk_that_refuses_makes_no_store(lab: SopsLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    before = homes.snapshot(lab.root)
    with pytest.raises(SecretError, match="no space left on device"):
        SopsProvider(lab.root).create("secrets/new.enc.env", secrets(KEY=KEY))
    assert homes.snapshot(lab.root) == before


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("creation_rules:\n  - path_regex: elsewhere\n    age: age1x\n", "no rule"),
        ("creation_rules: [", "cannot be read"),
        ("creation_rules:\n  - age: age1zzz\n", "a recipient in .sops.yaml"),
        (None, "there is no .sops.yaml"),
    ],
)
def test_without_a_rule_for_it_no_store_is_made(lab: SopsLab, rules: str | None, why: str) -> None:
    (lab.root / ".sops.yaml").unlink()
    if rules:
        (lab.root / ".sops.yaml").write_text(rules)
    before = homes.snapshot(lab.root)
    with pytest.raises(ProviderUnavailableError) as caught:
        SopsProvider(lab.root).create("secrets/new.enc.env", secrets(KEY=KEY))
    assert why in caught.value.why
    assert homes.snapshot(lab.root) == before


def test_a_store_that_we_could_not_read_back_is_not_made(lab: SopsLab, home: Path) -> None:
    homes.write_age_identity(home)
    before = homes.snapshot(lab.root)
    with pytest.raises(ProviderUnavailableError, match="recipient"):
        SopsProvider(lab.root).create("secrets/new.enc.env", secrets(KEY=KEY))
    assert homes.snapshot(lab.root) == before


def test_a_store_that_is_not_made_leaves_no_folder_for_it(lab: SopsLab, home: Path) -> None:
    before = homes.snapshot(lab.root)
    homes.write_age_identity(home)
    with pytest.raises(ProviderUnavailableError, match="recipient"):
        SopsProvider(lab.root).create("more/secrets/new.enc.env", secrets(KEY=KEY))
    assert homes.snapshot(lab.root) == before


def test_a_folder_that_cannot_be_made_is_named(lab: SopsLab) -> None:
    with pytest.raises(SecretError) as caught:
        SopsProvider(lab.root).create(f"{PLACE}/inner/new.enc.env", secrets(KEY=KEY))
    assert caught.value.why == "not a directory"


# What is refused, with everything as it was.


@pytest.mark.parametrize("name", ["A=B", "A\nB", "#A", "sops_mac", "A_unencrypted", "A-B", ""])
def test_names_that_sops_would_take_and_break_on_are_refused(lab: SopsLab, name: str) -> None:
    before = homes.snapshot(lab.root)
    with pytest.raises(SecretError, match="its name does not fit"):
        SopsProvider(lab.root).write_many(PLACE, {name: Secret(NEXT)})
    assert homes.snapshot(lab.root) == before


def test_a_value_that_sops_would_change_is_refused(lab: SopsLab) -> None:
    assert "gave something else" in refusal(lab, KEY="sk-\ud800-surrogate").why


def test_a_name_without_a_type_is_refused(lab: SopsLab) -> None:
    with pytest.raises(ProviderUnavailableError):
        SopsProvider(lab.root).write_many("secrets/global", secrets(KEY=KEY))


def test_an_unsound_store_is_not_written(lab: SopsLab) -> None:
    lab.store.write_text(lab.store.read_text().replace("OTHER=", "KEY="))
    error = refusal(lab)
    assert isinstance(error, StoreDamagedError)
    assert "twice" in error.why


def test_a_store_that_we_cannot_decrypt_is_not_written(lab: SopsLab, home: Path) -> None:
    homes.write_age_identity(home)
    assert isinstance(refusal(lab), ProviderUnavailableError)


def test_a_sops_that_ends_well_and_writes_something_else_is_caught(
    lab: SopsLab, tmp_path: Path
) -> None:
    environ = around_sops(tmp_path, '[ "$1" = set ] && exit 0\nreal "$@"')
    assert "gave something else" in refusal(lab, environ).why


def test_a_sops_that_fails_in_the_middle_of_several_writes_none(
    lab: SopsLab, tmp_path: Path
) -> None:
    body = 'case "$*" in *OTHER*) echo "no space left on device" >&2; exit 1;; esac\nreal "$@"'
    error = refusal(lab, around_sops(tmp_path, body), KEY=NEXT, OTHER=NEXT)
    assert error.why == "the disk is full"


def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(
    lab: SopsLab, tmp_path: Path
) -> None:
    note = f"echo '#c' >> {lab.store}"
    environ = around_sops(tmp_path, f'[ "$1" = set ] && {note}\nreal "$@"')
    with pytest.raises(SecretError, match="another program changed it"):
        SopsProvider(lab.root, environ).write(REF, Secret(NEXT))
    assert lab.store.read_text().endswith("#c\n")
    assert lab.scratch_files() == []


def test_a_write_protected_store_is_respected(
    lab: SopsLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may everything
    assert refusal(lab).why == "permission denied"


def test_a_locked_store_is_waited_for_only_so_long(
    lab: SopsLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sops_store, "LOCK_TIMEOUT_S", 0.1)
    handle = os.open(lab.store.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert isinstance(refusal(lab), LockedError)
    finally:
        os.close(handle)
    SopsProvider(lab.root).write(REF, Secret(NEXT))


# What is kept.


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_of_the_store_is_kept(lab: SopsLab, mode: int) -> None:
    lab.store.chmod(mode)
    SopsProvider(lab.root).write(REF, Secret(NEXT))
    assert stat.S_IMODE(lab.store.stat().st_mode) == mode


def test_the_owner_of_the_store_is_kept_where_we_may(
    lab: SopsLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = lab.store.stat()
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda handle, user, group: given.append((user, group)))
    SopsProvider(lab.root).write(REF, Secret(NEXT))
    assert given == [(found.st_uid, found.st_gid)]


def test_a_symlinked_store_stays_a_symlink(lab: SopsLab, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "real.env"
    real.parent.mkdir()
    lab.store.rename(real)
    lab.store.symlink_to(real)
    SopsProvider(lab.root).write(REF, Secret(NEXT))
    assert lab.store.is_symlink()
    assert lab.values(real) == {"KEY": NEXT, "OTHER": OTHER}
    assert [entry.name for entry in real.parent.iterdir()] == ["real.env"]


def test_scratch_files_of_dead_writers_go_though_nothing_is_to_be_written(lab: SopsLab) -> None:
    dead = lab.store.with_name(f".{lab.store.name}.0123456789ab.tmp")
    dead.write_text("x")
    SopsProvider(lab.root).write(REF, Secret(KEY))
    assert lab.scratch_files() == []


def test_scratch_files_of_dead_writers_are_removed_and_nothing_else(lab: SopsLab) -> None:
    dead = [f".{lab.store.name}.0123456789ab.tmp", f".{lab.store.name}.ba9876543210.tmp"]
    kept = [f".{lab.store.name}.swp", ".other.enc.env.0123456789ab.tmp", f".{lab.store.name}.x.tmp"]
    for name in dead + kept:
        (lab.store.parent / name).write_text("x")
    SopsProvider(lab.root).write(REF, Secret(NEXT))
    assert lab.scratch_files() == sorted(kept)


# Several at once.


@pytest.mark.faults
def test_no_write_is_lost_with_four_writers(lab: SopsLab) -> None:
    failures: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            for turn in range(4):
                ref = SecretRef("sops", PLACE, f"W{writer}_{turn}")
                SopsProvider(lab.root).write(ref, Secret(f"{writer}-{turn}"))
        except BaseException as failure:
            failures.append(failure)
            raise

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    expected = {f"W{w}_{t}": f"{w}-{t}" for w in range(4) for t in range(4)}
    assert lab.values() == {"KEY": KEY, "OTHER": OTHER, **expected}
    assert lab.scratch_files() == []


@pytest.mark.faults
def test_a_reader_beside_a_writer_never_sees_a_broken_file(lab: SopsLab) -> None:
    values = [f"sk-test-turn-{turn}" for turn in range(10)]

    def write() -> None:
        for value in values:
            SopsProvider(lab.root).write(REF, Secret(value))

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[str] = []
    while writer.is_alive():
        seen.append(SopsProvider(lab.root).read(REF).reveal())
    writer.join()
    assert set(seen) <= {KEY, *values}
    assert lab.values()["KEY"] == values[-1]


def test_no_program_ever_has_the_secret_in_its_arguments(lab: SopsLab, tmp_path: Path) -> None:
    note = f'for word; do printf "%s\\n" "$word" >> {tmp_path}/words; done'
    environ = around_sops(tmp_path, f'{note}\nreal "$@"')
    provider = SopsProvider(lab.root, environ)
    provider.write(REF, Secret(NEXT))
    provider.create("secrets/new.enc.env", secrets(KEY=NEXT))
    words = (tmp_path / "words").read_text()
    assert "--value-stdin" in words
    assert "encrypt" in words
    for value in (KEY, OTHER, NEXT):
        assert value not in words
