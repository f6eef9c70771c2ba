"""How results are shown: lines for people."""

from pathlib import Path, PurePath

import pytest

from bootstrap.cli import show
from bootstrap.cli.session import Session
from bootstrap.workflows.apply import apply
from bootstrap.workflows.bootstrap import Bootstrapped
from bootstrap.workflows.init import Made
from bootstrap.workflows.planning import make_plan
from support.fakes import LAB, MASTER, FakeTools, make_tools, with_lab


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return make_tools(tmp_path)


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    return capsys


def test_a_plan_has_one_line_for_each_target_and_the_difference_below(
    tools: FakeTools, out: pytest.CaptureFixture[str]
) -> None:
    apply(tools)
    changed = with_lab(tools, LAB + "literal_keys = true\n")
    plan = make_plan(changed)
    show.show_plan(Session(), changed, plan, details=True)
    said = out.readouterr().out
    assert "update   ~/.config/litellm/config.yaml  out of date\n" in said
    assert "          +" in said
    assert "restart  litellm.service (systemd)  config.yaml changed\n" in said
    assert MASTER not in said
    show.show_plan(Session(), changed, plan, details=False)
    assert "          +" not in out.readouterr().out


def test_an_installation_a_backup_and_the_proof_are_told(
    tools: FakeTools, out: pytest.CaptureFixture[str]
) -> None:
    apply(tools)
    Path(tools.places.litellm / "config.yaml").write_text("# mine\n")
    tools.installer.present = False
    done = apply(tools, force=True)
    show.show_applied(Session(), tools, done)
    said = out.readouterr().out
    assert "installed ~/.config/litellm/venv/bin/litellm\n" in said
    assert "backup   ~/.config/litellm/config.yaml is kept as" in said
    assert "right key accepted; 1 model\n" in said
    data = show.applied_data(tools, done)
    assert data["installed"] is True
    assert [Path(row["path"]).name for row in data["backups"]] == ["config.yaml"]


def test_what_a_bootstrap_without_a_start_did(
    tools: FakeTools, out: pytest.CaptureFixture[str]
) -> None:
    made = Made(
        tools.lab.root, created=[(PurePath("/l/.envrc"), "direnv")], identity=PurePath("/k")
    )
    done = Bootstrapped(
        tools, made, apply(tools, start=False), tools.program, installed=True, registered=True
    )
    show.show_bootstrapped(Session(), done)
    said = out.readouterr().out
    order = ["created  /l/.envrc  direnv", "BACK UP /k now", "installed ~"]
    order += ["next     keyturn apply, which", "default  ", "Next\n"]
    assert sorted(order, key=said.index) == order
    assert "proven" not in said
    data = show.bootstrapped_data(done)
    assert data["installed"] is True
    assert data["init"]["new_identity"] == "/k"


def test_nothing_new_is_one_line_and_the_proof(
    tools: FakeTools, out: pytest.CaptureFixture[str]
) -> None:
    apply(tools)
    done = Bootstrapped(
        tools, Made(tools.lab.root), apply(tools), tools.program, installed=False, registered=False
    )
    show.show_bootstrapped(Session(), done)
    first, second = out.readouterr().out.splitlines()
    assert first == "Nothing to change."
    assert second.startswith("proven   ")


@pytest.mark.parametrize(
    ("path", "shown"), [("/h/me/a", "~/a"), ("/h/me", "~"), ("/h/mean", "/h/mean"), ("/", "/")]
)
def test_the_home_folder_is_a_tilde(path: str, shown: str) -> None:
    assert show.short(PurePath(path), PurePath("/h/me")) == shown
