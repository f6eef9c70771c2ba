"""The installed command starts sops before Python: what it starts, and what that may not change."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support.aged_labs import AgedLabs
from support.exec_runs import KEYTURN, Ran, environment, run_exec
from support.sops_lab import REAL_SOPS, SopsLab, fake_sops
from support.waiting import until

pytestmark = pytest.mark.integration

NAME = "LITELLM_MASTER_KEY"
KEY = "sk-test-early-0123456789abcdefghij"
NEW = "sk-test-early-9876543210zyxwvutsrq"
PRINT = ("--", "sh", "-c", f"printf %s ${NAME}")


@pytest.fixture(scope="session")
def aged_labs(tmp_path_factory: pytest.TempPathFactory) -> AgedLabs:
    return AgedLabs(tmp_path_factory.mktemp("early") / "labs", {NAME: KEY}, "version = 1\n")


@pytest.fixture
def lab(home: Path, tmp_path: Path, aged_labs: AgedLabs) -> SopsLab:
    """A lab whose last run was noted; `tmp_path/runs` gets a line for each run of sops.

    The line says whether Ctrl-C is ignored there: so it is in what a shell started beside itself.
    """
    lab = aged_labs.take(tmp_path / "lab", home)
    old(lab.root / "lab.toml")
    old(lab.store)
    body = f'grep SigIgn /proc/$$/status >> {tmp_path}/runs\nexec {REAL_SOPS} "$@"'
    fake_sops(tmp_path / "sops", body)
    assert run(lab, "--", "true") == Ran(0, "", "")
    (tmp_path / "runs").unlink()
    return lab


def old(file: Path) -> None:
    """Wait until nothing of it is of this moment."""
    until(lambda: time.time() - file.stat().st_ctime > 2.1)


def run(lab: SopsLab, *words: str, **more: str) -> Ran:
    given = environment(KEYTURN_SOPS=f"{lab.root.parent}/sops", **more)
    return run_exec(*words, cwd=lab.root, env=given)


def runs(lab: SopsLab) -> list[str]:
    return (lab.root.parent / "runs").read_text().splitlines()


def by_the_shell(line: str) -> bool:
    return bool(int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1)


def note(home: Path) -> Path:
    (found,) = (home / ".cache/keyturn/ahead").rglob("note")
    return found


def test_it_is_started_once_also_from_a_folder_below_and_by_name(lab: SopsLab) -> None:
    assert run(lab, *PRINT).out == KEY
    below = lab.root / "a/b"
    below.mkdir(parents=True)
    given = environment(KEYTURN_SOPS=f"{lab.root.parent}/sops")
    assert run_exec(*PRINT, cwd=below, env=given).out == KEY
    given["KEYTURN_LAB"] = str(lab.root)
    assert run_exec(*PRINT, cwd=Path("/"), env=given).out == KEY
    assert [by_the_shell(line) for line in runs(lab)] == [True] * 3


def test_nothing_of_it_stays_with_the_program(lab: SopsLab) -> None:
    script = "ls /proc/$$/fd; ps --ppid $$ -o comm= | grep -v -e ps -e grep; env"
    lines = run(lab, "--", "sh", "-c", script).out.splitlines()
    assert lines[:3] == ["0", "1", "2"]
    assert all("=" in line for line in lines[3:]), "no process"
    names = {line.partition("=")[0] for line in lines[3:]}
    assert names <= {*os.environ, NAME, "KEYTURN_SOPS", "PWD", "_"}


def test_descriptors_of_the_caller_are_the_programs(lab: SopsLab, tmp_path: Path) -> None:
    (tmp_path / "eight").write_text("8 is here\n")
    (tmp_path / "nine").write_text("9 is here\n")
    command = f"{KEYTURN} exec -- sh -c 'cat <&8; cat <&9' 8<{tmp_path}/eight 9<{tmp_path}/nine"
    ended = subprocess.run(["sh", "-c", command], cwd=lab.root, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("8 is here\n9 is here\n", "")


def test_a_caller_without_standard_streams_gets_the_programs_status(lab: SopsLab) -> None:
    """Else a pipe to sops takes their numbers, and with --mask nothing ever closes it."""
    command = f"{KEYTURN} exec --mask -- sh -c 'exit 6' <&- >&- 2>&-"
    given = environment(KEYTURN_SOPS=f"{lab.root.parent}/sops")
    ended = subprocess.run(["sh", "-c", command], cwd=lab.root, env=given, timeout=60)
    assert ended.returncode == 6


def test_no_variable_of_the_caller_is_changed_by_the_command_itself(lab: SopsLab) -> None:
    names = "self data known bin root site version python note default early word name path"
    given = {name: f"mine-{name}" for name in names.split()}
    shown = run(lab, "--", "env", **given).out.splitlines()
    assert {f"{name}={value}" for name, value in given.items()} <= set(shown)


def test_values_of_several_lines_do_it_no_harm(lab: SopsLab) -> None:
    odd = "first\nLITELLM_X=second\n 'quoted\n$(touch /tmp/no) * \\"
    assert run(lab, "--", "sh", "-c", 'printf %s "$ODD"', ODD=odd) == Ran(0, odd, "")
    assert [by_the_shell(line) for line in runs(lab)] == [True]


def test_what_was_decrypted_for_another_note_is_not_taken(lab: SopsLab, home: Path) -> None:
    other = lab.put({NAME: NEW}, "secrets/other.enc.env")
    old(other)
    file, true_note = note(home), home / "true-note"
    # As if another run had put its note there between the shell's look at it and Python's.
    sops = Path(
        fake_sops(lab.root.parent / "sops", f'cp {true_note} {file}\nexec {REAL_SOPS} "$@"')
    )
    found = sops.stat()
    lines = file.read_text().split("\n")
    lines[3] = f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"
    true_note.write_text("\n".join(lines))
    true_note.chmod(0o600)
    file.write_text("\n".join(lines).replace("global.enc.env", "other.enc.env"))
    assert run(lab, *PRINT).out == KEY


def test_a_store_that_was_just_written_is_decrypted_as_it_is_now(lab: SopsLab) -> None:
    lab.put({NAME: NEW})
    assert run(lab, *PRINT).out == NEW


def test_a_note_that_is_not_ours_or_not_whole_starts_nothing_by_itself(
    lab: SopsLab, home: Path
) -> None:
    file = note(home)
    evil = fake_sops(lab.root.parent / "evil", f"touch {lab.root.parent}/was-run")
    text = file.read_text().replace(f"{lab.root.parent}/sops\ndecrypt", f"{evil}\ndecrypt")
    assert evil in text
    (home / "planted").write_text(text)
    file.unlink()
    file.symlink_to(home / "planted")
    assert run(lab, *PRINT) == Ran(0, KEY, "")
    for part in ("", text[:20], text.partition(evil)[0]):
        file.unlink(missing_ok=True)
        file.write_text(part)
        assert run(lab, *PRINT) == Ran(0, KEY, "")
    with suppress(PermissionError):  # only root can give a file away
        os.chown(file, 65534, -1)
        file.write_text(text)
        assert run(lab, *PRINT) == Ran(0, KEY, "")
    file.unlink()
    file.mkdir()
    assert run(lab, *PRINT) == Ran(0, KEY, "")
    assert not (lab.root.parent / "was-run").exists()


def test_a_pipe_in_place_of_the_registration_is_not_waited_for(
    lab: SopsLab, home: Path, tmp_path: Path
) -> None:
    registration = home / ".config/keyturn/default-lab"
    registration.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(registration)
    ran = run_exec(*PRINT, cwd=tmp_path, env=environment())
    assert ran.status == 125
    assert f"{registration} is not a file" in ran.err


def test_in_a_ci_job_whose_cache_may_be_anybodys_python_alone_decides(lab: SopsLab) -> None:
    assert run(lab, *PRINT, CI="true").out == KEY
    assert [by_the_shell(line) for line in runs(lab)] == [False]


def test_other_words_and_another_path_start_nothing_that_is_not_asked_for(lab: SopsLab) -> None:
    asked = ("--secret", "OTHER=env:GIVEN", "--", "true")
    assert run(lab, *asked, GIVEN="x") == Ran(0, "", "")
    assert not (lab.root.parent / "runs").exists()
    assert run(lab, *PRINT, PATH=f"/none:{os.environ['PATH']}").out == KEY
    assert [by_the_shell(line) for line in runs(lab)] == [False]


def test_a_pipe_in_the_place_of_the_default_lab_is_not_waited_for(
    tmp_path: Path, home: Path
) -> None:
    (home / ".config/keyturn").mkdir(parents=True)
    os.mkfifo(home / ".config/keyturn/default-lab")
    ran = run_exec("--", "true", cwd=tmp_path)
    assert (ran.status, "default-lab is not a file" in ran.err) == (125, True)
