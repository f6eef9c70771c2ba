"""`keyturn doctor` and `keyturn explain`, whatever state the machine is in."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters import doctor_secrets
from bootstrap.adapters.gathering import Late, Observer, Scene, gather
from bootstrap.cli import doctor_show
from bootstrap.domain.doctor.check import Check, Group
from bootstrap.domain.doctor.facts import Problem
from bootstrap.domain.doctor.finding import Code, CommandFix, FileFix
from bootstrap.domain.doctor.groups import codes, in_document
from bootstrap.domain.lab import Lab
from bootstrap.wiring import doctor as wired
from bootstrap.workflows import doctor as workflow
from support.doctor import KEY, OLD_KEY, Patient, droid_entry, patient
from support.homes import REPOSITORY, environment

pytestmark = pytest.mark.integration
Tasks = Mapping[str, Callable[[], object]]


@pytest.fixture
def well(home: Path) -> Patient:
    return patient(home)


def test_a_missing_lab_is_an_error_and_stops_nothing_else(well: Patient) -> None:
    (well.lab / "lab.toml").unlink()
    done = well.run("doctor", "--json", "KT0")
    finding = done.json["findings"][0]
    assert (done.code, finding["code"], finding["severity"]) == (1, "KT001", "error")
    assert finding["mend"]
    assert {row["code"] for row in well.all_findings()} == set(codes())


def test_a_broken_lab_file_is_an_error_that_names_the_place(well: Patient) -> None:
    (well.lab / "lab.toml").write_text('version = 1\n[gateway]\nprt = 4000\napi = "sk-test-odd"\n')
    (finding,) = well.findings("KT0")["KT001"]
    assert "gateway.prt" in finding["seen"]
    assert "sk-test-odd" not in "".join(well.said)


def test_a_key_that_no_source_holds_is_an_error(well: Patient) -> None:
    (well.lab / "key").unlink()
    (finding,) = well.findings("KT0")["KT002"]
    assert finding["severity"] == "error"
    assert well.run("doctor", "KT002").code == 1


def test_a_well_lab_gets_a_count_of_what_is_well(well: Patient) -> None:
    done = well.run("doctor", "KT0")
    assert (done.code, done.out.splitlines()) == (0, ["The lab", "  3 ok"])
    assert "KT001" in well.run("doctor", "KT0", "-v").out
    assert well.run("doctor", "KT0", "-q").out == ""


@pytest.mark.parametrize("asked", [("--fix",), ("--undo",)])
def test_a_termination_signal_ends_a_fix_as_ctrl_c_does(
    well: Patient, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    def killed(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(workflow, "fix", killed)
    monkeypatch.setattr(workflow, "undo", killed)
    done = well.run("doctor", *asked)
    assert (done.code, done.err) == (
        128 + signal.SIGTERM,
        "interrupted; every file is either as before or complete\n",
    )


def test_nothing_to_mend_and_nothing_to_undo_are_said(well: Patient) -> None:
    assert "Nothing that --fix could mend" in well.run("doctor", "--fix", "KT0").out
    undone = well.run("doctor", "--undo")
    assert (undone.code, undone.error["error"]) == (2, "there is nothing to undo")


@pytest.mark.parametrize(
    "words", [["KT999"], ["droid"], ["--undo", "--fix"], ["--dry-run"], ["--undo", "KT1"]]
)
def test_words_that_do_not_fit_are_a_usage_error(well: Patient, words: list[str]) -> None:
    assert well.run("doctor", *words).code == 2


def test_every_code_is_explained_at_length(well: Patient) -> None:
    listed = well.run("explain").out
    for code in codes().values():
        assert f"{code.id}  {code.title}" in listed
        assert min(len(code.more), 3 * len(code.why)) > 60, code.id
        assert code.mend, code.id
    shown = well.run("explain", "kt001").out
    assert shown.startswith("KT001: ")
    assert "Mend it: " in shown
    assert json.loads(well.run("explain", "KT001", "--json").out)["code"] == "KT001"


def test_every_command_that_mends_something_is_one(well: Patient) -> None:
    known = set(re.findall(r"^  ([a-z-]+) ", well.run("--help").out, re.MULTILINE))
    named = {c for code in codes().values() for c in re.findall(r"keyturn ([a-z-]+)", code.mend)}
    assert named <= known


def test_a_code_that_is_explained_must_be_one(well: Patient) -> None:
    assert well.run("explain", "KT0").code == 2
    assert well.run("explain", "KT998").code == 2


def test_the_list_in_the_documents_is_the_one_that_explain_prints() -> None:
    page = (REPOSITORY / "docs" / "doctor.md").read_text()
    assert page == in_document(page), "run scripts/doctor-docs.sh"


def test_a_fix_looks_again_without_waiting_again_for_what_hangs(
    well: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    droid = wired.OBSERVERS["droid"]

    def counted(name: str, look: Observer) -> Observer:
        def counting(scene: Scene) -> object:
            asked.append(name)
            return look(scene)

        return counting

    def hanging(tasks: Tasks, limit_s: float) -> tuple[dict[str, object], dict[str, Problem]]:
        given, problems = gather({n: t for n, t in tasks.items() if n != "others"}, 60.0)
        if "others" not in tasks:
            return given, problems
        asked.append("others")
        return given, {**problems, "others": Late("no answer")}

    observers = {"droid": counted("droid", droid), "answers": counted("answers", lambda _: None)}
    monkeypatch.setattr(wired, "OBSERVERS", {**observers, "others": droid})
    monkeypatch.setattr(wired, "gather", hanging)
    well.settings(droid_entry(provider="litellm"))
    document = well.fix("KT105")
    assert document["changes"][0]["files"]
    assert "KT105" not in {row["code"] for row in document["bad"]}
    assert sorted(asked) == ["answers", "droid", "droid", "others"]


def test_what_others_answer_is_asked_again_where_another_key_counts(
    well: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    observers: dict[str, Observer] = {}

    def served(scene: Scene) -> object:
        key = scene.key()
        asked.append(key.reveal() if key else "")
        return None

    observers["served"] = served
    monkeypatch.setattr(wired, "OBSERVERS", observers)
    with well.inside():
        look = wired.tools(None).observe
        look()
        look()
        well.write_lab(key=OLD_KEY)
        look()
        (well.lab / "key").unlink()
        observers["served"] = lambda scene: asked.append("without")
        assert look().problems["key"].seen.startswith("no source holds")
        look()
    assert asked == [KEY, OLD_KEY, "without"]


def test_what_others_answer_is_asked_again_where_the_lab_was_edited(
    well: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def ask(scene: Scene) -> object:
        asked.append(len(scene.lab.models) if scene.lab else 0)
        return None

    monkeypatch.setattr(wired, "OBSERVERS", {"backends": ask})
    with well.inside():
        look = wired.tools(None).observe
        look()
        look()
        with (well.lab / "lab.toml").open("a") as file:
            file.write('[[models]]\nalias = "later"\nbackend = "echo"\n')
        look()
    assert asked[1:] == [asked[0] + 1]


def test_sources_that_hang_are_not_asked_for_the_key_again(
    well: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, asked = threading.Event(), list[str]()

    def ask(lab: Lab, name: str) -> None:
        asked.append(name)
        hold.wait()

    monkeypatch.setattr(wired, "OBSERVERS", {})
    monkeypatch.setattr(wired, "_LIMIT_S", 0.1)
    monkeypatch.setattr(wired, "_ask", ask)
    with well.inside():
        look = wired.tools(None).observe
        first, second = look(), look()
    hold.set()
    assert first.problems["key"].seen == second.problems["key"].seen == "no answer within 0.1 s"
    assert asked == ["LITELLM_MASTER_KEY"]


def test_no_key_is_printed(well: Patient) -> None:
    well.run("doctor", "-v")
    well.run("doctor", "--json")
    assert KEY not in "".join(well.said)


@pytest.fixture
def sick(well: Patient) -> Patient:
    """A home in which droid's settings hold yesterday's key."""
    well.settings(droid_entry(apiKey=OLD_KEY))
    return well


def test_a_fix_is_shown_made_and_taken_back(sick: Patient) -> None:
    path = sick.home / ".factory/settings.json"
    before = path.read_bytes()
    found = sick.run("doctor", "KT107")
    assert (found.code, "mend: keyturn doctor --fix KT107, or" in found.out) == (1, True)
    dry = sick.run("doctor", "--fix", "--dry-run", "KT107")
    assert (dry.code, path.read_bytes()) == (0, before)
    assert "mend    KT107 ~/.factory/settings.json  the key in force" in dry.out
    assert "Nothing" in sick.run("doctor", "--fix", "--dry-run", "KT0").out
    done = sick.run("doctor", "--fix", "KT107")
    assert (done.code, path.read_bytes() != before) == (0, True)
    assert "To take it back: keyturn doctor --undo" in done.out
    undone = sick.run("doctor", "--undo")
    assert (undone.code, path.read_bytes()) == (0, before)
    assert "undone  ~/.factory/settings.json" in undone.out
    said = "".join(sick.said)
    assert KEY not in said
    assert OLD_KEY not in said


def test_quiet_says_nothing_but_errors(sick: Patient) -> None:
    done = sick.run("doctor", "-q", "KT1")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: KT107 ~/.factory/settings.json: ")
    assert done.err.splitlines()[1] == "fix:   keyturn doctor --fix KT107, or keyturn apply --force"
    assert sick.run("doctor", "-q", "KT0").err == ""


def test_each_step_is_one_document_with_json(sick: Patient) -> None:
    dry = sick.run("doctor", "--fix", "--dry-run", "--json").json
    assert dry["dry_run"]
    assert dry["changes"][0]["files"][0]["codes"] == ["KT107"]
    assert dry["changes"][0]["files"][0]["diff"]
    done = sick.run("doctor", "--fix", "--json")
    assert (done.code, done.json["failed"]) == (0, [])
    assert [row["severity"] for row in done.json["findings"] if row["code"] == "KT107"] == ["ok"]
    undone = sick.run("doctor", "--undo", "--json").json
    assert undone == {"undone": [str(sick.home / ".factory/settings.json")], "stays": []}
    listed = sick.run("explain", "--json").json
    assert {row["code"] for row in listed} == set(codes())


def test_what_is_mended_on_request_says_so(well: Patient) -> None:
    well.settings(droid_entry())
    well.write(".factory/sessions/-x/a.settings.json", {"archivedAt": "2026-01-01T00:00:00Z"})
    assert "(only when asked by its code)" in well.run("doctor", "KT123").out


def test_a_command_and_a_refusal_are_shown_too(
    well: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = well.write("bin/tool", '#!/bin/sh\necho "$@" >>"$0.log"\ntest "$1" != bad\n', 0o755)
    good = CommandFix((str(program), "good"), "does good", undo=(str(program), "back"))
    forever = CommandFix((str(program), "bad"), "does bad")
    gone = CommandFix((str(program) + "-gone",), "is not there")
    odd = FileFix(PurePath(well.lab), "a folder", lambda data, _: b"x")
    code = Code("KT901", "a thing", "It matters.", "mend it", "At length.")
    findings = [code.error("one", fix=[good, forever, gone]), code.error("two", fix=odd)]
    group = Group("KT9", "Tests", (Check(code, lambda _: findings),))
    monkeypatch.setattr(wired, "GROUPS", (group,))
    monkeypatch.setattr(doctor_show, "GROUPS", (group,))
    monkeypatch.setattr(doctor_show, "codes", lambda: {"KT901": code})
    done = well.run("doctor", "--fix")
    assert done.code == 1
    assert f"run     KT901 does good\n        $ {program} good" in done.out
    assert f"left    KT901 {well.lab}: " in done.out
    assert "failed: does bad\nfailed: is not there\n" in done.out
    undone = well.run("doctor", "--undo")
    assert "stays   does bad" in undone.out
    assert (well.home / "bin/tool.log").read_text() == "good\nbad\nback\n"


def test_doctor_works_where_the_folder_is_gone(well: Patient, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && exec "$2" -m bootstrap doctor KT0'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(gone), sys.executable],
        env=environment(well.home, KEYTURN_LAB=str(well.lab), PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "3 ok" in done.stdout) == (0, True), done.stderr


def test_a_lab_that_does_not_exist_is_said_and_stops_nothing(well: Patient) -> None:
    well.environment["KEYTURN_LAB"] = "/nowhere"
    assert well.run("doctor", "KT0").code == 1
    assert well.run("doctor", "--fix", "KT0").code == 1


def test_programs_that_never_answer_hide_nothing(
    well: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = well.home / "bin"
    for name in ("claude", "droid", "git"):
        well.write(f"bin/{name}", "#!/bin/sh\nexec sleep 60\n", 0o755)
    well.environment["PATH"] = f"{folder}:{well.environment['PATH']}"
    well.write_lab("[targets]\nclaude_settings = true\ndroid_key_helper = true\n")
    monkeypatch.setattr(wired, "_VERSION_S", 0.1)
    monkeypatch.setattr(doctor_secrets, "_SOURCES_S", 0.2)
    rows = well.all_findings()
    assert "KT003" not in {row["code"] for row in rows if row["severity"] != "ok"}
    judged = {row["code"] for row in rows if row["severity"] != "not applicable"}
    assert {"KT304", "KT403", "KT411", "KT571"} <= judged
