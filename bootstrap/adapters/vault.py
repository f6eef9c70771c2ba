"""The rotated secret in its store, with a slot for the other key beside it.

The slot is a name of its own in the same encrypted file, so both keys change in one rename and no
plaintext is ever needed to go back. In a keyring the two entries change one after the other, the
slot first when it is filled and last when it is emptied.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

from bootstrap.domain.errors import ProviderUnavailableError, SecretError, SecretNotFoundError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.ports import Provider, WritableProvider

SLOT_SUFFIX = "_KEYTURN_ROTATION"


@runtime_checkable
class _ManyAtOnce(Protocol):
    def write_many(self, place: str, secrets: Mapping[str, Secret | None]) -> None: ...


@runtime_checkable
class _Removes(Protocol):
    def delete(self, ref: SecretRef) -> None: ...


class SlotVault:
    """One secret of the lab and its slot.

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

    def check_writable(self) -> None:
        """Refuse a source that keyturn cannot write; see `bootstrap.workflows.tools.Vault`."""
        if not isinstance(self._provider(self._first.scheme), WritableProvider):
            raise ProviderUnavailableError(
                f"the key in force comes from {self._first}",
                why="keyturn cannot write there, so it cannot rotate it",
                fix="change it where it comes from, or put a sops: or keyring: source before it",
            )

    def current(self) -> Secret:
        """Return the key in force as the store has it."""
        return self._provider(self._first.scheme).read(self._first)

    def other(self) -> Secret | None:
        """Return what the slot holds, or None."""
        try:
            return self._provider(self._first.scheme).read(self._slot)
        except SecretNotFoundError:
            return None

    def put(self, current: Secret, other: Secret | None) -> None:
        """Store both, and the copies; see `bootstrap.workflows.tools.Vault`."""
        provider = self._provider(self._first.scheme)
        if isinstance(provider, _ManyAtOnce):
            both = {self._first.name: current, self._slot.name: other}
            provider.write_many(self._first.place, both)
        else:
            self._put_one_by_one(current, other)
        for ref in self._copies():
            copy = self._provider(ref.scheme)
            if isinstance(copy, WritableProvider):
                copy.write(ref, current)

    def _put_one_by_one(self, current: Secret, other: Secret | None) -> None:
        provider = self._provider(self._first.scheme)
        if not isinstance(provider, WritableProvider):
            self.check_writable()
            return
        if other is not None and self.current() != other:
            provider.write(self._slot, other)
            provider.write(self._first, current)
        elif other is not None:
            # A swap: the new key is in the slot and goes live before the slot takes the old one.
            provider.write(self._first, current)
            provider.write(self._slot, other)
        else:
            provider.write(self._first, current)
            if isinstance(provider, _Removes) and self.other() is not None:
                provider.delete(self._slot)

    @property
    def _slot(self) -> SecretRef:
        return SecretRef(self._first.scheme, self._first.place, self._first.name + SLOT_SUFFIX)

    @cached_property
    def _first(self) -> SecretRef:
        """The source that holds the key in force."""
        for ref in self._sources:
            try:
                self._provider(ref.scheme).read(ref)
            except (SecretNotFoundError, ProviderUnavailableError):
                continue
            return ref
        return self._sources[0]

    def _copies(self) -> list[SecretRef]:
        """Return the further writable sources that hold some value under this name."""
        copies = []
        for ref in self._sources:
            if ref == self._first or not isinstance(self._provider(ref.scheme), WritableProvider):
                continue
            try:
                self._provider(ref.scheme).read(ref)
            except SecretError:
                continue
            copies.append(ref)
        return copies
