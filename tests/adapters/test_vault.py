"""Both keys of a rotation are in the store at every moment, whatever it can write at once."""

from collections.abc import Mapping
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.sops import SopsProvider
from bootstrap.adapters.vault import SECOND_SUFFIX, SLOT_SUFFIX, LabVault, SlotVault
from bootstrap.domain.errors import ProviderUnavailableError, StoreDamagedError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY, STORE
from bootstrap.ports import Provider
from support.fakes import MemoryProvider
from support.rotation_fakes import Environ, Keyring, Store
from support.sops_lab import PLACE, SopsLab, make_lab

OLD = "sk-test-old-Zk3Qw8Lr5Ty2Vb7Nm4Xc9Hj6Gf1Dp0Sa"
NEW = "sk-test-new-Ru4Yt8Ei2Wo6Qp1Al5Sk9Dj3Fh7Gz5Xc"
SOPS = SecretRef("sops", STORE, MASTER_KEY)
RING = SecretRef("keyring", "keyturn", MASTER_KEY)
ENV = SecretRef("env", MASTER_KEY)


class Sources:
    """Three providers, and vaults over them."""

    def __init__(self, tmp_path: Path, **held: str) -> None:
        def some(ref: SecretRef) -> Mapping[str, str]:
            return {str(ref): held[ref.scheme]} if ref.scheme in held else {}

        self.store = Store(some(SOPS), tmp_path / "ciphertext")
        self.ring = Keyring(some(RING))
        self.env = Environ(some(ENV))

    def provider(self, scheme: str) -> Provider:
        providers: dict[str, Provider] = {"sops": self.store, "keyring": self.ring, "env": self.env}
        return providers[scheme]

    def vault(self, *refs: SecretRef) -> SlotVault:
        return SlotVault(refs or (SOPS, RING, ENV), self.provider)


def test_the_first_source_that_holds_the_key_is_the_store(tmp_path: Path) -> None:
    assert Sources(tmp_path, sops=OLD, keyring=OLD).vault().store == str(SOPS)
    assert Sources(tmp_path, keyring=OLD).vault().store == str(RING)
    assert Sources(tmp_path, env=OLD).vault().store == str(ENV)
    assert Sources(tmp_path).vault().store == str(SOPS)


def test_writable_sources_after_it_that_hold_something_are_copies(tmp_path: Path) -> None:
    assert Sources(tmp_path, sops=OLD, keyring=NEW, env=OLD).vault().copies == (str(RING),)
    assert Sources(tmp_path, sops=OLD, env=OLD).vault().copies == ()


def test_a_source_that_cannot_be_used_is_neither(tmp_path: Path) -> None:
    sources = Sources(tmp_path, sops=OLD, keyring=OLD)
    sources.ring.broken[""] = ProviderUnavailableError("locked", why="locked", fix="unlock")
    vault = sources.vault(RING, SOPS)
    assert (vault.store, vault.copies) == (str(SOPS), ())


def test_a_damaged_source_is_not_passed_over(tmp_path: Path) -> None:
    sources = Sources(tmp_path, sops=OLD, keyring=OLD)
    sources.store.broken[""] = StoreDamagedError("damaged", why="no MAC", fix="restore")
    assert sources.vault().store == str(SOPS)


def test_pinned_places_stay_however_the_sources_look_now(tmp_path: Path) -> None:
    sources = Sources(tmp_path, sops=OLD, keyring=OLD)
    sources.ring.broken[""] = ProviderUnavailableError("locked", why="locked", fix="unlock")
    vault = sources.vault(RING, SOPS)
    vault.pin(str(RING), (str(SOPS),))
    assert (vault.store, vault.copies) == (str(RING), (str(SOPS),))
    with pytest.raises(ProviderUnavailableError):
        vault.current()


def test_a_source_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    vault = Sources(tmp_path, env=OLD, sops=OLD).vault(ENV, SOPS)
    with pytest.raises(ProviderUnavailableError, match="env:LITELLM_MASTER_KEY"):
        vault.check_writable()
    Sources(tmp_path, sops=OLD).vault().check_writable()


def test_an_encrypted_file_changes_both_at_once(tmp_path: Path) -> None:
    sources = Sources(tmp_path, sops=OLD)
    vault = sources.vault()
    vault.put(Secret(OLD), Secret(NEW))
    vault.put(Secret(NEW), Secret(OLD))
    assert (vault.current(), vault.other()) == (Secret(NEW), Secret(OLD))
    vault.put(Secret(NEW), None)
    assert (vault.current(), vault.other()) == (Secret(NEW), None)
    slot = MASTER_KEY + SLOT_SUFFIX
    assert sources.store.puts == [
        ([MASTER_KEY, slot], []),
        ([MASTER_KEY, slot], []),
        ([MASTER_KEY], [slot]),
    ]


def test_copies_follow_when_told(tmp_path: Path) -> None:
    sources = Sources(tmp_path, sops=OLD, keyring=OLD)
    vault = sources.vault()
    vault.put(Secret(NEW), None)
    assert sources.ring.values[str(RING)] == OLD
    vault.spread(Secret(NEW))
    vault.spread(Secret(NEW))
    assert sources.ring.values[str(RING)] == NEW
    assert sources.ring.diary == [f"write {MASTER_KEY}"]


