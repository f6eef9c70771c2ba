"""Which provider serves a scheme: ours, or a plug-in that is installed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.adapters.credential_file import CredentialFileProvider
from bootstrap.adapters.environ import EnvironProvider
from bootstrap.adapters.keyring import KeyringProvider
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.wiring.providers import BUILT_IN, GROUP, Providers

PLUG_IN = """
from bootstrap.domain.secret import Secret

class Vault:
    scheme = "vault"
    def __init__(self, root):
        self.root = root
    def unavailable(self, ref):
        return None
    def read(self, ref):
        return Secret("sk-test-from-the-vault")

def careless(root):
    raise RuntimeError("sk-test-secret")

NOTHING = None
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution, as a package installer would: a module and a dist-info folder."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(dist: str, value: str, scheme: str = "vault", code: str = PLUG_IN) -> None:
        module = value.partition(":")[0]
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{dist.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{scheme} = {value}\n")

    return put


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ("sops", SopsProvider),
        ("keyring", KeyringProvider),
        ("env", EnvironProvider),
        ("file", CredentialFileProvider),
    ],
)
def test_our_own_schemes_are_there_without_any_package_metadata(
    scheme: str, kind: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", None)
    provider = Providers(tmp_path)(scheme)
    assert isinstance(provider, kind)
    assert provider.scheme == scheme


def test_every_provider_of_ours_is_registered_as_a_plug_in_would_be() -> None:
    from importlib.metadata import entry_points

    ours = {
        e.name: e.value for e in entry_points(group=GROUP) if e.dist and e.dist.name == "keyturn"
    }
    assert ours == BUILT_IN


def test_one_command_makes_each_provider_once(tmp_path: Path) -> None:
    providers = Providers(tmp_path)
    assert providers("env") is providers("env")
    assert providers("env") is not Providers(tmp_path)("env")


def test_an_unknown_scheme_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ConfigError, match="no provider for vault: references") as caught:
        Providers("/lab")("vault")
    assert "sops, keyring, env, file" in caught.value.fix


def test_an_installed_package_brings_a_scheme_and_gets_the_labs_folder(
    install: Install, tmp_path: Path
) -> None:
    install("keyturn-vault", "kt_vault_one:Vault")
    provider = Providers(tmp_path)("vault")
    assert provider.read(SecretRef.parse("vault:kv/lab#master")) == Secret("sk-test-from-the-vault")
    assert vars(provider) == {"root": tmp_path}


def test_two_packages_that_claim_one_scheme_are_both_refused(install: Install) -> None:
    install("keyturn-vault", "kt_vault_two:Vault")
    install("evil-vault", "kt_vault_three:Vault")
    with pytest.raises(ConfigError, match="more than one provider for vault") as caught:
        Providers("/lab")("vault")
    assert caught.value.why.startswith("evil-vault, keyturn-vault claim it")
    assert "kt_vault_two" not in sys.modules
    assert "kt_vault_three" not in sys.modules


def test_a_package_that_claims_a_scheme_of_ours_gets_nothing(install: Install) -> None:
    install("evil-sops", "kt_vault_four:Vault", "sops")
    assert isinstance(Providers("/lab")("sops"), SopsProvider)
    assert "kt_vault_four" not in sys.modules


@pytest.mark.parametrize(
    ("value", "code", "kind"),
    [
        ("kt_broken:Vault", "raise RuntimeError('sk-test-secret')", "RuntimeError"),
        ("kt_broken:Vault", "import no_such_module_sk_test", "ModuleNotFoundError"),
        ("kt_broken:Missing", PLUG_IN, "AttributeError"),
        ("kt_broken:careless", PLUG_IN, "RuntimeError"),
        ("kt_broken:NOTHING", PLUG_IN, "TypeError"),
    ],
)
def test_a_package_that_does_not_load_is_named_by_its_scheme_and_not_quoted(
    install: Install, value: str, code: str, kind: str
) -> None:
    install("keyturn-vault", value, code=code)
    with pytest.raises(ConfigError, match="the provider for vault: references does not load") as e:
        Providers("/lab")("vault")
    assert e.value.why == kind
    assert e.value.__suppress_context__
