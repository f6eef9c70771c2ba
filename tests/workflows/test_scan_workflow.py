"""What is looked for in a lab, and what comes of a search that meets all sorts of things."""

import errno
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.adapters.scan_forms import hunter_for
from bootstrap.domain.audit import Entry
from bootstrap.domain.errors import SecretNotFoundError
from bootstrap.domain.scan_keys import SoughtKey, State
from bootstrap.domain.scan_places import Item, Kind, Level, Place
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY, STORE
from bootstrap.workflows import scan as workflow
from bootstrap.workflows.rotate import rotate
from bootstrap.workflows.scan import Scanned, declared, scan, sought
from support.fakes import LAB, MASTER
from support.rotation_fakes import NEW, PLAIN, World, afresh, make_world


class Said:
    """Progress that remembers the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> nullcontext[None]:
        """Remember it."""
        self.steps.append(text)
        return nullcontext()

    def note(self, text: str) -> None:
        """Remember it, too."""
        self.steps.append(text)


class Hay:
    """A haystack in memory; an exception instead of bytes is raised when it is its turn."""

    def __init__(self, *rows: tuple[Place, bytes | BaseException]) -> None:
        self.label = "hay"
        self.left_out: list[tuple[bytes, str]] = [(MASTER.encode(), "it is too big")]
        self._rows = rows

    def items(self) -> Iterator[Item]:
        """Yield them."""
        for place, data in self._rows:
            yield Item(place, self._chunks(data))

    def _chunks(self, data: bytes | BaseException) -> Iterator[bytes]:
        if isinstance(data, BaseException):
            raise data
        yield data


def keys(world: World, *entries: Entry) -> dict[str, SoughtKey]:
    found = sought(world.tools, afresh(world), entries).keys
    return {key.fingerprint: key for key in found}


def file(name: str) -> Place:
    return Place(Kind.FILE, name.encode())


def searched(world: World, *rows: tuple[Place, bytes | BaseException]) -> Scanned:
    what = sought(world.tools, afresh(world), [])
    result, hunter = Scanned(what.keys), hunter_for(what.keys, what.values.values())
    scan(result, hunter, [Hay(*rows)], Said())
    return result


def test_during_a_grace_time_the_old_key_is_still_accepted(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    rotate(world.tools, world.using, new=Secret(NEW), grace_s=3600.0, idle_s=None)
    old = keys(world)[Secret(MASTER).fingerprint()]
    assert (old.state, old.is_replaced) == (State.ACCEPTED, True)
    assert old.at == world.clock.now() + 3600.0
    assert keys(world)[Secret(NEW).fingerprint()].state is State.IN_FORCE
    values = sought(world.tools, afresh(world), []).values
    assert values[f"{MASTER_KEY}, the other value"] == Secret(MASTER)


def test_after_a_rotation_without_the_guard_the_journal_tells(tmp_path: Path) -> None:
    world = make_world(tmp_path, PLAIN)
    rotate(world.tools, world.using, new=Secret(NEW), grace_s=0.0, idle_s=None)
    assert keys(world)[Secret(MASTER).fingerprint()].state is State.GONE


def test_a_secret_that_nobody_holds_is_left_out_but_for_the_master_key(tmp_path: Path) -> None:
    world = make_world(tmp_path, LAB + "[secrets.EXTRA]\n")
    assert "EXTRA" not in sought(world.tools, afresh(world), []).values
    del world.store.values[f"sops:{STORE}#{MASTER_KEY}"]
    with pytest.raises(SecretNotFoundError):
        sought(world.tools, afresh(world), [])


def test_files_that_the_lab_declares_are_known(tmp_path: Path) -> None:
    extra = '[secrets.EXTRA]\nsources = ["file:/run/secret"]\n'
    world = make_world(tmp_path, LAB + extra)
    found = declared(world.tools)
    assert Path("/run/secret") in [Path(path) for path in found]
    assert world.tools.places.env_file in found


def test_files_of_another_lab_and_a_clients_own_are_known_too(tmp_path: Path) -> None:
    world = make_world(tmp_path, LAB + '[clients.openwebui]\nset_up = true\nconfig = "webui.db"\n')
    tools = world.tools
    config = tools.places.litellm / "config.yaml"  # which has no key in any lab
    rows = {str(n): {"path": str(p), "claim": 1} for n, p in enumerate(["/theirs.env", config])}
    found = declared(replace(tools, other_labs=lambda: {"/other": {"targets": rows}}))
    assert {Path("/theirs.env"), tools.lab.root / "webui.db"} <= {Path(path) for path in found}
    assert config not in found


def test_what_cannot_be_read_is_named_and_what_went_is_not(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    result = searched(
        world,
        (file(f"/closed/{MASTER}"), PermissionError(errno.EACCES, "no")),
        (file("/gone"), FileNotFoundError(errno.ENOENT, "no")),
        (file(f"/{MASTER}/a"), f"\n{MASTER}\n".encode()),
        (file("/database"), b"\0" + MASTER.encode()),
        (Place(Kind.ENVIRONMENT, b"process 1 (x)", b"KEY"), MASTER.encode()),
    )
    mark = Secret(MASTER).fingerprint()
    unreadable, too_big = result.left_out
    assert unreadable == (f"/closed/<{mark}>".encode(), "it cannot be read")
    assert too_big == (f"<{mark}>".encode(), "it is too big")
    text, database = result.unwanted
    assert (text.place.name, text.lines) == (f"/<{mark}>/a".encode(), (2,))
    assert (database.lines, database.offset) == ((), 1)
    assert result.finds[-1].level is Level.EXPECTED
    assert (result.files, result.others, result.complete) == (4, 1, True)


def test_a_file_with_very_many_hits_is_one_find(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    found = searched(world, (file("/a"), f"{MASTER}\n".encode() * 1500)).unwanted
    assert [len(find.lines) for find in found] == [1000]


def test_who_is_interrupted_has_what_was_found_by_then(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    what = sought(world.tools, afresh(world), [])
    result, hunter = Scanned(what.keys), hunter_for(what.keys, what.values.values())
    rows = (file("/a"), MASTER.encode()), (file("/b"), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        scan(result, hunter, [Hay(*rows)], Said())
    assert [find.place.name for find in result.finds] == [b"/a"]
    assert not result.complete


def test_a_search_of_very_much_says_how_far_it_is_and_in_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "_STEP_BYTES", 400_000_000)

    class Big(bytes):
        def __len__(self) -> int:
            return 300_000_000

    told, world = Said(), make_world(tmp_path)
    what = sought(world.tools, afresh(world), [])
    hunter = hunter_for(what.keys, what.values.values())
    monkeypatch.setattr(hunter, "search", lambda chunks: [] if all(chunks) else None)
    names = ("a", f"b{MASTER}", "c")
    scan(Scanned(what.keys), hunter, [Hay(*((file(name), Big(b"x")) for name in names))], told)
    first, second, third = told.steps
    assert first == "search hay"
    assert second.startswith("0.6 GB searched so far, now in b")
    assert third == "0.9 GB searched so far, now in c"
    assert MASTER not in second