class TestKeyring:
    """A keyring writes one entry at a time."""

    def test_the_sequence_of_a_rotation(self, tmp_path: Path) -> None:
        sources = Sources(tmp_path, keyring=OLD)
        vault = sources.vault(RING)
        for current, other in ((OLD, Secret(NEW)), (NEW, Secret(OLD)), (NEW, None)):
            vault.put(Secret(current), other)
            assert (vault.current(), vault.other()) == (Secret(current), other)
        slot, second = MASTER_KEY + SLOT_SUFFIX, MASTER_KEY + SECOND_SUFFIX
        assert sources.ring.diary == [
            f"write {slot}",
            f"write {second}",
            f"write {MASTER_KEY}",
            f"delete {slot}",
            f"delete {second}",
        ]

    def test_both_keys_are_stored_after_each_write_of_every_way_there_and_back(
        self, tmp_path: Path
    ) -> None:
        sources = Sources(tmp_path, keyring=OLD)
        vault = sources.vault(RING)
        lost: list[str] = []

        def look() -> None:
            if not {OLD, NEW} <= set(sources.ring.values.values()):
                lost.append(str(sorted(sources.ring.values)))

        vault.put(Secret(OLD), Secret(NEW))
        sources.ring.after_each = look
        for current, other in ((NEW, OLD), (OLD, NEW), (NEW, OLD), (NEW, OLD), (OLD, NEW)):
            vault.put(Secret(current), Secret(other))
            assert (vault.current(), vault.other()) == (Secret(current), Secret(other))
        assert lost == []

    def test_going_back_empties_both_slots(self, tmp_path: Path) -> None:
        sources = Sources(tmp_path, keyring=OLD)
        vault = sources.vault(RING)
        vault.put(Secret(OLD), Secret(NEW))
        vault.put(Secret(NEW), Secret(OLD))
        vault.put(Secret(OLD), None)
        assert sources.ring.values == {str(RING): OLD}

    def test_a_third_key_that_somebody_stored_is_replaced(self, tmp_path: Path) -> None:
        sources = Sources(tmp_path, keyring="sk-test-third")
        vault = sources.vault(RING)
        vault.put(Secret(NEW), Secret(OLD))
        assert (vault.current(), vault.other()) == (Secret(NEW), Secret(OLD))

    def test_what_is_there_already_is_not_written_again(self, tmp_path: Path) -> None:
        sources = Sources(tmp_path, keyring=OLD)
        sources.vault(RING).put(Secret(OLD), None)
        assert sources.ring.diary == []

    def test_a_provider_that_cannot_remove_keeps_its_slots(self, tmp_path: Path) -> None:
        plain = MemoryProvider("keyring", {str(RING): OLD})
        vault = SlotVault((RING,), lambda scheme: plain)
        vault.put(Secret(OLD), Secret(NEW))
        vault.put(Secret(NEW), None)
        assert plain.values[str(RING)] == NEW


@pytest.mark.integration
class TestRealSops:
    @pytest.fixture
    def lab(self, tmp_path: Path, home: Path) -> SopsLab:
        made = make_lab(tmp_path / "lab", home)
        made.put({MASTER_KEY: OLD, "OTHER": "sk-test-other"})
        return made

    def test_both_keys_change_in_one_rename(self, lab: SopsLab) -> None:
        provider = SopsProvider(PurePath(lab.root))
        vault = SlotVault((SecretRef("sops", PLACE, MASTER_KEY),), lambda scheme: provider)
        slot = MASTER_KEY + SLOT_SUFFIX
        vault.put(Secret(OLD), Secret(NEW))
        before = lab.store.stat().st_ino
        assert lab.values() == {MASTER_KEY: OLD, "OTHER": "sk-test-other", slot: NEW}
        vault.put(Secret(NEW), Secret(OLD))
        assert lab.store.stat().st_ino != before
        assert lab.values() == {MASTER_KEY: NEW, "OTHER": "sk-test-other", slot: OLD}
        vault.put(Secret(NEW), None)
        assert lab.values() == {MASTER_KEY: NEW, "OTHER": "sk-test-other"}
        assert lab.scratch_files() == []

    def test_nothing_is_written_where_nothing_changes(self, lab: SopsLab) -> None:
        provider = SopsProvider(PurePath(lab.root))
        vault = SlotVault((SecretRef("sops", PLACE, MASTER_KEY),), lambda scheme: provider)
        before = lab.store.read_bytes()
        vault.put(Secret(OLD), None)
        assert lab.store.read_bytes() == before


class TestLab:
    """Several secrets of one lab."""

    def test_those_of_one_file_change_in_one_write(self, tmp_path: Path) -> None:
        sources = Sources(tmp_path, sops=OLD)
        other = SecretRef("sops", STORE, "OTHER")
        ring = SecretRef("keyring", "keyturn", "THIRD")
        sources.store.values[str(other)] = OLD
        sources.ring.values[str(ring)] = OLD
        refs = {MASTER_KEY: (SOPS,), "OTHER": (other,), "THIRD": (ring,)}
        vaults = LabVault(lambda name: refs[name], sources.provider)
        vaults.put({name: (Secret(NEW), Secret(OLD)) for name in refs})
        assert len(sources.store.puts) == 1
        for name in refs:
            vault = vaults.of(name)
            assert (vault.current(), vault.other()) == (Secret(NEW), Secret(OLD))
        vaults.put({name: (Secret(NEW), None) for name in refs})
        assert all(vaults.of(name).other() is None for name in refs)
        assert len(sources.store.puts) == 2
