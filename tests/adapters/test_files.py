"""Files are observed without waiting, and switched all or none, whatever happens in between."""

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from types import FrameType
from typing import Any

import pytest

from bootstrap.adapters import disk
from bootstrap.adapters import files as module
from bootstrap.adapters.files import LocalFiles
from bootstrap.domain.content import Content, Write, digest_of
from bootstrap.domain.errors import ConflictError, Interrupted, TargetError
from support.homes import REPOSITORY, snapshot

OLD, NEW = b"old sk-test-1\n", b"new sk-test-2\n"
SYSTEM_CALLS = (
    "open", "read", "write", "fchmod", "fsync", "close", "replace", "link", "unlink", "mkdir",
    "lstat", "fstat",
)  # fmt: skip


def write_of(path: Path, data: bytes | None = NEW, mode: int = 0o600) -> Write:
    """Return a write that expects what stands at `path` now."""
    expected = digest_of(path.read_bytes()) if path.exists() else None
    return Write(PurePath(path), None if data is None else Content(data), mode, expected)


class Folder:
    """A folder with a file of each kind, and the writes that change all of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(mode=0o700)
        for name, mode in (("changed", 0o640), ("removed", 0o600), ("kept", 0o604)):
            (root / name).write_bytes(OLD)
            (root / name).chmod(mode)
        self.writes = [
            write_of(root / "changed", mode=0o644),
            write_of(root / "removed", None),
            write_of(root / "created"),
            write_of(root / "deep" / "er" / "created"),
            write_of(root / "kept", OLD, 0o600),
        ]

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Return bytes and mode of every file but leftovers."""
        return {
            str(path.relative_to(self.root)): (path.read_bytes(), path.stat().st_mode & 0o777)
            for path in self.root.rglob("*")
            if path.is_file() and ".keyturn-" not in path.name
        }

    def leftovers(self) -> list[str]:
        """Return the names of temporary files."""
        return [path.name for path in self.root.rglob("*.tmp")]


BEFORE = {"changed": (OLD, 0o640), "removed": (OLD, 0o600), "kept": (OLD, 0o604)}
AFTER = {
    "changed": (NEW, 0o644),
    "created": (NEW, 0o600),
    "deep/er/created": (NEW, 0o600),
    "kept": (OLD, 0o600),
}


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folder]:
    """As many equal folders as wanted."""
    return (Folder(tmp_path / f"n{number}") for number in range(10_000))


class Bomb:
    """Makes the n-th system call fail, or every one from there on."""

    def __init__(self, number: int, failure: BaseException, *, for_good: bool = False) -> None:
        self.left = number
        self.went_off = False
        self._failure = failure
        self._for_good = for_good

    def arm(self, patch: pytest.MonkeyPatch) -> None:
        """Stand before each system call that the module makes."""
        for name in SYSTEM_CALLS:
            patch.setattr(os, name, self._guard(getattr(os, name)))

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0 or (self._for_good and self.left < 0):
                self.went_off = True
                raise self._failure
            return call(*args, **options)

        return guarded


def finish(folder: Folder) -> None:
    """Bring the folder to its end state by a second run."""
    again = [
        Write(w.path, w.content, w.mode, write_of(Path(w.path)).expected) for w in folder.writes
    ]
    LocalFiles().replace_all(again)
    assert folder.files() == AFTER
    assert folder.leftovers() == []


@pytest.mark.faults
@pytest.mark.parametrize(
    ("failure", "for_good"),
    [
        (OSError(errno.EIO, "sk-test"), False),
        (OSError(errno.ENOSPC, "full"), True),
        (KeyboardInterrupt(), False),
    ],
    ids=["disk error", "disk full from then on", "ctrl-c"],
)
def test_whichever_system_call_fails_all_files_are_old_or_all_are_new(
    folders: Iterator[Folder], failure: BaseException, for_good: bool
) -> None:
    number, done = 0, False
    while not done:
        number += 1
        folder, bomb = next(folders), Bomb(number, failure, for_good=for_good)
        try:
            with pytest.MonkeyPatch.context() as patch:
                bomb.arm(patch)
                LocalFiles().replace_all(folder.writes)
        except (TargetError, KeyboardInterrupt, Interrupted) as error:
            said = str(error) if isinstance(error, TargetError) else None
            found = folder.files()
            if for_good and found not in (BEFORE, AFTER):
                # Nothing could be put back either: at least each file is one or the other.
                assert all(
                    found.get(name) in (BEFORE.get(name), AFTER.get(name))
                    for name in {*BEFORE, *AFTER, *found}
                )
            else:
                assert found in (BEFORE, AFTER)
                assert found == BEFORE or said is None or "could not be put back" in said
        else:
            assert folder.files() == AFTER
            done = not bomb.went_off
        finish(folder)
    assert number > 60, "the failures did not reach the code under test"


