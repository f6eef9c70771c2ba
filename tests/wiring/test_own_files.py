"""`[[files]]` cannot overwrite what keyturn works with, whatever way the path takes."""

from pathlib import Path, PurePath
from typing import cast

import pytest

from bootstrap.domain.client import LITERAL, ClientFile, Preset, Setup, Way
from bootstrap.domain.errors import ConfigError
from bootstrap.wiring import found_lab
from bootstrap.wiring.client_packages import ClientPackages

ROW = '[[files]]\npath = "{}"\ntemplate = "tool.env.j2"\n'
SECRET = '[secrets.TOKEN]\nsources = ["sops:more/team.enc.json#TOKEN", "file:~/token"]\n'


@pytest.fixture
def root(tmp_path: Path, home: Path) -> Path:
    """A lab's folder."""
    found = tmp_path / "lab"
    (found / "secrets").mkdir(parents=True)
    (found / "secrets/global.enc.env").touch()
    return found


def refusal(root: Path, *paths: str) -> ConfigError:
    """Return how the lab with such files is refused."""
    text = "version = 1\n" + "".join(ROW.format(path) for path in paths) + SECRET
    (root / "lab.toml").write_text(text)
    with pytest.raises(ConfigError, match=rf"lab\.toml: files\[{len(paths) - 1}\]\.path") as found:
        found_lab.load(PurePath(root))
    assert "name a file that nothing else uses" in found.value.fix
    return found.value


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("{root}/lab.toml", "the lab file itself"),
        ("{root}/.sops.yaml", "who can decrypt"),
        ("{root}/../.sops.yaml", "without '.', '..'"),
        ("{root}", "the lab file itself"),
        ("~/elsewhere/.sops.yaml", "who can decrypt"),
        ("{root}/templates/tool.env.j2", "templates"),
        ("{root}/secrets/global.enc.env", "where LITELLM_MASTER_KEY is read from"),
        ("{root}/more/team.enc.json", "where TOKEN is read from"),
        ("~/token", "where TOKEN is read from"),
        ("~/.config/sops/age/keys.txt", "the identity"),
        ("{root}/other-identity", "the identity"),
        ("~/.local/state/keyturn/lab-1/state.json", "keyturn keeps its own files"),
        ("~/.local/state/keyturn", "keyturn keeps its own files"),
        ("~/.cache/keyturn/x", "keyturn keeps its own files"),
        ("~/.config/keyturn/default-lab", "the default lab"),
        ("~/.config/litellm/venv/bin/litellm", "environment"),
        ("~/.factory/settings.json", "writes anyway (droid-settings)"),
        ("~/.config/systemd/user/litellm.service", "writes anyway (unit)"),
    ],
)
def test_what_keyturn_works_with_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, path: str, why: str
) -> None:
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(root / "other-identity"))
    if ".." in path:
        (root / "lab.toml").write_text("version = 1\n" + ROW.format(path.format(root=root)))
        with pytest.raises(ConfigError) as found:
            found_lab.load(PurePath(root))
        assert why in found.value.why
    else:
        assert why in refusal(root, path.format(root=root)).why


def test_a_symlink_hides_nothing(root: Path, home: Path) -> None:
    (home / "link").symlink_to(root / "secrets/global.enc.env")
    (home / "lab").symlink_to(root)
    (home / "loop").symlink_to(home / "loop")
    for path in ("~/link", "~/lab/secrets/global.enc.env"):
        assert f"it leads to {root}/secrets/global.enc.env" in refusal(root, path).why
    assert "it leads to" in refusal(root, "~/tool.env", f"{home}/lab/lab.toml").why


def test_two_files_are_not_the_same_one(root: Path, home: Path) -> None:
    (home / "again").symlink_to(home)
    assert "that of files[0]" in refusal(root, "~/tool.env", "~/again/tool.env").why


def test_no_file_stands_below_another(root: Path) -> None:
    assert "that of files[0], too" in refusal(root, "~/tool", "~/tool/env").why
    assert "that of files[0], too" in refusal(root, "~/tool/env", "~/tool").why
    assert "the lab file itself" in refusal(root, f"{root}/lab.toml/x").why


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("sops/age/keys.txt", "the identity that opens the store"),
        ("keyturn/default-lab", "what names the default lab"),
        ("litellm/venv/bin/python", "the gateway's own environment"),
    ],
)
def test_a_client_of_a_package_cannot_either(root: Path, path: str, why: str) -> None:
    file = ClientFile("zed-file", base="config", path=path, template="zed/f.j2", check="toml")
    way = Way(LITERAL, target="zed-file", switch=None, learns="", why="")
    zed = Preset("zed", ("ZED_KEY",), setup=Setup("Zed", "zed", (), (way,), LITERAL, files=(file,)))
    (root / "lab.toml").write_text("version = 1\n[clients.zed]\nset_up = true\n")
    with pytest.raises(ConfigError, match="the client zed of a package cannot be set up") as found:
        found_lab.load(PurePath(root), packages=cast("ClientPackages", {"zed": zed}.get))
    assert found.value.why.endswith(f"is {why}")
    assert "remove [clients.zed]" in found.value.fix


def test_every_other_place_is_the_users_own(root: Path) -> None:
    (root / "lab.toml").write_text("version = 1\n" + ROW.format("~/.config/litellm/tool.env"))
    assert len(found_lab.load(PurePath(root)).files) == 1
