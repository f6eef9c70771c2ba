"""From a secret's name to its value: ask its sources in order, take the first that holds it.

The one resolver of the program. It imports nothing heavy, because `keyturn exec` waits for it.
A source that is missing or locked is passed over; one that is damaged stops everything, since a
stale copy further down the list must not win silently.
"""

from bootstrap.domain.base_errors import (
    ProviderUnavailableError,
    SecretError,
    SecretNotFoundError,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bootstrap.domain.ref import SecretRef
    from bootstrap.domain.secret import Secret
    from bootstrap.domain.secret_spec import SecretSpec
    from bootstrap.ports import Provider


class Resolved:
    """A secret and where it came from.

    Attributes:
        name: The secret's name.
        secret: Its value.
        ref: The source that held it.
        passed_over: (source, why) for each source asked before that one.
        late: Those of them that did not answer in time.
    """

    __slots__ = ("late", "name", "passed_over", "ref", "secret")

    def __init__(
        self,
        name: str,
        secret: "Secret",
        ref: "SecretRef",
        passed_over: "list[tuple[SecretRef, str]]",
        late: "Sequence[SecretRef]" = (),
    ) -> None:
        self.name = name
        self.secret = secret
        self.ref = ref
        self.passed_over = passed_over
        self.late = late


def late_sources(found: "Iterable[Resolved]") -> "list[str]":
    """Return a line about each kind of source that did not answer, and what was used instead."""
    first = {ref.scheme: (ref, item.ref) for item in reversed(list(found)) for ref in item.late}
    return [f"{late} did not answer in time, so {used} is used" for late, used in first.values()]


class Resolver:
    """Asks providers for secrets; one instance serves one command.

    Args:
        specs: The lab's secrets by name.
        provider: Returns the provider of a scheme.
        only: Ask only sources of this scheme (`--source`), or None for all.
    """

    def __init__(
        self,
        specs: "Mapping[str, SecretSpec]",
        provider: "Callable[[str], Provider]",
        only: str | None = None,
    ) -> None:
        self._specs = specs
        self._provider = provider
        self._only = only

    @property
    def names(self) -> "tuple[str, ...]":
        """The names of the lab's secrets, in its order."""
        return tuple(self._specs)

    def resolve(self, name: str) -> Resolved:
        """Return the secret called `name`.

        Raises:
            UsageError: The lab has no such secret, or no source of the scheme asked for.
            SecretNotFoundError: No source holds it; lists each and why.
            StoreDamagedError: A source is not sound.
        """
        passed_over: list[tuple[SecretRef, str]] = []
        late: list[SecretRef] = []
        makers = "keyturn init makes the gateway's keys, keyturn apply the clients'"
        fix = f"put it into the store ({makers}), or export {name}"
        usable = True
        for ref in self.sources(name):
            try:
                secret = self._provider(ref.scheme).read(ref)
                return Resolved(name, secret, ref, passed_over, late)
            except (SecretNotFoundError, ProviderUnavailableError) as error:
                passed_over.append((ref, error.why))
                if isinstance(error, ProviderUnavailableError) and error.late:
                    late.append(ref)
                if usable and isinstance(error, ProviderUnavailableError):
                    usable, fix = False, error.fix  # it may hold the secret: open that first
        reasons = "; ".join(f"{ref}: {why}" for ref, why in passed_over)
        raise SecretNotFoundError(f"no source holds {name}", why=reasons, fix=fix)

    def resolve_all(self, names: "Iterable[str]") -> "dict[str, Resolved]":
        """Return the secrets of `names`; those that the lab marks optional may be absent."""
        found = {}
        for name in names:
            try:
                found[name] = self.resolve(name)
            except SecretNotFoundError:
                if not self._specs[name].optional:
                    raise
        return found

    def sources(self, name: str) -> "tuple[SecretRef, ...]":
        """Return the references that would be asked for `name`, in order.

        Raises:
            UsageError: The lab has no such secret, or no source of the scheme asked for.
        """
        spec = self._specs.get(name)
        if spec is None:
            raise UsageError(
                f"the lab has no secret called {name}",
                why="it is not under [secrets] in lab.toml",
                fix=f"use one of: {', '.join(self._specs)}",
            )
        refs = tuple(r for r in spec.sources if self._only in (None, r.scheme))
        if not refs:
            raise UsageError(
                f"{name} has no source of scheme {self._only}",
                why=f"its sources are {', '.join(str(r) for r in spec.sources)}",
                fix=f"add one under [secrets.{name}] in lab.toml, or drop --source",
            )
        return refs

    def survey(self, name: str) -> "list[tuple[SecretRef, Secret | None, str]]":
        """Ask every source, and return (source, value or None, why not) for each."""
        rows: list[tuple[SecretRef, Secret | None, str]] = []
        for ref in self.sources(name):
            try:
                rows.append((ref, self._provider(ref.scheme).read(ref), ""))
            except SecretError as error:
                rows.append((ref, None, error.why))
        return rows
