"""From which version of an encrypted file a write starts, with the real sops and by its rules."""

import os
from pathlib import Path

import pytest

from bootstrap.adapters.sops import SopsProvider
from bootstrap.adapters.sops_versions import proven_by, shortest
from bootstrap.domain.errors import SecretError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from support.sops_lab import PLACE, REAL_SOPS, SopsLab, fake_sops, make_lab

KEY = "sk-test-sops-0123456789"
NEXT = "sk-test-next-1111111111"
SLOT = "KEY_SLOT"
# Before the second entry is set, the file loses one.
CUT = 'case $last in *SLOT*) sed -i /^OTHER=/d "$file";; esac'


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> SopsLab:
    made = make_lab(tmp_path / "lab", home)
    made.put({"KEY": KEY, "OTHER": "sk-test-other-9876543210"})
    return made


class Counted:
    """A provider whose runs of sops are counted.

    Args:
        lab: Its lab.
        folder: For the counting sops.
        more: Shell commands that it runs before the real one.
    """

    def __init__(self, lab: SopsLab, folder: Path, more: str = "") -> None:
        self._log = folder / "runs"
        body = f'echo "$1" >>{self._log}\n{more}\nexec {REAL_SOPS} "$@"'
        sops = fake_sops(folder / "sops", body)
        self.provider = SopsProvider(lab.root, {**os.environ, "KEYTURN_SOPS": sops})

    def write(self, **values: str | None) -> list[str]:
        """Write the values, and return what sops was run for."""
        before = len(self._runs())
        given = {name: None if text is None else Secret(text) for name, text in values.items()}
        self.provider.write_many(PLACE, given)
        return self._runs()[before:]

    def _runs(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []


@pytest.mark.integration
class TestWithSops:
    def test_what_a_rotation_ends_with_comes_by_on_the_way(
        self, lab: SopsLab, tmp_path: Path
    ) -> None:
        counted = Counted(lab, tmp_path)
        assert counted.write(KEY=KEY, KEY_SLOT=NEXT) == ["decrypt", "set", "decrypt"]
        assert counted.write(KEY=NEXT, KEY_SLOT=KEY) == ["set", "set", "decrypt"]
        assert lab.values()[SLOT] == KEY
        assert counted.write(KEY=NEXT, KEY_SLOT=None) == []
        assert lab.values() == {"KEY": NEXT, "OTHER": "sk-test-other-9876543210"}
        assert counted.provider.read(SecretRef("sops", PLACE, "KEY")).reveal() == NEXT

    def test_going_back_leaves_the_bytes_that_were_there(
        self, lab: SopsLab, tmp_path: Path
    ) -> None:
        counted, before = Counted(lab, tmp_path), lab.store.read_bytes()
        counted.write(KEY_SLOT=NEXT)
        counted.write(KEY=NEXT, KEY_SLOT=KEY)
        assert counted.write(KEY=KEY, KEY_SLOT=None) == []
        assert lab.store.read_bytes() == before

    def test_what_somebody_else_wrote_meanwhile_stays(self, lab: SopsLab, tmp_path: Path) -> None:
        counted = Counted(lab, tmp_path)
        counted.write(KEY_SLOT=NEXT)
        lab.sops("set", "--value-stdin", PLACE, '["MINE"]', stdin='"mine"')
        assert counted.write(KEY=NEXT, KEY_SLOT=KEY) == ["decrypt", "set", "set", "decrypt"]
        assert counted.write(KEY_SLOT=None) == ["unset", "decrypt"]
        assert lab.values()["MINE"] == "mine"

    def test_in_other_kinds_of_files_each_write_is_decrypted(
        self, lab: SopsLab, tmp_path: Path
    ) -> None:
        place = "secrets/global.enc.json"
        lab.put({"KEY": KEY}, place)
        counted = Counted(lab, tmp_path)
        write = counted.provider.write_many
        write(place, {SLOT: Secret(NEXT)})
        write(place, {"KEY": Secret(NEXT), SLOT: Secret(KEY)})
        write(place, {SLOT: None})
        assert lab.sops("decrypt", "--extract", '["KEY"]', place) == NEXT
        assert (tmp_path / "runs").read_text().split()[-2:] == ["set", "decrypt"]

    def test_sops_builds_on_nothing_that_it_cannot_open(self, lab: SopsLab, tmp_path: Path) -> None:
        """The proof of the version in between rests on this."""
        counted = Counted(lab, tmp_path, "for last; do file=$before; before=$last; done\n" + CUT)
        before = lab.store.read_bytes()
        with pytest.raises(SecretError):
            counted.write(KEY=NEXT, KEY_SLOT=KEY)
        assert lab.store.read_bytes() == before
        assert (tmp_path / "runs").read_text().split() == ["decrypt", "set", "set"]


def encrypted(**entries: str) -> bytes:
    lines = [f"{name}=ENC[AES256_GCM,data:{text}]" for name, text in entries.items()]
    end = ["sops_lastmodified=1", f"sops_mac={len(lines)}", "sops_version=3.11.0", ""]
    return "\n".join([*lines, *end]).encode()


class TestTheRules:
    def test_the_fewest_runs_win_and_then_the_oldest_version(self) -> None:
        first, second = {"A": "1"}, {"A": "1", "S": "2"}
        versions: dict[bytes, dict[str, object]] = {b"1": {**first}, b"2": {**second}}
        assert shortest(versions, {"A": "2", "S": "1"}) == (b"1", ("A", "S"), ())
        assert shortest(versions, {"A": "2", "S": "2"}) == (b"2", ("A",), ())
        assert shortest(versions, {"A": "1", "S": "2"}) == (b"2", (), ())
        assert shortest({b"2": {**second}}, {"A": "1"}) == (b"2", (), ("S",))

    def test_a_new_name_is_set_last_however_it_is_asked_for(self) -> None:
        assert shortest({b"1": {"A": "1"}}, {"S": "1", "A": "2"}).changed == ("A", "S")

    def test_entries_that_are_the_same_have_the_same_values(self) -> None:
        earlier, later = encrypted(A="new"), encrypted(A="new", S="old")
        assert proven_by(later, {"A": "2", "S": "1"}, earlier, "f") == {"A": "2"}

    @pytest.mark.parametrize(
        "earlier",
        [
            encrypted(A="another"),
            encrypted(A="new").replace(b"version=3.11.0", b"version=3.10.0"),
            encrypted(A="new") + b"A=ENC[AES256_GCM,data:new]\n",
            encrypted(A="new").replace(b"sops_mac=1\n", b""),
        ],
        ids=["another value", "another head", "a name twice", "cut off"],
    )
    def test_a_version_that_is_not_a_part_of_the_later_one_is_forgotten(
        self, earlier: bytes
    ) -> None:
        assert proven_by(encrypted(A="new", S="old"), {"A": "2", "S": "1"}, earlier, "f") is None

    def test_a_name_that_was_not_seen_proves_nothing(self) -> None:
        same = encrypted(A="new")
        assert proven_by(same, {}, same, "f") is None
