"""The rotated secret in its store, with a slot for the other key beside it.

The slot is a name of its own in the same encrypted file, so both keys change in one rename and no
plaintext is ever needed to go back. A keyring changes one entry at a time, so there a second slot
keeps either key stored in between.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from bootstrap.domain.errors import ProviderUnavailableError, SecretError, SecretNotFoundError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.ports import Provider, WritableProvider

SLOT_SUFFIX = "_KEYTURN_ROTATION"
SECOND_SUFFIX = "_KEYTURN_PREVIOUS"


@runtime_checkable
class _ManyAtOnce(Protocol):
    def write_many(self, place: str, secrets: Mapping[str, Secret | None]) -> None: ...


@runtime_checkable
class _Removes(Protocol):
    def delete(self, ref: SecretRef) -> None: ...


@runtime_checkable
class _ChecksPlaces(Protocol):
    def check_place(self, place: str) -> None: ...


class SlotVault:
    """One secret of the lab, its slot, and its copies.

    Args:
        sources: The secret's references in the order they are asked.
        provider: Scheme -> provider, the same instances as the resolver's.
    """

    def __init__(
        self,
        sources: Sequence[SecretRef],
        provider: Callable[[str], Provider],
    ) -> None:
        self._sources = sources
        self._provider = provider
        self._found: tuple[SecretRef, tuple[SecretRef, ...]] | None = None

    @property
    def store(self) -> str:
        """The source that holds the key in force."""
        return str(self._places[0])

    @property
    def copies(self) -> tuple[str, ...]:
        """The further writable sources that hold some value under this name."""
        return tuple(str(ref) for ref in self._places[1])

    def pin(self, store: str, copies: Sequence[str]) -> None:
        """Take these places; see `bootstrap.workflows.tools.Vault`."""
        self._found = SecretRef.parse(store), tuple(SecretRef.parse(copy) for copy in copies)

    def check_writable(self) -> None:
        """Refuse a source that keyturn cannot write; see `bootstrap.workflows.tools.Vault`."""
        ref = self._places[0]
        if not isinstance(self._provider(ref.scheme), WritableProvider):
            raise ProviderUnavailableError(
                f"the key in force comes from {ref}",
                why="keyturn cannot write there, so it cannot rotate it",
                fix="change it where it comes from, or put a sops: or keyring: source before it",
            )
        provider = self._provider(ref.scheme)
        if isinstance(provider, _ChecksPlaces):
            provider.check_place(ref.place)

    def current(self) -> Secret:
        """Return the key in force as the store has it."""
        ref = self._places[0]
        return self._provider(ref.scheme).read(ref)

    def other(self) -> Secret | None:
        """Return the other key of an open rotation, or None."""
        current = self.current()
        held = (self._read(self._slot(suffix)) for suffix in (SLOT_SUFFIX, SECOND_SUFFIX))
        return next((key for key in held if key is not None and key != current), None)

    @property
    def file(self) -> SecretRef | None:
        """The place where both change in one write; None where they change one by one."""
        ref = self._places[0]
        return ref if isinstance(self._provider(ref.scheme), _ManyAtOnce) else None

    def in_one_write(self, current: Secret, other: Secret | None) -> dict[str, Secret | None]:
        """Return what that write changes there, by the names in it."""
        return {self._places[0].name: current, self._slot().name: other}

    def put(self, current: Secret, other: Secret | None) -> None:
        """Store both; see `bootstrap.workflows.tools.Vault`."""
        ref = self._places[0]
        provider = self._provider(ref.scheme)
        if isinstance(provider, _ManyAtOnce):
            provider.write_many(ref.place, self.in_one_write(current, other))
        elif other is None:
            self._write(ref, current)
            self._clear(self._slot())
            self._clear(self._slot(SECOND_SUFFIX))
        else:
            self._put_one_by_one(ref, current, other)

    def spread(self, current: Secret) -> None:
        """Make the copies follow; see `bootstrap.workflows.tools.Vault`."""
        for ref in self._places[1]:
            self._write(ref, current)

    def _put_one_by_one(self, ref: SecretRef, current: Secret, other: Secret) -> None:
        """Keep either key in some entry after each write."""
        slot, second = self._slot(), self._slot(SECOND_SUFFIX)
        if self.current() == current:
            self._write(slot, other)
            return
        # `ref` is about to be overwritten, so what it holds goes into the slot that can be spared.
        self._write(second if self._read(slot) == current else slot, other)
        self._write(ref, current)

    def _write(self, ref: SecretRef, secret: Secret) -> None:
        provider = self._provider(ref.scheme)
        if isinstance(provider, WritableProvider) and self._read(ref) != secret:
            provider.write(ref, secret)

    def _clear(self, ref: SecretRef) -> None:
        provider = self._provider(ref.scheme)
        if isinstance(provider, _Removes) and self._read(ref) is not None:
            provider.delete(ref)

    def _read(self, ref: SecretRef) -> Secret | None:
        try:
            return self._provider(ref.scheme).read(ref)
        except SecretNotFoundError:
            return None

    def _slot(self, suffix: str = SLOT_SUFFIX) -> SecretRef:
        ref = self._places[0]
        return SecretRef(ref.scheme, ref.place, ref.name + suffix)

    @property
    def _places(self) -> tuple[SecretRef, tuple[SecretRef, ...]]:
        if self._found is None:
            self._found = self._look()
        return self._found

    def _look(self) -> tuple[SecretRef, tuple[SecretRef, ...]]:
        """Return the first source that holds a value, and the writable ones after it that do."""
        holding = [ref for ref in self._sources if self._holds(ref)]
        if not holding:
            return self._sources[0], ()
        copies = (r for r in holding[1:] if isinstance(self._provider(r.scheme), WritableProvider))
        return holding[0], tuple(copies)

    def _holds(self, ref: SecretRef) -> bool:
        try:
            return self._read(ref) is not None
        except ProviderUnavailableError:
            return False
        except SecretError:  # damaged: the resolver says so when it is asked
            return True


class LabVault:
    """Every secret of a lab; see `bootstrap.workflows.tools.Vaults`.

    Args:
        sources: Name -> its references in the order they are asked; empty for an unknown name.
        provider: Scheme -> provider, the same instances as the resolver's.
    """

    def __init__(
        self,
        sources: Callable[[str], Sequence[SecretRef]],
        provider: Callable[[str], Provider],
    ) -> None:
        self._sources = sources
        self._provider = provider
        self._vaults: dict[str, SlotVault] = {}

    def of(self, name: str) -> SlotVault:
        """Return the vault of one secret."""
        if name not in self._vaults:
            self._vaults[name] = SlotVault(self._sources(name), self._provider)
        return self._vaults[name]

    def put(self, pairs: Mapping[str, tuple[Secret, Secret | None]]) -> None:
        """Store all of them, those of one encrypted file in one rename."""
        together: dict[tuple[str, str], dict[str, Secret | None]] = {}
        for name, (current, other) in pairs.items():
            vault = self.of(name)
            if vault.file is None:
                vault.put(current, other)
                continue
            values = together.setdefault((vault.file.scheme, vault.file.place), {})
            values.update(vault.in_one_write(current, other))
        for (scheme, place), values in together.items():
            provider = self._provider(scheme)
            if isinstance(provider, _ManyAtOnce):
                provider.write_many(place, values)
