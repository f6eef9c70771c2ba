"""`env:NAME`."""

from pathlib import PurePath

import pytest

from bootstrap.adapters.environ import EnvironProvider
from bootstrap.contract import ProviderContract
from bootstrap.domain.errors import SecretNotFoundError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.ports import WritableProvider

ROOT = PurePath("/lab")


class TestEnvironProvider(ProviderContract):
    @pytest.fixture
    def provider(self) -> EnvironProvider:
        return EnvironProvider(ROOT, {"LITELLM_MASTER_KEY": self.HELD})

    @pytest.fixture
    def ref(self) -> SecretRef:
        return SecretRef.parse("env:LITELLM_MASTER_KEY")

    def absent(self, ref: SecretRef) -> SecretRef:
        return SecretRef(ref.scheme, "NO_SUCH_NAME")


@pytest.mark.parametrize(("environ", "why"), [({}, "not set"), ({"KEY": ""}, "empty")])
def test_an_unset_and_an_empty_variable_are_told_apart(environ: dict[str, str], why: str) -> None:
    with pytest.raises(SecretNotFoundError) as caught:
        EnvironProvider(ROOT, environ).read(SecretRef("env", "KEY"))
    assert caught.value.why == f"the variable KEY is {why}"


def test_the_variables_of_this_process_are_read_as_they_are_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider = EnvironProvider(ROOT)
    monkeypatch.setenv("KEY", "sk-test-late")
    assert provider.read(SecretRef("env", "KEY")) == Secret("sk-test-late")


def test_the_environment_cannot_be_written() -> None:
    assert not isinstance(EnvironProvider(ROOT), WritableProvider)
