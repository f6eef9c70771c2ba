"""Client keys: issued once, kept as digests, gone when revoked or when their time is over."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.files import LocalFiles
from bootstrap.domain.errors import StoreDamagedError, TargetError, UsageError
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.secret import Secret
from bootstrap.domain.uses import USES_FILE
from bootstrap.workflows.client_keys import KeyDesk, issue, listed, revoke, rotate, unknown

MASTER = Secret("sk-test-master-0123456789abcdef")


class StandingClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Diary:
    """A lock that counts how often it was held."""

    def __init__(self) -> None:
        self.held = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.held += 1
        yield


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def desk(tmp_path: Path, clock: StandingClock) -> KeyDesk:
    path = tmp_path / "keyset.json"
    path.write_bytes(Keyset().with_current(MASTER).to_bytes())
    path.chmod(0o600)
    numbers = iter(range(100))
    return KeyDesk(
        PurePath(path),
        LocalFiles(),
        clock,
        lambda: Secret(f"sk-test-fresh-{next(numbers)}"),
        Diary(),
    )


def noted(desk: KeyDesk, at: int) -> None:
    """Have the guard note a use."""
    counts = {"count": 1, "last_seen": at, "refused": 0, "last_refused": 0, "programs": {}}
    uses = json.dumps({"version": 1, "keys": {"0a1b2c3d": counts}})
    Path(desk.path).with_name(USES_FILE).write_text(uses)


def names(desk: KeyDesk) -> list[str]:
    return [key.name for key in listed(desk)]


def test_an_issued_key_is_in_the_keyset_as_a_digest_with_its_scope_and_end(desk: KeyDesk) -> None:
    secret = issue(desk, "reviewer", ["qwen"], 60.0)
    (key,) = listed(desk)
    assert (key.sha256, key.not_after) == (secret.digest(), 1060.0)
    assert set(key.models or ()) == {"qwen"}
    data = Path(desk.path).read_text()
    assert secret.reveal() not in data
    assert MASTER.digest() in data
    assert Path(desk.path).stat().st_mode & 0o777 == 0o600
    assert isinstance(desk.lock, Diary)
    assert desk.lock.held == 1


def test_a_key_without_limits_has_neither_scope_nor_end(desk: KeyDesk) -> None:
    given = Secret("sk-test-given")
    assert issue(desk, "laptop", None, None, secret=given) == given
    (key,) = listed(desk)
    assert (key.models, key.not_after, key.sha256) == (None, None, given.digest())


def test_a_name_in_use_is_refused_until_its_time_is_over(
    desk: KeyDesk, clock: StandingClock
) -> None:
    issue(desk, "reviewer", None, 60.0)
    with pytest.raises(UsageError) as caught:
        issue(desk, "reviewer", None, 60.0)
    assert "rotate reviewer" in caught.value.fix
    clock.at += 60
    issue(desk, "reviewer", None, 60.0)
    assert names(desk) == ["reviewer"]


def test_keys_whose_time_is_over_go_with_the_next_change(
    desk: KeyDesk, clock: StandingClock
) -> None:
    issue(desk, "killed-run", None, 60.0)
    issue(desk, "laptop", None, None)
    clock.at += 61
    issue(desk, "next-run", None, 60.0)
    assert names(desk) == ["laptop", "next-run"]


def test_a_revoked_key_is_gone_and_the_others_stay(desk: KeyDesk) -> None:
    issue(desk, "a", None, None)
    issue(desk, "b", None, None)
    assert revoke(desk, "a")
    assert names(desk) == ["b"]
    before = Path(desk.path).stat().st_mtime_ns
    assert not revoke(desk, "a")
    assert Path(desk.path).stat().st_mtime_ns == before
    assert MASTER.digest() in Path(desk.path).read_text()


def test_a_rotated_key_is_another_with_the_same_scope_and_end(desk: KeyDesk) -> None:
    old = issue(desk, "a", ["qwen"], 60.0)
    new = rotate(desk, "a", None)
    (key,) = listed(desk)
    assert new != old
    assert (key.sha256, key.not_after, set(key.models or ())) == (new.digest(), 1060.0, {"qwen"})
    rotate(desk, "a", 600.0)
    assert [key.not_after for key in listed(desk)] == [1600.0]


def test_a_key_that_nobody_got_is_taken_back(desk: KeyDesk) -> None:
    seen: list[Secret] = []

    def lose(key: Secret) -> None:
        seen.append(key)
        raise TargetError("x", why="x", fix="x")

    issue(desk, "a", ["qwen"], 60.0)
    before = Path(desk.path).read_bytes()
    with pytest.raises(TargetError):
        issue(desk, "b", None, None, give=lose)
    assert Path(desk.path).read_bytes() == before
    with pytest.raises(TargetError):
        rotate(desk, "a", None, give=lose)
    assert Path(desk.path).read_bytes() == before
    assert rotate(desk, "a", None, give=seen.append) == seen[-1]


def test_the_key_that_is_replaced_can_be_accepted_for_a_while(desk: KeyDesk) -> None:
    old = issue(desk, "a", ["qwen"], None)
    new = rotate(desk, "a", None, 60.0)
    found = {key.sha256: key.not_after for key in listed(desk)}
    assert found == {old.digest(): 1060.0, new.digest(): None}
    assert revoke(desk, "a")
    assert listed(desk) == ()


def test_a_key_that_is_not_there_cannot_be_rotated(desk: KeyDesk) -> None:
    with pytest.raises(UsageError) as caught:
        rotate(desk, "absent", None)
    assert caught.value.what == unknown("absent").what


def test_without_the_guard_there_are_no_client_keys(desk: KeyDesk) -> None:
    Path(desk.path).unlink()
    with pytest.raises(TargetError) as caught:
        issue(desk, "a", None, None)
    assert caught.value.fix == "keyturn apply"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"version": 1, "keys": [{}]}'])
def test_a_damaged_keyset_is_left_alone(desk: KeyDesk, data: bytes) -> None:
    Path(desk.path).write_bytes(data)
    with pytest.raises(StoreDamagedError):
        issue(desk, "a", None, None)
    assert Path(desk.path).read_bytes() == data


def test_times_are_whole_though_the_clock_was_set_back(desk: KeyDesk) -> None:
    noted(desk, 4600)
    issue(desk, "reviewer", None, 60.0)
    assert [key.not_after for key in listed(desk)] == [4660.0]
    rotate(desk, "reviewer", 30.0, 10.0)
    assert sorted(key.not_after or 0.0 for key in listed(desk)) == [4610.0, 4630.0]
