# ruff: noqa: S101 - these are tests, shipped so that authors of providers can run them
"""What every provider must do, as tests to inherit. For authors of plug-ins, and for ourselves.

    # test_vault_provider.py
    import pytest
    from bootstrap.contract import WritableProviderContract
    from bootstrap.domain.ref import SecretRef
    from keyturn_vault import VaultProvider

    class TestVaultProvider(WritableProviderContract):
        @pytest.fixture
        def ref(self, vault):                     # a reference that holds HELD
            vault.put("kv/lab", "master", self.HELD)
            return SecretRef.parse("vault:kv/lab#master")

        @pytest.fixture
        def provider(self, tmp_path, vault):      # as keyturn makes it: with the lab's folder
            return VaultProvider(tmp_path)

        @pytest.fixture
        def another(self, tmp_path, vault):       # what the next command would make
            return VaultProvider(tmp_path)

Inherit `ProviderContract` where the provider only reads; it needs no `another`. Providers whose
references have no `#NAME` override `absent`. Nothing here imports pytest.
"""

from bootstrap.domain.errors import LabError, SecretError, SecretNotFoundError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.ports import Provider, WritableProvider


class ProviderContract:
    """What a provider does that secrets are read from.

    Needs two fixtures: `provider`, and `ref`, a reference that holds `HELD`.

    Attributes:
        HELD: The secret to put at `ref`.
    """

    HELD = "sk-test-held-by-the-contract-0123456789"

    def absent(self, ref: SecretRef) -> SecretRef:
        """Return a reference to nothing, in the same place as `ref`."""
        return SecretRef(ref.scheme, ref.place, "NO_SUCH_NAME")

    def test_its_scheme_is_that_of_its_references(self, provider: Provider, ref: SecretRef) -> None:
        """The entry point, the class and the references agree on one name."""
        assert provider.scheme == ref.scheme
        assert SecretRef.parse(str(ref)) == ref

    def test_it_can_be_tried_here(self, provider: Provider, ref: SecretRef) -> None:
        """None means: nothing that we know of is in the way."""
        assert provider.unavailable(ref) is None

    def test_it_reads_the_secret_that_is_there(self, provider: Provider, ref: SecretRef) -> None:
        """Exactly, without a newline or quotes around it."""
        assert provider.read(ref) == Secret(self.HELD)

    def test_it_reads_the_same_again(self, provider: Provider, ref: SecretRef) -> None:
        """Reading uses nothing up."""
        assert provider.read(ref) == provider.read(ref)

    def test_what_is_not_there_is_not_found(self, provider: Provider, ref: SecretRef) -> None:
        """The error names the reference and says what to do."""
        absent = self.absent(ref)
        error = _error_of(provider, absent)
        assert isinstance(error, SecretNotFoundError)
        assert str(absent) in error.what
        assert error.why
        assert error.fix

    def test_it_does_not_show_the_secret(self, provider: Provider, ref: SecretRef) -> None:
        """Neither by its repr nor in the error about a neighbour."""
        provider.read(ref)
        error = _error_of(provider, self.absent(ref))
        for text in (repr(provider), str(provider), error.what, error.why, error.fix):
            assert self.HELD not in text


class WritableProviderContract(ProviderContract):
    """What a provider does that secrets are also stored in.

    Needs a third fixture, `another`: a new instance of the provider on the same store.

    Attributes:
        NEXT: The secret that replaces `HELD`.
        AWKWARD: Values that many stores and shells distort.
    """

    NEXT = "sk-test-next-in-the-contract-9876543210"
    AWKWARD = (
        "a b  c#d",
        " \"quoted\" 'twice' ",
        "$HOME ${HOME} $(id) `id`",
        "back\\slash\\n",
        "two\nlines",
        "null",
        "12",
        "naïve-ключ-鍵",
    )

    def test_it_is_a_writable_provider(self, provider: WritableProvider) -> None:
        """The workflows ask by this protocol."""
        assert isinstance(provider, WritableProvider)

    def test_what_is_written_is_read_back(
        self, provider: WritableProvider, another: WritableProvider, ref: SecretRef
    ) -> None:
        """At once, and by the next command."""
        provider.write(ref, Secret(self.NEXT))
        assert provider.read(ref) == Secret(self.NEXT)
        assert another.read(ref) == Secret(self.NEXT)

    def test_a_reader_that_has_read_before_sees_the_new_value(
        self, provider: WritableProvider, another: WritableProvider, ref: SecretRef
    ) -> None:
        """A cache must not outlive what it caches: rotation proves itself by reading."""
        another.read(ref)
        provider.write(ref, Secret(self.NEXT))
        assert another.read(ref) == Secret(self.NEXT)

    def test_writing_twice_is_writing_once(
        self, provider: WritableProvider, another: WritableProvider, ref: SecretRef
    ) -> None:
        """Recovery repeats writes of which it cannot know whether they happened."""
        provider.write(ref, Secret(self.NEXT))
        provider.write(ref, Secret(self.NEXT))
        assert another.read(ref) == Secret(self.NEXT)

    def test_a_new_name_leaves_the_others_alone(
        self, provider: WritableProvider, another: WritableProvider, ref: SecretRef
    ) -> None:
        """Stores hold many secrets, and not all are ours."""
        new = self.absent(ref)
        provider.write(new, Secret(self.NEXT))
        assert another.read(new) == Secret(self.NEXT)
        assert another.read(ref) == Secret(self.HELD)

    def test_it_keeps_a_value_exactly_or_refuses_it(
        self, provider: WritableProvider, another: WritableProvider, ref: SecretRef
    ) -> None:
        """And where it refuses, what was there before still is."""
        expected = Secret(self.HELD)
        for text in self.AWKWARD:
            try:
                provider.write(ref, Secret(text))
            except SecretError as error:
                quotes = text in f"{error.what} {error.why} {error.fix}"
                assert len(text) < 8 or not quotes  # "12" may stand there by chance
            else:
                expected = Secret(text)
            assert another.read(ref) == expected


def _error_of(provider: Provider, ref: SecretRef) -> LabError:
    try:
        provider.read(ref)
    except LabError as error:
        return error
    raise AssertionError(f"reading {ref} should have failed")
