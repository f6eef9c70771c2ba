"""Which client an installed package brings, and what is said where it cannot be used."""

import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.client_contract import ClientContract
from bootstrap.domain.client import LITERAL, VARIABLE, ClientFile, Preset, Setup, Way
from bootstrap.domain.errors import ConfigError
from bootstrap.wiring import clients
from bootstrap.wiring.client_packages import ClientPackages
from bootstrap.wiring.clients import ClientOptions, prepare
from support import client_packages

PRESET = "from bootstrap.domain.client import Preset\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages are installed in."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    client_packages.forget()


def module(site: Path, file: str, code: str, **more: str) -> None:
    (site / f"{file}.py").write_text(code)
    sys.modules.pop(file, None)
    client_packages.register(site, f"{file}:CLIENT", **more)


class TestExampleClient(ClientContract):
    @pytest.fixture
    def client(self, site: Path) -> Preset:
        client_packages.install_example(site)
        found = ClientPackages()("example")
        assert found is not None
        return found

    @pytest.fixture
    def templates(self) -> Path:
        return client_packages.PLUGINS / client_packages.EXAMPLE / "templates"


ENV = ClientFile(
    "shelled-env", "secrets", "shelled.env", "shelled/env.j2", "env", ("K",), key_at=("K",)
)


class TestClientWithAnEnvFile(ClientContract):
    """Another shape: no helper, and a variable that nobody but `exec` sets."""

    @pytest.fixture
    def client(self) -> Preset:
        ways = (
            Way(VARIABLE, None, None, "at its next start", "no key at rest", key="K"),
            Way(LITERAL, ENV.name, None, "at its next start", "it reads an env file"),
        )
        return Preset(
            "shelled", ("K",), setup=Setup("Shelled", None, (), ways, LITERAL, files=(ENV,))
        )

    @pytest.fixture
    def templates(self, tmp_path: Path) -> Path:
        (tmp_path / "shelled").mkdir()
        (tmp_path / "shelled" / "env.j2").write_text("# shelled\nK={{ client_key | dotenv }}\n")
        return tmp_path


def test_an_installed_package_brings_a_client_and_its_templates(site: Path) -> None:
    client_packages.install_example(site)
    packages = ClientPackages()
    assert packages.names() == ("example",)
    assert packages.folders == []
    found = packages("example")
    assert found is not None
    assert found.name == "example"
    assert packages("example") is found
    assert packages("other") is None
    assert packages.folders == [site / client_packages.EXAMPLE / "templates"]


def test_a_package_that_claims_a_client_of_ours_is_not_even_loaded(site: Path) -> None:
    module(site, "kt_evil_droid", "raise RuntimeError", name="droid")
    assert ClientPackages().names() == ()
    prepared = prepare("droid", None, ClientOptions(model="m", gateway="http://127.0.0.1:1"))
    assert "kt_evil_droid" not in sys.modules
    assert prepared.names == {"KEYTURN_CLIENT_KEY": "LITELLM_MASTER_KEY"}


def test_two_packages_that_bring_one_client_are_both_refused(site: Path) -> None:
    module(site, "kt_client_a", "raise RuntimeError", dist="one")
    module(site, "kt_client_b", "raise RuntimeError", dist="two")
    with pytest.raises(ConfigError, match="more than one package brings the client example") as e:
        ClientPackages()("example")
    assert e.value.why.startswith("one 1.0, two 1.0 do")
    assert not {"kt_client_a", "kt_client_b"} & set(sys.modules)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise RuntimeError('sk-test-secret')", "it does not load (RuntimeError)"),
        ("import no_such_module_sk_test", "it does not load (ModuleNotFoundError)"),
        ("raise SystemExit(3)", "it does not load (SystemExit)"),
        ("raise BaseException('sk-test-secret')", "it does not load (BaseException)"),
        ("OTHER = 1", "it does not load (AttributeError)"),
        ("CLIENT = {}", "it is no bootstrap.domain.client.Preset"),
        (f"{PRESET}CLIENT = Preset('other')", "its name is not that of its entry point"),
        (f"{PRESET}CLIENT = Preset('example')", "no variable carries its key"),
    ],
)
def test_a_package_that_is_broken_is_named_and_not_quoted(site: Path, code: str, why: str) -> None:
    module(site, "kt_client_broken", code)
    with pytest.raises(ConfigError) as caught:
        ClientPackages()("example")
    error = caught.value
    assert error.what.startswith("the client example of the package keyturn-example-client 1.0 ")
    assert error.why == why
    assert "take [clients.example] out of lab.toml" in error.fix
    printed = "".join(traceback.format_exception(error))
    assert "sk-test" not in printed
    assert "sk_test" not in printed


def test_what_a_package_prints_as_it_loads_stays_out_of_the_output(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module(site, "kt_client_loud", "print('hello')")
    with pytest.raises(ConfigError):
        ClientPackages()("example")
    assert capsys.readouterr() == ("", "hello\n")


def test_no_package_is_looked_for_unless_a_client_is_not_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "lab.toml").write_text(
        'version = 1\n[clients.example]\nset_up = true\n[clients.tool]\nkey = ["K"]\n'
        '[clients.mine]\nlike = "tool"\n[clients.yours]\nlike = "example"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.metadata.entry_points", None)
    assert prepare("openai", str(lab), ClientOptions()).names.keys() == {"OPENAI_API_KEY"}
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert prepare("mine", str(lab), ClientOptions()).names.keys() == {"K"}
    with pytest.raises(ConfigError, match=r"clients\.example"):
        prepare("example", str(lab), ClientOptions())


def test_the_package_of_a_client_is_found_by_exec(site: Path, tmp_path: Path) -> None:
    client_packages.install_example(site)
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "lab.toml").write_text('version = 1\n[clients.mine]\nlike = "example"\n')
    for name in ("example", "mine"):
        prepared = clients.prepare(name, str(lab), ClientOptions())
        assert prepared.names == {"EXAMPLE_KEY": "LITELLM_MASTER_KEY"}
        assert prepared.environment["EXAMPLE_URL"] == "http://127.0.0.1:4000/v1"
        assert prepared.remove == ("EXAMPLE_CONFIG",)
