"""Files that another program writes, too: what it writes in the very moment of ours is kept."""

import ctypes
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.adapters import files as files_module
from bootstrap.adapters.exchange import exchange
from bootstrap.adapters.files import LocalFiles
from bootstrap.domain.content import Content, Write
from bootstrap.domain.errors import ConflictError, TargetError

OURS = b"ours|"


def merged(data: bytes) -> Content:
    """Put our part before everything else."""
    return Content(OURS + data.removeprefix(OURS))


def write_of(path: Path, again: Callable[[bytes], Content] | None = merged) -> Write:
    found = path.read_bytes()
    return Write(path, merged(found), 0o600, Content(found).digest, again)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_bytes(b"a")
    return path


def writer(path: Path, *values: bytes) -> Callable[..., bool]:
    """Return an exchange before which the other program writes, once for each value."""
    left = list(values)

    def exchange_late(first: Path, second: Path) -> bool:
        if left:
            beside = path.with_name("beside")
            beside.write_bytes(left.pop(0))
            beside.replace(path)
        return exchange(first, second)

    return exchange_late


def leftovers(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir() if entry != path]


def test_a_write_after_the_plan_is_merged(shared: Path) -> None:
    write = write_of(shared)
    shared.write_bytes(b"b")
    LocalFiles().replace_all([write])
    assert shared.read_bytes() == b"ours|b"
    assert leftovers(shared) == []


def test_a_write_between_staging_and_switching_is_merged(shared: Path) -> None:
    with LocalFiles().staged([write_of(shared)]) as unit:
        shared.write_bytes(b"c")
        unit.switch()
    assert shared.read_bytes() == b"ours|c"


def test_a_write_in_the_moment_of_the_rename_is_merged(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "exchange", writer(shared, b"d", b"e"))
    LocalFiles().replace_all([write_of(shared)])
    assert shared.read_bytes() == b"ours|e"
    assert leftovers(shared) == []


def test_without_a_way_to_merge_it_is_a_conflict(shared: Path) -> None:
    write = write_of(shared, None)
    shared.write_bytes(b"b")
    with pytest.raises(ConflictError):
        LocalFiles().replace_all([write])
    assert shared.read_bytes() == b"b"


def test_a_file_that_vanished_is_a_conflict(shared: Path) -> None:
    write = write_of(shared)
    shared.unlink()
    with pytest.raises(ConflictError):
        LocalFiles().replace_all([write])


def test_a_program_that_never_stops_writing_is_given_up(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_late(first: Path, second: Path) -> bool:
        if not shared.read_bytes().startswith(OURS):
            return writer(shared, shared.read_bytes() + b"+")(first, second)
        return exchange(first, second)

    monkeypatch.setattr(files_module, "exchange", always_late)
    with pytest.raises(ConflictError):
        LocalFiles().replace_all([write_of(shared)])
    assert set(shared.read_bytes()) == set(b"a+")
    assert leftovers(shared) == []


def test_a_unit_that_fails_later_puts_it_back(shared: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x")
    with LocalFiles().staged([write_of(shared), write_of(other, None)]) as unit:
        second = unit._items[1]

        def fail() -> None:
            assert shared.read_bytes() == b"ours|a"
            raise TargetError("it fails", why="the test says so", fix="mend the test")

        second.switch = fail  # type: ignore[method-assign]
        with pytest.raises(TargetError):
            unit.switch()
    assert shared.read_bytes() == b"a"


def test_putting_back_leaves_what_somebody_wrote_since(shared: Path, tmp_path: Path) -> None:
    missing = Write(tmp_path / "folder" / "file", Content(b"y"), 0o600, None)
    with LocalFiles().staged([write_of(shared), missing]) as unit:
        second = unit._items[1]

        def fail() -> None:
            shared.write_bytes(b"ours|a and more")
            raise TargetError("it fails", why="the test says so", fix="mend the test")

        second.switch = fail  # type: ignore[method-assign]
        with pytest.raises(TargetError):
            unit.switch()
    assert shared.read_bytes() == b"ours|a and more"


class TestExchange:
    def test_two_files_swap_their_names(self, tmp_path: Path) -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        first.write_text("1")
        second.write_text("2")
        assert exchange(first, second)
        assert (first.read_text(), second.read_text()) == ("2", "1")

    def test_a_missing_file_is_an_error_and_changes_nothing(self, tmp_path: Path) -> None:
        first = tmp_path / "first"
        first.write_text("1")
        with pytest.raises(FileNotFoundError):
            exchange(first, tmp_path / "second")
        assert list(tmp_path.iterdir()) == [first]

    @pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, None])
    def test_where_it_cannot_be_done_a_rename_is_taken(
        self, shared: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
    ) -> None:
        class OldLibrary:
            """A C library without renameat2, or on a kernel or file system without it."""

            def __init__(self) -> None:
                if number is not None:
                    self.renameat2 = lambda *paths: -1

        monkeypatch.setattr(ctypes, "CDLL", lambda *a, **k: OldLibrary())
        monkeypatch.setattr(ctypes, "get_errno", lambda: number)
        LocalFiles().replace_all([write_of(shared)])
        assert shared.read_bytes() == b"ours|a"


def test_what_is_written_in_the_moment_of_a_write_that_cannot_be_merged_stays(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shared.read_bytes()
    write = Write(shared, Content(OURS), 0o600, Content(data).digest, shared=True)
    monkeypatch.setattr(files_module, "exchange", writer(shared, b"theirs"))
    with pytest.raises(ConflictError):
        LocalFiles().replace_all([write])
    assert shared.read_bytes() == b"theirs"
    assert leftovers(shared) == []
