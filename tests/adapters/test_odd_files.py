"""A pipe, a device or a folder where a file should be: nothing waits for it, and it is named."""

import os
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.age import identity_file
from bootstrap.adapters.dotenv import read_env_file, secret_in
from bootstrap.adapters.find_lab import find_lab, read_lab
from bootstrap.adapters.journal import FileJournal
from bootstrap.adapters.litellm_install import STAMP, LitellmInstaller
from bootstrap.adapters.lock import is_held
from bootstrap.adapters.machine import TemplateFolder, places
from bootstrap.adapters.openwebui import stored_connections
from bootstrap.adapters.paths import xdg_folder
from bootstrap.adapters.process import scrubbed
from bootstrap.adapters.sops import SopsProvider
from bootstrap.adapters.sops_environment import default_identity, odd_identity, sops_environment
from bootstrap.adapters.supervisor_child import CannotStart, Spec
from bootstrap.adapters.supervisor_log import last_lines
from bootstrap.adapters.supervisor_state import STATUS_FILE, read_state
from bootstrap.domain.errors import (
    ConfigError,
    ProviderUnavailableError,
    RecoveryNeededError,
    StoreDamagedError,
    TargetError,
)
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from support.sops_lab import PLACE, SopsLab, fake_sops, make_lab

KEY = "sk-test-odd-0123456789"
REF = SecretRef("sops", PLACE, "KEY")


def device(path: Path) -> None:
    """Put something there that gives bytes without end."""
    path.symlink_to("/dev/zero")


ODD = pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, device], ids=["pipe", "folder", "dev"])
Make = Callable[[Path], None]


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> SopsLab:
    """A lab whose store holds a key; the sops that it finds must not be started."""
    made = make_lab(tmp_path / "lab", home)
    made.put({"KEY": KEY})
    return made


def waiting_sops(tmp_path: Path) -> str:
    return fake_sops(tmp_path / "sops", f"touch {tmp_path}/started; exec cat")


@ODD
@pytest.mark.parametrize("variable", ["", "SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE"])
@pytest.mark.integration
def test_an_odd_identity_is_refused_before_sops_could_wait_for_it(
    lab: SopsLab, tmp_path: Path, make: Make, variable: str
) -> None:
    odd = tmp_path / "odd" if variable else lab.identity.path
    odd.unlink(missing_ok=True)
    make(odd)
    link = tmp_path / "link"
    link.symlink_to(odd)
    named = {variable: str(link)} if variable else {}
    environ = {**os.environ, **named, "KEYTURN_SOPS": waiting_sops(tmp_path)}
    store = SopsProvider(PurePath(lab.root), environ)
    for use in (lambda: store.read(REF), lambda: store.write(REF, Secret("sk-test-next"))):
        with pytest.raises(ProviderUnavailableError, match="is not a regular file") as refused:
            use()
        assert str(link if variable else odd) in refused.value.why
    assert not (tmp_path / "started").exists()


@ODD
@pytest.mark.integration
def test_odd_rules_are_refused_before_sops_could_wait_for_them(
    lab: SopsLab, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = lab.root / ".sops.yaml"
    rules.rename(tmp_path / "good")
    make(rules)
    waiting = {"KEYTURN_SOPS": waiting_sops(tmp_path)}
    monkeypatch.chdir(lab.root)
    for named in ({}, {"SOPS_CONFIG": ".sops.yaml"}):
        store = SopsProvider(PurePath(lab.root), {**os.environ, **waiting, **named})
        with pytest.raises(ProviderUnavailableError, match=r"\.sops\.yaml is not a regular file"):
            store.create("secrets/more.enc.env", {"KEY": Secret(KEY)})
    assert not (tmp_path / "started").exists()
    assert SopsProvider(PurePath(lab.root)).read(REF).reveal() == KEY  # needs no rules


@ODD
def test_an_odd_template_is_named(tmp_path: Path, make: Make) -> None:
    (tmp_path / "templates").mkdir()
    make(tmp_path / "templates/tool.env.j2")
    with pytest.raises(ConfigError, match=r"templates/tool\.env\.j2 cannot be read"):
        TemplateFolder(tmp_path).text("tool.env.j2")


@ODD
def test_an_odd_default_lab_is_named(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "default-lab")
    with pytest.raises(ConfigError, match="default-lab is not a file"):
        find_lab(None, str(tmp_path / "default-lab"))


@ODD
def test_an_odd_env_file_holds_no_secret(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "litellm.env")
    assert secret_in(tmp_path / "litellm.env", "KEY") is None


@ODD
def test_odd_connections_of_a_client_are_not_waited_for(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "webui.db")
    assert stored_connections(tmp_path / "webui.db").problem


def test_links_that_lead_to_themselves_are_named(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(TargetError, match="loop") as refused:
        read_env_file(loop)
    assert refused.value.why == "too many levels of symbolic links"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_odd_files_among_keyturns_own_are_damaged_ones(tmp_path: Path, make: Make) -> None:
    for name in ("rotation.journal", STATUS_FILE, "gateway.log", "service.json", "venv/" + STAMP):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make(tmp_path / name)
    with pytest.raises(RecoveryNeededError, match="the journal"):
        FileJournal(tmp_path).records()
    assert read_state(tmp_path / STATUS_FILE) is None
    make(tmp_path / "lock")
    assert not is_held(tmp_path)
    assert last_lines(tmp_path / "gateway.log", 9) == []
    assert LitellmInstaller(tmp_path / "venv", "1.0", None).installed() is None
    with pytest.raises(CannotStart, match="missing or malformed"):
        Spec.read(tmp_path / "service.json")


def test_relative_xdg_folders_count_nowhere(tmp_path: Path) -> None:
    void = {"HOME": "/h", "XDG_CONFIG_HOME": "conf", "XDG_STATE_HOME": "", "XDG_CACHE_HOME": "/c"}
    assert xdg_folder(void, "XDG_CONFIG_HOME") == ""
    assert places(void).config == PurePath("/h/.config")
    assert default_identity(void) == str(identity_file(void)) == "/h/.config/sops/age/keys.txt"
    passed = {"HOME": "/h", "XDG_CACHE_HOME": "/c"}
    assert scrubbed(void) == passed
    assert sops_environment(void).items() >= passed.items()
    assert "XDG_CONFIG_HOME" not in sops_environment(void)


@pytest.mark.integration
def test_with_a_relative_config_home_sops_finds_the_identity_that_keyturn_made(
    lab: SopsLab,
) -> None:
    environ = {**os.environ, "XDG_CONFIG_HOME": "conf"}
    assert odd_identity(environ) is None
    assert SopsProvider(PurePath(lab.root), environ).read(REF).reveal() == KEY


def test_a_lab_file_or_a_store_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    for name in ("lab.toml", "secrets.enc.env"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 1 << 40)
    with pytest.raises(ConfigError, match=r"lab\.toml is too big"):
        read_lab(str(tmp_path))
    with pytest.raises(StoreDamagedError, match="cannot read") as refused:
        SopsProvider(tmp_path).read(SecretRef("sops", "secrets.enc.env", "KEY"))
    assert refused.value.why == "it is bigger than 64 MiB"
