"""From a secret's name to its value: which source wins, and what happens to the others."""

import pytest

from bootstrap.domain.errors import (
    ConfigError,
    LabError,
    ProviderUnavailableError,
    SecretNotFoundError,
    StoreDamagedError,
    UsageError,
)
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import SecretSpec
from bootstrap.workflows.resolve import Resolver, late_sources
from support.fakes import MemoryProvider

SOPS, KEYRING, ENV = "sops:secrets/global.enc.env#KEY", "keyring:keyturn#KEY", "env:KEY"
LOCKED = ProviderUnavailableError("the keyring", why="it is locked", fix="unlock it")
DAMAGED = StoreDamagedError("the store", why="its MAC does not fit", fix="git restore it")


class Sources:
    """Three providers, and a resolver of KEY that asks them in the order given."""

    def __init__(self, *order: str, optional: bool = False) -> None:
        self.providers = {name: MemoryProvider(name) for name in ("sops", "keyring", "env")}
        self.refs = tuple(SecretRef.parse(text) for text in order or (SOPS, KEYRING, ENV))
        self.specs = {"KEY": SecretSpec("KEY", self.refs, optional)}

    def put(self, ref: str, value: str) -> None:
        """Store a value."""
        self.providers[ref.partition(":")[0]].values[ref] = value

    def fail(self, scheme: str, error: LabError) -> None:
        """Let a provider fail at every read."""
        self.providers[scheme].broken[""] = error

    def reads(self) -> list[str]:
        """Return what was asked for."""
        return [ref for provider in self.providers.values() for ref in provider.reads]

    def resolver(self, only: str | None = None) -> Resolver:
        """Return a resolver."""
        return Resolver(self.specs, self.providers.__getitem__, only)


def test_the_first_source_that_holds_it_wins_and_the_others_are_not_asked() -> None:
    sources = Sources()
    for ref, value in ((SOPS, "sk-test-1"), (KEYRING, "sk-test-2"), (ENV, "sk-test-3")):
        sources.put(ref, value)
    found = sources.resolver().resolve("KEY")
    assert (found.name, found.secret, str(found.ref)) == ("KEY", Secret("sk-test-1"), SOPS)
    assert found.passed_over == []
    assert sources.reads() == [SOPS]


def test_the_labs_own_order_counts() -> None:
    sources = Sources(ENV, SOPS)
    sources.put(SOPS, "sk-test-1")
    sources.put(ENV, "sk-test-3")
    assert str(sources.resolver().resolve("KEY").ref) == ENV


def test_sources_without_it_or_locked_are_passed_over_and_say_why() -> None:
    sources = Sources()
    sources.fail("keyring", LOCKED)
    sources.put(ENV, "sk-test-3")
    found = sources.resolver().resolve("KEY")
    assert str(found.ref) == ENV
    assert [(str(ref), why) for ref, why in found.passed_over] == [
        (SOPS, "no such name"), (KEYRING, "it is locked")
    ]  # fmt: skip


def test_a_source_that_did_not_answer_is_named_once_with_what_is_used_instead() -> None:
    sources = Sources(KEYRING, SOPS, ENV)
    hung = ProviderUnavailableError("the keyring", why="no answer", fix="restart it")
    hung.late = True
    sources.put(SOPS, "sk-test-1")
    sources.fail("keyring", LOCKED)
    assert late_sources([sources.resolver().resolve("KEY")]) == []
    sources.fail("keyring", hung)
    found = sources.resolver().resolve("KEY")
    assert late_sources([found, found]) == [f"{KEYRING} did not answer in time, so {SOPS} is used"]


def test_a_damaged_store_stops_everything_although_a_later_source_holds_a_value() -> None:
    sources = Sources()
    sources.fail("sops", DAMAGED)
    sources.put(ENV, "sk-test-stale")
    with pytest.raises(StoreDamagedError):
        sources.resolver().resolve("KEY")
    assert sources.reads() == [SOPS]


def test_a_secret_that_no_source_holds_is_an_error_that_lists_them_all() -> None:
    sources = Sources()
    sources.fail("keyring", LOCKED)
    with pytest.raises(SecretNotFoundError) as caught:
        sources.resolver().resolve("KEY")
    assert caught.value.why == (
        f"{SOPS}: no such name; {KEYRING}: it is locked; {ENV}: no such name"
    )
    assert caught.value.fix == LOCKED.fix  # what is locked may hold it: that first


class TestOnlyOneScheme:
    def test_only_its_sources_are_asked(self) -> None:
        sources = Sources()
        sources.put(SOPS, "sk-test-1")
        sources.put(ENV, "sk-test-3")
        assert str(sources.resolver("env").resolve("KEY").ref) == ENV
        assert sources.reads() == [ENV]

    def test_a_value_elsewhere_does_not_help(self) -> None:
        sources = Sources()
        sources.put(SOPS, "sk-test-1")
        with pytest.raises(SecretNotFoundError):
            sources.resolver("keyring").resolve("KEY")

    def test_a_scheme_that_the_secret_has_no_source_of_is_a_usage_error(self) -> None:
        with pytest.raises(UsageError, match="KEY has no source of scheme file") as caught:
            Sources().resolver("file").resolve("KEY")
        assert SOPS in caught.value.why


def test_a_secret_that_the_lab_does_not_have_is_a_usage_error_that_names_those_it_has() -> None:
    with pytest.raises(UsageError, match="no secret called KYE") as caught:
        Sources().resolver().resolve("KYE")
    assert caught.value.fix == "use one of: KEY"


class TestResolveAll:
    def test_an_optional_secret_may_be_absent(self) -> None:
        assert Sources(optional=True).resolver().resolve_all(["KEY"]) == {}

    def test_a_needed_secret_may_not(self) -> None:
        with pytest.raises(SecretNotFoundError):
            Sources().resolver().resolve_all(["KEY"])

    def test_an_optional_secret_in_a_damaged_store_is_still_an_error(self) -> None:
        sources = Sources(optional=True)
        sources.fail("sops", DAMAGED)
        with pytest.raises(StoreDamagedError):
            sources.resolver().resolve_all(["KEY"])

    def test_what_is_there_comes_by_name(self) -> None:
        sources = Sources(optional=True)
        sources.put(KEYRING, "sk-test-2")
        found = sources.resolver().resolve_all(["KEY"])
        assert [(name, item.secret) for name, item in found.items()] == [
            ("KEY", Secret("sk-test-2"))
        ]


class TestSurvey:
    def test_every_source_is_asked_even_behind_the_winner_and_a_damaged_one(self) -> None:
        sources = Sources()
        sources.fail("sops", DAMAGED)
        sources.put(KEYRING, "sk-test-2")
        rows = sources.resolver().survey("KEY")
        assert [(str(ref), value, why) for ref, value, why in rows] == [
            (SOPS, None, "its MAC does not fit"),
            (KEYRING, Secret("sk-test-2"), ""),
            (ENV, None, "no such name"),
        ]

    def test_a_scheme_that_nothing_brings_is_no_reason_to_ask_another_source(self) -> None:
        sources = Sources()
        missing = ConfigError("no provider for vault: references", why="none", fix="install it")

        def provider(scheme: str) -> MemoryProvider:
            raise missing

        with pytest.raises(ConfigError):
            Resolver(sources.specs, provider).resolve("KEY")
