"""The filter behind `keyturn exec --mask`, without a program."""

import os
import select
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootstrap.adapters.mask import copy, maskable, masks, run_masked
from bootstrap.domain.errors import TargetError
from bootstrap.domain.masking import Masker
from bootstrap.domain.secret import Secret

pytestmark = pytest.mark.integration

KEY = "sk-test-filter-0123456789"
FORMS = masks([("KEY", Secret(KEY)), ("SAME", Secret(KEY))])


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Callable[[str, str], None]]:
    """Point this process's own standard output and error elsewhere for a test."""
    before = os.dup(1), os.dup(2)

    def redirect(out: str, err: str) -> None:
        for number, name in ((1, out), (2, err)):
            handle = os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, number)
            os.close(handle)

    yield redirect
    for number, original in zip((1, 2), before, strict=True):
        os.dup2(original, number)
        os.close(original)


def shell(script: str) -> Callable[[], int]:
    return lambda: subprocess.run(["sh", "-c", script]).returncode


def test_the_first_name_of_a_value_is_its_mask() -> None:
    assert set(FORMS.values()) == {b"<KEY>"}


def test_both_streams_are_masked_each_in_its_place(
    streams: Callable[[str, str], None], tmp_path: Path
) -> None:
    streams("out", "err")
    status = run_masked((1, 2), FORMS, shell(f"echo {KEY}; echo err {KEY} >&2; exit 4"))
    os.write(1, b"after\n")
    assert status == 4
    assert (tmp_path / "out").read_text() == "<KEY>\nafter\n"
    assert (tmp_path / "err").read_text() == "err <KEY>\n"


def test_one_place_has_one_filter(streams: Callable[[str, str], None], tmp_path: Path) -> None:
    streams("log", "log")
    run_masked((1, 2), FORMS, shell(f"printf %s {KEY[:9]}; printf %s {KEY[9:]} >&2"))
    assert (tmp_path / "log").read_text() == "<KEY>"


def test_a_stream_that_is_not_asked_for_is_left_alone(
    streams: Callable[[str, str], None], tmp_path: Path
) -> None:
    streams("out", "err")
    run_masked((2,), FORMS, shell(f"echo {KEY}; echo {KEY} >&2"))
    assert (tmp_path / "out").read_text() == f"{KEY}\n"
    assert (tmp_path / "err").read_text() == "<KEY>\n"


@pytest.mark.parametrize(("ends", "status"), [("true", None), ("exit 7", 7)])
def test_output_that_a_full_disk_takes_away_is_no_success(
    streams: Callable[[str, str], None], tmp_path: Path, ends: str, status: int | None
) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    streams("out", "err")
    if status is None:
        with pytest.raises(TargetError, match="not all that the program printed"):
            run_masked((1, 2), FORMS, shell(f"echo {KEY}; {ends}"))
    else:
        assert run_masked((1, 2), FORMS, shell(f"echo {KEY}; {ends}")) == status
    assert (tmp_path / "err").read_text() == ""


def test_a_program_that_cannot_be_run_leaves_the_streams_as_they_were(
    streams: Callable[[str, str], None], tmp_path: Path
) -> None:
    def fail() -> int:
        raise LookupError

    streams("out", "err")
    with pytest.raises(LookupError):
        run_masked((1, 2), FORMS, fail)
    os.write(2, KEY.encode())
    assert (tmp_path / "err").read_text() == KEY


def test_what_goes_to_no_persons_terminal_is_maskable(streams: Callable[[str, str], None]) -> None:
    streams("out", "err")
    assert maskable({}) == (1, 2)
    primary, terminal = os.openpty()
    os.dup2(terminal, 1)
    assert maskable({"CI": "false"}) == (2,)
    assert maskable({"CI": "true"}) == (1, 2), "the terminal of a job is a log"
    os.close(primary)
    os.close(terminal)


def test_a_reader_that_is_gone_ends_the_copy() -> None:
    (reader, feed), (gone, writer) = os.pipe(), os.pipe()
    os.close(gone)
    os.write(feed, b"nobody reads this")
    os.close(feed)
    copy(reader, writer, Masker(FORMS))
    os.close(reader)
    os.close(writer)


def test_a_slow_reader_that_shares_a_non_blocking_stream_gets_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (reader, feed), (out, writer) = os.pipe(), os.pipe()
    os.set_blocking(writer, False)
    data = b"x" * 300_000 + KEY.encode()
    got: list[bytes] = []
    full, poll = threading.Event(), select.poll

    def wait_for_room() -> select.poll:
        full.set()
        return poll()

    monkeypatch.setattr(select, "poll", wait_for_room)

    def read_all() -> None:
        assert full.wait(30)
        while piece := os.read(out, 1000):
            got.append(piece)

    def feed_all() -> None:
        os.write(feed, data)
        os.close(feed)

    threads = [threading.Thread(target=target) for target in (feed_all, read_all)]
    for thread in threads:
        thread.start()
    copy(reader, writer, Masker(FORMS))
    os.close(writer)
    for thread in threads:
        thread.join()
    os.close(reader)
    os.close(out)
    assert b"".join(got) == b"x" * 300_000 + b"<KEY>"