@pytest.mark.faults
def test_whichever_line_a_signal_interrupts_all_files_are_old_or_all_are_new(
    folders: Iterator[Folder],
) -> None:
    watched = {module.__file__, disk.__file__, contextlib.__file__}
    number, done = 0, False
    while not done:
        number += 7  # every line would take half a minute
        left = number
        folder = next(folders)

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in watched:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    raise Interrupted(15)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            LocalFiles().replace_all(folder.writes)
        except Interrupted:
            assert folder.files() in (BEFORE, AFTER)
        finally:
            sys.settrace(before)
        done = left > 0
        finish(folder)
    assert number > 300, "the interrupts did not reach the code under test"


def test_when_putting_back_fails_too_the_error_names_the_file_that_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "lab")
    real, calls = os.replace, []

    def failing(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > 1:
            raise OSError(errno.EIO, "the disk says sk-test-1")
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(TargetError, match="changed could not be put back") as caught:
        LocalFiles().replace_all(folder.writes)
    assert caught.value.why == "input/output error; it is complete, but new"
    assert folder.files()["changed"] == AFTER["changed"]


class TestObserve:
    def test_nothing_there_is_no_file(self, tmp_path: Path) -> None:
        assert LocalFiles().observe(PurePath(tmp_path / "none" / "file")) is None

    def test_a_file_comes_with_bytes_mode_and_real_path(self, tmp_path: Path) -> None:
        (tmp_path / "real").write_bytes(OLD)
        (tmp_path / "real").chmod(0o640)
        (tmp_path / "link").symlink_to("real")
        found = LocalFiles().observe(PurePath(tmp_path / "link"))
        assert found is not None
        assert (found.content.data, found.mode) == (OLD, 0o640)
        assert found.real == str(tmp_path / "real")
        assert "sk-test" not in repr(found)

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
    def test_what_is_no_file_is_refused_at_once(
        self, tmp_path: Path, make: Callable[[Path], None]
    ) -> None:
        make(tmp_path / "odd")
        with pytest.raises(TargetError, match="odd is not a file") as caught:
            LocalFiles().observe(tmp_path / "odd")
        assert caught.value.fix.startswith("name another file, or look at it")
        with pytest.raises(TargetError, match="odd is not a file"):
            LocalFiles().replace_all([Write(tmp_path / "odd", Content(NEW), 0o600, None)])
        assert [entry.name for entry in tmp_path.iterdir()] == ["odd"]

    def test_a_huge_file_is_refused_without_being_read(self, tmp_path: Path) -> None:
        with (tmp_path / "huge").open("wb") as file:
            file.truncate(64 * 1024 * 1024 + 1)
        with pytest.raises(TargetError, match="too big"):
            LocalFiles().observe(tmp_path / "huge")

    def test_a_file_that_cannot_be_read_is_explained(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_bytes(OLD)

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EACCES, "sk-test")

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(TargetError, match="file cannot be read: permission denied"):
            LocalFiles().observe(tmp_path / "file")


class TestReplaceAll:
    def test_no_writes_change_nothing(self, tmp_path: Path) -> None:
        LocalFiles().replace_all([])
        assert list(tmp_path.iterdir()) == []

    def test_every_kind_of_write_is_carried_out(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "lab")
        LocalFiles().replace_all(folder.writes)
        assert folder.files() == AFTER
        assert folder.leftovers() == []

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
    def test_new_folders_are_private_and_modes_are_exact_under_any_umask(
        self, tmp_path: Path, umask: int
    ) -> None:
        os.umask(umask)
        try:
            (tmp_path / "home").mkdir(mode=0o700)
            (tmp_path / "home").chmod(0o700)
            LocalFiles().replace_all(
                [
                    write_of(tmp_path / "home/a/b/file"),
                    write_of(tmp_path / "home/a/open", NEW, 0o644),
                ]
            )
        finally:
            os.umask(0o022)
        modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "home").rglob("*")}
        assert modes == {"a": 0o700, "b": 0o700, "file": 0o600, "open": 0o644}

    def test_a_symlink_of_the_users_own_is_followed_and_stays(self, tmp_path: Path) -> None:
        (tmp_path / "dotfiles").mkdir()
        (tmp_path / "dotfiles/settings.json").write_bytes(OLD)
        (tmp_path / "factory").mkdir()
        link = tmp_path / "factory/settings.json"
        link.symlink_to("../dotfiles/settings.json")
        LocalFiles().replace_all([write_of(link)])
        assert link.is_symlink()
        assert link.read_bytes() == NEW
        assert not (tmp_path / "dotfiles/settings.json").is_symlink()

    def test_a_symlink_to_nothing_yet_gets_its_file(self, tmp_path: Path) -> None:
        link = tmp_path / "settings.json"
        link.symlink_to(tmp_path / "dotfiles" / "settings.json")
        LocalFiles().replace_all([write_of(link)])
        assert link.is_symlink()
        assert (tmp_path / "dotfiles/settings.json").read_bytes() == NEW

    def test_a_file_that_changed_since_the_plan_is_a_conflict_and_nothing_changes(
        self, tmp_path: Path
    ) -> None:
        folder = Folder(tmp_path / "lab")
        (folder.root / "kept").write_bytes(b"edited meanwhile")
        before = folder.files()
        with pytest.raises(ConflictError, match="kept changed while keyturn worked"):
            LocalFiles().replace_all(folder.writes)
        assert folder.files() == before
        assert folder.leftovers() == []

    def test_a_file_that_appeared_or_vanished_since_the_plan_is_a_conflict(
        self, tmp_path: Path
    ) -> None:
        folder = Folder(tmp_path / "lab")
        (folder.root / "created").write_bytes(b"by another program")
        (folder.root / "removed").unlink()
        before = folder.files()
        for writes in (folder.writes, folder.writes[:2]):
            with pytest.raises(ConflictError):
                LocalFiles().replace_all(writes)
            assert folder.files() == before

    def test_a_file_that_changes_while_the_others_are_switched_is_a_conflict(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = Folder(tmp_path / "lab")
        real = os.replace

        def replacing(source: Path, target: Path) -> None:
            real(source, target)
            if Path(target).name == "changed":
                (folder.root / "kept").unlink(missing_ok=True)
                (folder.root / "kept").write_bytes(b"edited meanwhile")

        monkeypatch.setattr(os, "replace", replacing)
        with pytest.raises(ConflictError) as caught:
            LocalFiles().replace_all(folder.writes)
        assert caught.value.fix == "everything was put back: run it again"
        assert folder.files() == BEFORE | {"kept": (b"edited meanwhile", 0o644)}

    def test_a_read_only_file_is_respected(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path / "lab")
        (folder.root / "kept").chmod(0o444)
        with pytest.raises(TargetError, match="kept is read-only: its mode is 0444") as caught:
            LocalFiles().replace_all(folder.writes)
        assert caught.value.fix == f"chmod u+w {folder.root}/kept"
        assert folder.files() == BEFORE | {"kept": (OLD, 0o444)}
        assert folder.leftovers() == []

    def test_a_failure_leaves_no_new_folder_behind(self, tmp_path: Path) -> None:
        kept = write_of(tmp_path / "kept")
        wrong = Write(tmp_path / "kept", Content(NEW), 0o600, "another")
        for writes in (
            [write_of(tmp_path / "a/b/c/file"), wrong],
            [write_of(tmp_path / "a/b/file"), write_of(tmp_path / "a/file"), wrong],
        ):
            with pytest.raises(ConflictError):
                LocalFiles().replace_all(writes)
            assert list(tmp_path.iterdir()) == []
        LocalFiles().replace_all([kept, write_of(tmp_path / "a/b/file")])
        assert (tmp_path / "a/b/file").read_bytes() == NEW

    def test_a_masked_unit_is_called_so(self, tmp_path: Path) -> None:
        for name, word in (("litellm.service", "masked"), ("file", "device")):
            (tmp_path / name).symlink_to("/dev/null")
            with pytest.raises(TargetError) as caught:
                LocalFiles().observe(tmp_path / name)
            assert word in caught.value.why
            assert ("systemctl --user unmask" in caught.value.fix) == (word == "masked")

    def test_a_file_where_a_folder_should_be_is_explained(self, tmp_path: Path) -> None:
        (tmp_path / "config").write_bytes(OLD)
        with pytest.raises(TargetError, match="config is not a folder"):
            LocalFiles().replace_all([Write(tmp_path / "config/file", Content(NEW), 0o600, None)])
        assert (tmp_path / "config").read_bytes() == OLD

    def test_leftovers_of_a_killed_run_are_swept_and_nothing_else(self, tmp_path: Path) -> None:
        for name in (".[x]*.keyturn-0a1b.tmp", ".other.keyturn-0a1b.tmp", "[x]*.tmp"):
            (tmp_path / name).write_bytes(OLD)
        LocalFiles().replace_all([write_of(tmp_path / "[x]*")])
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            ".other.keyturn-0a1b.tmp", "[x]*", "[x]*.tmp"
        ]  # fmt: skip

    def test_a_file_system_without_hard_links_is_served_by_copies(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = Folder(tmp_path / "lab")

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
        with pytest.MonkeyPatch.context() as patch:
            bad_sync = Bomb(1, OSError(errno.EIO, ""))
            patch.setattr(module, "sync_folder", bad_sync._guard(disk.sync_folder))
            bad_sync.left = 1
            with pytest.raises(TargetError):
                LocalFiles().replace_all(folder.writes)
        assert folder.files() == BEFORE
        finish(folder)

    def test_a_file_that_another_program_watches_never_gets_a_second_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shared, ours = tmp_path / "settings.json", tmp_path / "ours"
        linked: list[str] = []
        real_link = os.link

        def link(first: Any, second: Any, **more: Any) -> None:
            linked.append(Path(first).name)
            real_link(first, second, **more)

        monkeypatch.setattr(os, "link", link)
        for path in (shared, ours):
            path.write_bytes(OLD)
        merged = replace(write_of(shared), again=lambda data: Content(NEW))
        LocalFiles().replace_all([merged, write_of(ours)])
        assert shared.read_bytes() == ours.read_bytes() == NEW
        assert linked == ["ours"]


class TestBackUp:
    def test_a_backup_is_private_and_never_overwrites_an_older_one(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_bytes(OLD)
        first = LocalFiles().back_up(tmp_path / "config.json")
        (tmp_path / "config.json").write_bytes(NEW)
        second = LocalFiles().back_up(tmp_path / "config.json")
        assert (first.name, second.name) == (
            "config.json.keyturn-backup", "config.json.keyturn-backup-1"
        )  # fmt: skip
        assert (Path(first).read_bytes(), Path(second).read_bytes()) == (OLD, NEW)
        assert Path(first).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "config.json").read_bytes() == NEW

    def test_a_file_that_is_gone_cannot_be_backed_up(self, tmp_path: Path) -> None:
        with pytest.raises(TargetError, match="it is gone"):
            LocalFiles().back_up(tmp_path / "config.json")

    def test_a_thousand_backups_are_enough(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_bytes(OLD)
        monkeypatch.setattr(os.path, "lexists", lambda _: True)
        with pytest.raises(TargetError, match="1000 backups stand beside it"):
            LocalFiles().back_up(tmp_path / "file")

    def test_a_backup_that_fails_says_so_and_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_bytes(OLD)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(TargetError, match="no space left") as caught:
            LocalFiles().back_up(tmp_path / "file")
        assert caught.value.fix.startswith("make room")
        assert [p.name for p in tmp_path.iterdir()] == ["file"]


CHILD = """
import json, sys
from pathlib import Path, PurePath
from bootstrap.adapters.files import LocalFiles
from bootstrap.domain.content import Content, Write, digest_of
from bootstrap.domain.errors import LabError
root, size = Path(sys.argv[1]), int(sys.argv[2])
def write(name):
    path = root / name
    expected = digest_of(path.read_bytes()) if path.exists() else None
    return Write(PurePath(path), Content(b"n" * size), 0o600, expected)
try:
    LocalFiles().replace_all([write("a"), write("b"), write("new/c")])
    print(json.dumps(["done", ""]))
except LabError as error:
    print(json.dumps([f"{type(error).__name__}: {error}", error.fix]))
"""


def child(root: Path, size: int, *before: str) -> "subprocess.CompletedProcess[str]":
    """Replace a, b and new/c below `root` in another process, which `before` starts."""
    return subprocess.run(
        [*before, sys.executable, "-B", "-c", CHILD, str(root), str(size)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def two_files(root: Path) -> None:
    """Make the files a and b that the child replaces."""
    root.mkdir()
    for name in ("a", "b"):
        (root / name).write_bytes(b"o" * 100)


@pytest.mark.integration
class TestRealFileSystems:
    def mounted(self, tmp_path: Path, mount: str, size: int) -> tuple[list[str], dict[str, str]]:
        """Run the child where `mount` was done, and return what it said and what it left."""
        two_files(tmp_path / "real")
        script = f"""
            set -e; cd {tmp_path}; mkdir disk; {mount}
            "$@"
            cp -a disk copy
        """
        done = child(tmp_path / "disk", size, "unshare", "-m", "sh", "-c", script, "sh")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        return said, snapshot(tmp_path / "copy")

    def test_a_full_disk_changes_nothing_and_says_to_make_room(self, tmp_path: Path) -> None:
        mount = "mount -t tmpfs -o size=64k,mode=700 tmpfs disk; cp -a real/. disk"
        said, left = self.mounted(tmp_path, mount, 30_000)
        assert said[0].startswith("TargetError: ")
        assert said[0].endswith("written; every file is as it was: no space left on device")
        assert said[1].startswith("make room: df -h")
        assert {n: s for n, s in left.items() if n != "new"} == snapshot(tmp_path / "real")

    def test_a_disk_with_just_enough_room_is_used(self, tmp_path: Path) -> None:
        mount = "mount -t tmpfs -o size=64k,mode=700 tmpfs disk; cp -a real/. disk"
        said, left = self.mounted(tmp_path, mount, 4_000)
        assert said == ["done", ""]
        assert sorted(left) == ["a", "b", "new", "new/c"]

    def test_a_read_only_file_system_changes_nothing_and_is_named(self, tmp_path: Path) -> None:
        mount = "mount --bind real disk; mount -o remount,ro,bind disk"
        said, left = self.mounted(tmp_path, mount, 100)
        assert said[0].endswith("read-only file system")
        assert "findmnt -T /" in said[1]
        assert left == snapshot(tmp_path / "real")

    def test_a_file_is_private_from_its_first_byte(self, tmp_path: Path) -> None:
        two_files(tmp_path / "lab")
        log = tmp_path / "trace"
        trace = "trace=open,openat,creat,chmod,fchmod,fchmodat,write,mkdir,mkdirat"
        done = child(tmp_path / "lab", 20, "strace", "-f", "-e", trace, "-o", str(log))
        assert json.loads(done.stdout) == ["done", ""], done.stderr
        calls = [
            line for line in log.read_text().splitlines() if "lab/" in line or "n" * 20 in line
        ]
        created = [line for line in calls if "O_CREAT" in line]
        assert len(created) == 3
        assert all(
            "O_EXCL" in line and "O_NOFOLLOW" in line and "0600)" in line for line in created
        )
        made = [line for line in calls if "mkdir" in line]
        assert made
        assert all(", 0700)" in line for line in made)
        assert not [line for line in calls if "chmod" in line and "lab/" in line]

    @pytest.mark.faults
    @pytest.mark.parametrize(("calls", "least"), [("rename", 3), ("link", 2), ("unlink", 3)])
    def test_a_run_killed_at_any_step_leaves_complete_files_and_the_next_run_sweeps(
        self, tmp_path: Path, calls: str, least: int
    ) -> None:
        number, killed = 0, 1
        while killed:
            number += 1
            root = tmp_path / f"n{number}"
            two_files(root)
            family = f"/^{calls}(at2?)?$"
            strace = ("strace", "-f", "-o", "/dev/null", "-e", f"trace={family}")
            inject = f"inject={family}:signal=KILL:when={number}"
            killed = child(root, 50, *strace, "-e", inject).returncode
            for name, whole in (("a", b"o" * 100), ("b", b"o" * 100), ("new/c", None)):
                found = (root / name).read_bytes() if (root / name).exists() else None
                assert found in (whole, b"n" * 50)
            assert json.loads(child(root, 60).stdout) == ["done", ""]
            assert sorted(snapshot(root)) == ["a", "b", "new", "new/c"]
        assert number > least, "the kills did not reach the code under test"
