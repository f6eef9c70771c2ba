"""What the tests think that a disk forgets when the power fails."""

from pathlib import Path

from support.power import Disk, Roots, State

FILE, OTHER = Path("/lab/file"), Path("/lab/.file.tmp")
REPLACED = r"""
7 openat(AT_FDCWD</lab>, "/lab/.file.tmp", O_WRONLY|O_CREAT|O_EXCL, 0600) = 5</lab/.file.tmp>
7 write(5</lab/.file.tmp>, "new\n\303\251\0" <unfinished ...>
8 write(1</dev/null>, "x", 1) = 1
7 <... write resumed>, 7) = 7
7 fsync(5</lab/.file.tmp>) = 0
7 rename("/lab/.file.tmp", "/lab/file") = 0
7 fsync(4</lab>) = 0
"""
NEW = b"new\n\xc3\xa9\0"


def left(trace: str) -> list[dict[Path, bytes]]:
    """Return what may be left of a folder with one file after each call."""
    disk = Disk((Path("/lab"),))
    disk.now[FILE] = disk.safe[FILE] = Disk.file(b"old", 0o600)
    return [{p: data for p, (data, _) in state.files.items()} for state in disk.replay(trace)]


def test_a_file_that_is_replaced_with_care_is_old_or_new() -> None:
    states = left(REPLACED)
    assert {state[FILE] for state in states} == {b"old", NEW}
    assert states[-1] == {FILE: NEW}
    assert {OTHER} == {path for state in states for path in state} - {FILE}


def test_bytes_that_were_not_flushed_may_be_missing_under_the_new_name() -> None:
    careless = REPLACED.replace("7 fsync(5</lab/.file.tmp>) = 0\n", "")
    assert {state[FILE] for state in left(careless)} == {b"old", b"", NEW}


def test_a_rename_whose_folder_was_not_flushed_may_be_forgotten() -> None:
    careless = REPLACED.replace("7 fsync(4</lab>) = 0\n", "")
    assert {FILE: b"old"} in left(careless)
    assert {FILE: NEW} in left(careless)
    failing = REPLACED.replace("fsync(4</lab>) = 0", "fsync(4</lab>) = -1 EIO (INJECTED)")
    assert left(failing) == left(careless)


def test_files_are_put_back_and_put_into_a_state(tmp_path: Path) -> None:
    root = tmp_path / "lab"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "kept").write_text("kept")
    (root / "link").symlink_to("folder")
    roots = Roots(tmp_path / "copies", root)
    lost = State("", {root / "file": (b"found", 0o640)}, failed=False)
    (root / "later").touch()
    roots.put(lost)
    assert sorted(path.name for path in root.rglob("*")) == ["file", "folder", "link"]
    assert (root / "file").stat().st_mode & 0o777 == 0o640
    roots.put_back()
    assert sorted(path.name for path in root.rglob("*")) == ["folder", "kept", "link"]
