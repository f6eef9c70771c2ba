"""Where `keyturn exec` takes secrets from: the store, plug-ins, the shell; and what it masks."""

import importlib.metadata
import posix
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import pytest

from bootstrap.adapters import become, exec_cache, keyring
from bootstrap.adapters.environ import EnvironProvider
from bootstrap.cli.app import run
from bootstrap.cli.exec_command import run_exec
from bootstrap.domain.errors import ConfigError, ProviderUnavailableError, SecretNotFoundError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import SecretSpec
from bootstrap.wiring import execution, masked
from bootstrap.wiring.execution import ExecOptions
from bootstrap.wiring.providers import Providers
from bootstrap.workflows.resolve import Resolver
from support.sops_lab import SopsLab, make_lab

NAME = "LITELLM_MASTER_KEY"
KEY = "sk-test-sources-0123456789"
OTHER = "sk-test-sources-9876543210"


class Became(Exception):
    """Instead of the process, this is replaced."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment with which the program would have been started."""
    seen: dict[str, str] = {}

    def execve(place: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        seen.update(environment)
        raise Became

    monkeypatch.setattr(posix, "execve", execve)
    monkeypatch.setattr(become, "restore_signals", lambda: None)
    monkeypatch.setattr(execution, "end_on_signals", lambda: None)
    monkeypatch.setattr(exec_cache, "_RECENT_NS", -(10**15))
    return seen


@pytest.fixture
def lab(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SopsLab:
    lab = make_lab(tmp_path / "lab", home)
    lab.put({NAME: KEY, f"{NAME}_KEYTURN_ROTATION": OTHER})
    (lab.root / "lab.toml").write_text("version = 1\n")
    monkeypatch.chdir(lab.root)
    return lab


@pytest.mark.integration
@pytest.mark.usefixtures("lab")
def test_the_store_wins_over_the_shell_and_says_so_unless_asked_not_to(
    became: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(NAME, OTHER)
    for _ in range(2):  # the second time from what was remembered
        assert run_exec(["sh"]) == 125
        assert became[NAME] == KEY
        said = capsys.readouterr().err
        assert said.startswith(f"warning: {NAME} in this shell differs from sops:")
    assert run_exec(["--quiet", "sh"]) == 125
    assert "warning" not in capsys.readouterr().err


def test_a_keyring_that_does_not_answer_is_named_with_what_is_used_instead(
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    became: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def hangs(*_: object) -> None:
        raise TimeoutError

    sources = f"keyring:keyturn#{NAME}", "env:CI_KEY"
    text = f"version = 1\n[secrets.{NAME}]\nsources = {[*sources]}\n"
    (tmp_path / "lab.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI_KEY", KEY)
    monkeypatch.setattr(keyring, "look_up", hangs)
    line = f"warning: {sources[0]} did not answer in time, so {sources[1]} is used\n"
    assert run_exec(["sh"]) == 125
    assert became[NAME] == KEY
    assert capsys.readouterr().err.startswith(line)
    assert run_exec(["-q", "sh"]) == 125
    assert line not in capsys.readouterr().err
    assert run(["get", NAME]) == 0
    assert capsys.readouterr().err == line


@pytest.mark.integration
@pytest.mark.usefixtures("lab", "became")
def test_a_masked_run_knows_both_keys_of_a_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run_masked(streams: object, forms: dict[bytes, bytes], run: Callable[[], int]) -> int:
        seen["forms"] = forms
        return run()

    monkeypatch.setattr(masked, "run_masked", run_masked)
    monkeypatch.setattr(masked, "maskable", lambda environ: (1,))
    monkeypatch.setattr(masked, "supervise", lambda argv, environment, issued: 4)
    assert run_exec(["--mask", "sh"]) == 4
    assert {KEY.encode(), OTHER.encode()} <= set(seen["forms"])
    assert run_exec([f"--secret={NAME}=env:PATH", "--mask", "sh"]) == 4
    monkeypatch.setattr(masked, "maskable", lambda environ: ())
    assert run_exec(["--mask", "sh"]) == 125  # it became the program


@pytest.mark.usefixtures("became")
def test_without_a_lab_the_usual_sources_are_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    became: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("A", KEY)
    assert run_exec(["--secret", "A", "--source", "env", "sh"]) == 125
    assert became["A"] == KEY
    capsys.readouterr()
    assert run_exec(["sh"]) == 125
    assert "there is no lab here" in capsys.readouterr().err


def test_a_lab_that_passes_nothing_by_default_runs_the_program_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, became: dict[str, str]
) -> None:
    (tmp_path / "lab.toml").write_text("[exec]\nsecrets = []\n")
    monkeypatch.chdir(tmp_path)
    assert run_exec(["sh"]) == 125
    assert NAME not in became


class Locked:
    """A provider that cannot be used."""

    scheme = "keyring"

    def unavailable(self, ref: SecretRef) -> str | None:
        return "locked"

    def read(self, ref: SecretRef) -> Secret:
        raise ProviderUnavailableError("cannot", why="it is locked", fix="unlock it")


def test_the_way_to_open_a_locked_source_is_what_is_advised() -> None:
    refs = tuple(SecretRef.parse(text) for text in ("env:NONE", "keyring:a#A", "env:NOR_THIS"))
    made: dict[str, Any] = {"keyring": Locked(), "env": EnvironProvider(PurePath("/"), {})}
    resolver = Resolver({"A": SecretSpec("A", refs)}, made.__getitem__)
    with pytest.raises(SecretNotFoundError) as caught:
        resolver.resolve("A")
    assert caught.value.fix == "unlock it"
    assert "it is locked" in caught.value.why
    resolver = Resolver({"A": SecretSpec("A", refs[:1])}, made.__getitem__)
    with pytest.raises(SecretNotFoundError) as caught:
        resolver.resolve("A")
    assert "export A" in caught.value.fix


class Entry:
    """An entry point of an installed package."""

    def __init__(self, value: str, package: str, made: object = None) -> None:
        self.value = value
        self.dist = SimpleNamespace(name=package)
        self._made = made

    def load(self) -> object:
        if self._made is None:
            raise RuntimeError("sk-test-text-of-a-plug-in")
        return self._made


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def register(*entries: Entry) -> None:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: list(entries))

    return register


def test_any_other_scheme_is_a_plug_ins(install: Callable[..., None]) -> None:
    install(Entry("a:A", "one", lambda root: ("made for", root)))
    providers = Providers("/lab")
    assert providers("vault") == ("made for", "/lab")  # type: ignore[comparison-overlap]
    assert providers("vault") is providers("vault")


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((), "no installed package brings that scheme"),
        ((Entry("a:A", "one"), Entry("b:B", "two")), "one, two claim it"),
        ((Entry("a:A", "one"),), "RuntimeError"),
    ],
)
def test_a_scheme_without_a_sound_plug_in_is_explained(
    install: Callable[..., None], entries: tuple[Entry, ...], why: str
) -> None:
    install(*entries)
    with pytest.raises(ConfigError) as caught:
        Providers("/lab")("vault")
    assert why in caught.value.why
    assert "sk-test" not in str(caught.value)


def test_options_start_out_empty() -> None:
    options = ExecOptions()
    assert (options.pairs, options.keep, options.mask, options.client) == ([], [], False, None)
