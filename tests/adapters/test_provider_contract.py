"""The shipped contract: what sops keeps, and that it notices providers that break it."""

from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.environ import EnvironProvider
from bootstrap.adapters.sops import SopsProvider
from bootstrap.contract import ProviderContract, WritableProviderContract
from bootstrap.domain.errors import SecretError, SecretNotFoundError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from support.sops_lab import PLACE, make_lab


@pytest.mark.integration
class TestSopsProvider(WritableProviderContract):
    place = PLACE

    @pytest.fixture
    def ref(self, tmp_path: Path, home: Path) -> SecretRef:
        make_lab(tmp_path / "lab", home).put({"MASTER": self.HELD, "B": "b"}, self.place)
        return SecretRef.parse(f"sops:{self.place}#MASTER")

    @pytest.fixture
    def provider(self, tmp_path: Path) -> SopsProvider:
        return SopsProvider(PurePath(tmp_path / "lab"))

    @pytest.fixture
    def another(self, tmp_path: Path) -> SopsProvider:
        return SopsProvider(PurePath(tmp_path / "lab"))


class TestSopsProviderWithJson(TestSopsProvider):
    place = "secrets/global.enc.json"


class TestSopsProviderWithYaml(TestSopsProvider):
    place = "secrets/global.enc.yaml"


class MemoryProvider:
    """A provider in a few lines, as a plug-in's author might begin."""

    scheme = "memory"

    def __init__(self, store: dict[str, str]) -> None:
        self.store = store

    def unavailable(self, ref: SecretRef) -> str | None:
        return None

    def read(self, ref: SecretRef) -> Secret:
        text = self.store.get(ref.name)
        if text is None:
            raise SecretNotFoundError(f"no secret at {ref}", why="it is not set", fix="set it")
        return Secret(text)

    def write(self, ref: SecretRef, secret: Secret) -> None:
        if "\n" in secret.reveal():
            raise SecretError(f"cannot store {ref}", why="it has two lines", fix="use one line")
        self.store[ref.name] = secret.reveal()


class TestMemoryProvider(WritableProviderContract):
    @pytest.fixture
    def store(self) -> dict[str, str]:
        return {"name": self.HELD}

    @pytest.fixture
    def ref(self) -> SecretRef:
        return SecretRef.parse("memory:place#name")

    @pytest.fixture
    def provider(self, store: dict[str, str]) -> MemoryProvider:
        return MemoryProvider(store)

    @pytest.fixture
    def another(self, store: dict[str, str]) -> MemoryProvider:
        return MemoryProvider(store)


class Forgetful(MemoryProvider):
    """Accepts every secret and keeps none."""

    def write(self, ref: SecretRef, secret: Secret) -> None:
        pass


class Trimming(MemoryProvider):
    """Keeps something else than it was given."""

    def write(self, ref: SecretRef, secret: Secret) -> None:
        self.store[ref.name] = secret.reveal().strip()


class Inventive(MemoryProvider):
    """Answers with an empty stand-in where nothing is."""

    def read(self, ref: SecretRef) -> Secret:
        return Secret(self.store.get(ref.name, "nothing"))


class Talkative(MemoryProvider):
    """Quotes what it holds."""

    def __repr__(self) -> str:
        return f"Talkative({self.store})"


REF = SecretRef.parse("memory:place#name")
WRITES = WritableProviderContract()


def held() -> dict[str, str]:
    return {"name": ProviderContract.HELD}


def test_the_contract_catches_a_store_that_forgets() -> None:
    provider = Forgetful(held())
    with pytest.raises(AssertionError):
        WRITES.test_what_is_written_is_read_back(provider, provider, REF)


def test_the_contract_catches_a_store_that_changes_values() -> None:
    provider = Trimming(held())
    with pytest.raises(AssertionError):
        WRITES.test_it_keeps_a_value_exactly_or_refuses_it(provider, provider, REF)


def test_the_contract_catches_a_provider_that_makes_secrets_up() -> None:
    with pytest.raises(AssertionError, match="should have failed"):
        WRITES.test_what_is_not_there_is_not_found(Inventive(held()), REF)


def test_the_contract_catches_a_provider_that_quotes_secrets() -> None:
    with pytest.raises(AssertionError):
        WRITES.test_it_does_not_show_the_secret(Talkative(held()), REF)


def test_the_contract_catches_a_class_under_a_wrong_scheme() -> None:
    with pytest.raises(AssertionError):
        WRITES.test_its_scheme_is_that_of_its_references(EnvironProvider(PurePath("/")), REF)


def test_the_contract_catches_a_read_only_provider_that_claims_to_write() -> None:
    with pytest.raises(AssertionError):
        WRITES.test_it_is_a_writable_provider(EnvironProvider(PurePath("/")))  # type: ignore[arg-type]
