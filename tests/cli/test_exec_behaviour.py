"""What `keyturn exec` promises, shown with the installed command and the real sops."""

import os
import pty
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from bootstrap.adapters.process import scrubbed
from support import homes, leaks
from support.aged_labs import AgedLabs
from support.exec_runs import KEYTURN, Ran, catches, environment, is_gone, run_exec, start_exec
from support.sops_lab import REAL_SOPS, SopsLab, fake_sops
from support.waiting import until

pytestmark = pytest.mark.integration

NAME = "LITELLM_MASTER_KEY"
KEY = "sk-test-exec-0123456789abcdefghij"
OLD = "sk-test-exec-old-9876543210zyxwvu"
PRINT = ("sh", "-c", f"printf %s ${NAME}")


@pytest.fixture(scope="session")
def aged_labs(tmp_path_factory: pytest.TempPathFactory) -> AgedLabs:
    values: dict[str, object] = {NAME: KEY, "LITELLM_SALT_KEY": "salt", "OTHER": "other-value"}
    folder = tmp_path_factory.mktemp("behaviour") / "labs"
    return AgedLabs(folder, values, "version = 1\n[secrets.OTHER]\n")


@pytest.fixture
def lab(home: Path, tmp_path: Path, aged_labs: AgedLabs) -> SopsLab:
    return aged_labs.take(tmp_path / "lab", home)


def run(lab: SopsLab, *words: str, stdin: str = "", **more: str) -> Ran:
    return run_exec(*words, cwd=lab.root, env=environment(**more), stdin=stdin)


def make_remembered(lab: SopsLab) -> None:
    """Let the lab file be old enough to be remembered, and run once."""
    until(lambda: time.time() - (lab.root / "lab.toml").stat().st_ctime > 2.1)
    assert run(lab, "--", "true").status == 0


def test_the_program_gets_what_the_lab_lists_and_nothing_else(lab: SopsLab) -> None:
    ran = run(lab, "--", "env")
    assert f"{NAME}={KEY}\n" in ran.out
    assert "salt" not in ran.out
    assert "other-value" not in ran.out
    assert ran.err == ""


def test_secrets_are_asked_for_by_name_or_by_name_and_reference(lab: SopsLab) -> None:
    words = ("--secret", "OTHER", "--secret=MINE=env:CI_KEY", "--", "env")
    ran = run(lab, *words, CI_KEY="sk-test-ci")
    assert "OTHER=other-value\n" in ran.out
    assert "MINE=sk-test-ci\n" in ran.out
    assert "CI_KEY=" not in ran.out
    assert KEY not in ran.out


def test_the_program_is_the_process_that_was_started(lab: SopsLab) -> None:
    words = ["--", "sh", "-c", "echo $$ $PPID; ps -o pgid= -p $$"]
    process = start_exec(words, cwd=lab.root, env=environment())
    out, _ = process.communicate(timeout=60)
    pid, parent, group = map(int, out.split())
    assert (pid, parent, group) == (process.pid, os.getpid(), os.getpgrp())


@pytest.mark.parametrize("options", [(), ("--mask",)])
def test_exit_status_and_standard_streams_are_the_programs_own(
    lab: SopsLab, options: tuple[str, ...]
) -> None:
    ran = run(lab, *options, "--", "sh", "-c", "cat; echo bad >&2; exit 7", stdin="given")
    assert (ran.status, ran.out, ran.err) == (7, "given", "bad\n")


@pytest.mark.parametrize("options", [(), ("--mask",)])
def test_a_program_that_a_signal_ends_ends_us_by_it(lab: SopsLab, options: tuple[str, ...]) -> None:
    assert run(lab, *options, "--", "sh", "-c", "kill -TERM $$").status == -signal.SIGTERM


@pytest.mark.parametrize("options", [(), ("--mask",)])
def test_a_signal_for_us_reaches_the_program(lab: SopsLab, options: tuple[str, ...]) -> None:
    script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    words = [*options, "--", "sh", "-c", script]
    with start_exec(words, cwd=lab.root, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == "caught\n"
    assert process.returncode == 9


@pytest.mark.parametrize("options", [(), ("--mask",)])
def test_a_signal_for_the_process_group_reaches_what_the_program_started(
    lab: SopsLab, options: tuple[str, ...]
) -> None:
    process = subprocess.Popen(
        [KEYTURN, "exec", *options, "--", "sh", "-c", "sleep 300 & echo $!; wait"],
        cwd=lab.root,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout.read() == ""
    assert process.returncode == -signal.SIGTERM
    until(lambda: is_gone(grandchild))


@pytest.mark.parametrize("options", [(), ("--mask",)])
def test_words_after_the_program_are_the_programs(lab: SopsLab, options: tuple[str, ...]) -> None:
    words = ("--secret", "--lab", "x", "--", "-h", "", "a b", "$HOME")
    ran = run(lab, *options, "printf", "%s|", *words)
    assert ran.out == "".join(f"{word}|" for word in words)


def test_what_could_decrypt_more_is_withheld(lab: SopsLab) -> None:
    given = {
        "SOPS_AGE_KEY_FILE": str(lab.identity.path),
        "DIRENV_DIFF": "eJx",
        "CREDENTIALS_DIRECTORY": "/run/credentials/x",
        "LITELLM_SALT_KEY": "old-salt",
        "PLAIN": "here",
    }
    out = run(lab, "-q", "--", "env", **given).out
    assert {name for name in given if f"{name}=" in out} == {"PLAIN"}
    kept = run(lab, "-q", "--keep", "DIRENV_DIFF", "--keep=LITELLM_SALT_KEY", "--", "env", **given)
    assert {name for name in given if f"{name}=" in kept.out} == {
        "DIRENV_DIFF",
        "LITELLM_SALT_KEY",
        "PLAIN",
    }


def test_clean_starts_from_nothing(lab: SopsLab) -> None:
    ran = run(lab, "--clean", "--keep", "KEPT", "--", "env", KEPT="1", OTHER_VARIABLE="2")
    assert set(ran.out.splitlines()) == {f"{NAME}={KEY}", "KEPT=1"}


def test_a_stale_key_in_the_shell_loses_and_is_said_in_one_line(lab: SopsLab) -> None:
    ran = run(lab, "--", *PRINT, **{NAME: OLD})
    assert ran.out == KEY
    assert ran.err.count("\n") == 1
    assert NAME in ran.err
    assert "differs" in ran.err
    assert OLD not in ran.err
    assert run(lab, "--", *PRINT, **{NAME: KEY}).err == ""
    assert run(lab, "--quiet", "--", *PRINT, **{NAME: OLD}).err == ""
    unheard = ["sh", "-c", f"{KEYTURN} exec -- sh -c 'exit 9' 2>/dev/full"]
    ended = subprocess.run(unheard, cwd=lab.root, env=environment(**{NAME: OLD}))
    assert ended.returncode == 9


def test_in_ci_a_variable_is_enough_and_nothing_is_decrypted_or_written(
    lab: SopsLab, home: Path, tmp_path: Path
) -> None:
    fake = fake_sops(tmp_path / "sops", f"touch {tmp_path}/decrypted")
    before = homes.snapshot(home), homes.snapshot(lab.root)
    given = {"CI": "true", "KEYTURN_SOPS": fake, NAME: OLD}
    ran = run(lab, "--source", "env", "--", *PRINT, **given)
    assert (ran.status, ran.out, ran.err) == (0, OLD, "")
    assert (homes.snapshot(home), homes.snapshot(lab.root)) == before
    assert not (tmp_path / "decrypted").exists()


@pytest.mark.parametrize("given", [{}, {"LC_CTYPE": "C.UTF-8"}])
def test_the_locale_is_the_one_that_was_given(tmp_path: Path, given: dict[str, str]) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CI_KEY": "sk-test-x", **given}
    out = run_exec("--secret=K=env:CI_KEY", "--", "env", cwd=tmp_path, env=env).out
    found = dict(line.split("=", 1) for line in out.splitlines())
    found.pop("PWD", None)  # the launcher is a shell script
    assert found == {"PATH": env["PATH"], "HOME": env["HOME"], "K": "sk-test-x", **given}


def test_without_a_lab_a_named_secret_is_enough(tmp_path: Path) -> None:
    ran = run_exec(
        f"--secret={NAME}=env:CI_KEY", "--", *PRINT, cwd=tmp_path, env=environment(CI_KEY=KEY)
    )
    assert (ran.status, ran.out) == (0, KEY)
    ran = run_exec("--", "true", cwd=tmp_path)
    assert ran.status == 125
    assert "no lab here" in ran.err


@pytest.mark.parametrize("again", [False, True])
def test_without_an_identity_the_program_never_starts(lab: SopsLab, again: bool) -> None:
    if again:
        make_remembered(lab)
    lab.identity.path.unlink()
    ran = run(lab, "--source", "sops", "--", "sh", "-c", "echo started")
    assert (ran.status, ran.out) == (125, "")
    what, why, fix = ran.err.splitlines()
    assert what == f"error: no source holds {NAME}"
    assert "no identity here that opens it" in why
    assert "keys.txt" in fix


def test_in_a_folder_that_is_gone_it_works_as_far_as_the_words_name_everything(
    lab: SopsLab, tmp_path: Path
) -> None:
    def run_there(*words: str) -> Ran:
        script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
        ended = subprocess.run(
            ["sh", "-c", script, "sh", KEYTURN, "exec", *words],
            cwd=tmp_path,
            env=environment(CI_KEY="sk-test-ci"),
            capture_output=True,
            text=True,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    assert run_there("--lab", str(lab.root), "--", *PRINT).out == KEY
    assert run_there(f"--secret={NAME}=env:CI_KEY", "--", *PRINT).out == "sk-test-ci"
    ran = run_there("--", *PRINT)
    assert ran.status == 125
    assert "there is no lab here" in ran.err


def test_an_empty_or_missing_secret_stops_it_before_it_starts(lab: SopsLab) -> None:
    for words in (("--secret", "NEW=env:EMPTY"), ("--secret", "NEW=env:MISSING")):
        ran = run(lab, *words, "--", "sh", "-c", "echo started", EMPTY="")
        assert (ran.status, ran.out) == (125, "")
        assert ran.err.startswith("error: no source holds NEW\ncause: ")


def test_a_store_that_was_tampered_with_never_falls_back_to_the_shells_key(lab: SopsLab) -> None:
    text = lab.store.read_text()
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(NAME)]
    lab.store.write_text("".join(lines))
    ran = run(lab, "--", "true", **{NAME: OLD})
    assert ran.status == 125
    assert "checksum" in ran.err


def test_statuses_for_programs_that_cannot_be_run(lab: SopsLab, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert run(lab, "--", "no-such-program").status == 127
    assert run(lab, "--", "/no/such/program").status == 127
    ran = run(lab, "--", str(script))
    assert ran.status == 126
    assert ran.err.endswith(f"fix:   chmod +x {script}\n")
    assert run(lab, "--", str(tmp_path)).status == 126
    assert run(lab, "--mask", "--", "no-such-program").status == 127


def test_a_script_without_an_interpreter_is_the_shells(lab: SopsLab, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f'printf "%s %s" "$1" "${NAME}"\n')
    script.chmod(0o755)
    assert run(lab, "--", str(script), "word").out == f"word {KEY}"
    script.write_bytes(b"\x7fELF\0 of another machine")
    assert run(lab, "--", str(script)).status == 126


def test_wrong_words_are_a_usage_error(lab: SopsLab) -> None:
    for words in (("--no-such-option", "--", "true"), ("--secret",), (), ("--model", "x", "true")):
        assert run(lab, *words).status == 125
    assert run(lab, "--help").out.startswith("usage: keyturn exec")


def test_ignored_signals_stay_ignored_and_sigpipe_is_default(lab: SopsLab) -> None:
    show = "grep -E 'Sig(Ign|Blk)' /proc/self/status"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        out = run(lab, "--", "sh", "-c", show).out
    finally:
        signal.signal(signal.SIGHUP, before)
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in out.splitlines()}
    assert masks["SigIgn"] == 1 << (signal.SIGHUP - 1)
    assert masks["SigBlk"] == 0


def test_a_broken_pipe_ends_the_program_as_without_us(lab: SopsLab) -> None:
    for options in ("", "--mask"):
        command = f"{{ {KEYTURN} exec {options} -- yes; echo $? >&2; }} | head -1"
        ended = subprocess.run(
            ["sh", "-c", command], cwd=lab.root, capture_output=True, text=True, timeout=60
        )
        assert ended.stdout == "y\n"
        assert int(ended.stderr) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("again", [False, True])
def test_a_signal_while_decrypting_ends_it_and_sops(
    lab: SopsLab, tmp_path: Path, number: signal.Signals, again: bool
) -> None:
    note, mode = tmp_path / "pid", tmp_path / "mode"
    mode.write_text("work")
    body = f'[ "$(cat {mode})" = hang ] || exec {REAL_SOPS} "$@"\necho $$ > {note}\nexec sleep 300'
    env = environment(KEYTURN_SOPS=fake_sops(tmp_path / "sops", body))
    if again:
        until(lambda: time.time() - (lab.root / "lab.toml").stat().st_ctime > 2.1)
        assert run_exec("--", "true", cwd=lab.root, env=env).status == 0
    mode.write_text("hang")
    with start_exec(["--", "echo", "started"], cwd=lab.root, env=env) as process:
        until(lambda: note.exists() and note.read_text().endswith("\n"))
        # SIGINT alone is Python's, from its start until it is ours.
        until(lambda: catches(process.pid, signal.SIGTERM))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", "")
    until(lambda: is_gone(int(note.read_text())))


def test_nothing_of_us_stays_behind(lab: SopsLab) -> None:
    script = "tr '\\0' ' ' </proc/$$/cmdline; echo; ls /proc/$$/fd; ps --ppid $$ -o comm="
    make_remembered(lab)
    out = run(lab, "--", "sh", "-c", script).out
    command, *rest = out.splitlines()
    assert command.startswith("sh -c")
    assert "keyturn" not in out
    assert [word for word in rest if word.isdigit()] == ["0", "1", "2"]


def test_the_terminal_is_the_programs_own(lab: SopsLab) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(lab.root)
        words = ["keyturn", "exec", "--mask", "--", "sh", "-c", "tty; test -t 1"]
        os.execv(KEYTURN, words)  # noqa: S606
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 1000)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert shown.startswith(b"/dev/pts/")


def test_the_second_run_starts_sops_at_once_and_finds_the_same(lab: SopsLab) -> None:
    make_remembered(lab)
    cache = Path(os.environ["HOME"]) / ".cache/keyturn"
    assert {entry.name for entry in cache.iterdir()} == {"ahead", "exec"}
    notes = list(cache.rglob("note"))
    assert len(notes) >= 2
    for entry in notes:
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600
        assert KEY not in entry.read_text()
    assert run(lab, "--", *PRINT).out == KEY
    lab.put({NAME: OLD})
    assert run(lab, "--", *PRINT).out == OLD


def test_a_changed_lab_file_counts_at_once(lab: SopsLab) -> None:
    make_remembered(lab)
    (lab.root / "lab.toml").write_text('version = 1\n[exec]\nsecrets = ["LITELLM_SALT_KEY"]\n')
    assert run(lab, "--", "sh", "-c", "printf %s $LITELLM_SALT_KEY").out == "salt"


@pytest.mark.parametrize("options", [(), ("--mask",)])
def test_the_key_is_nowhere_but_in_the_programs_environment(
    lab: SopsLab, home: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    make_remembered(lab)
    traced = leaks.watch_argv(
        [KEYTURN, "exec", *options, "--", "sh", "-c", f'test -n "${NAME}"'], cwd=lab.root
    )
    assert traced.status == 0, traced.stderr
    assert traced.find(KEY) == []
    assert leaks.find(KEY, [home, lab.root, tmp_path]) == []


def test_scrubbing_is_the_same_for_sops_started_early(lab: SopsLab, tmp_path: Path) -> None:
    body = f'env > {tmp_path}/env.$(ls {tmp_path} | wc -l)\nexec {REAL_SOPS} "$@"'
    given = {"KEYTURN_SOPS": fake_sops(tmp_path / "sops", body), "DIRENV_DIFF": OLD}
    given |= {"OPENAI_API_KEY": OLD, "SOPS_AGE_KEY": "", "PLAIN": "1"}
    until(lambda: time.time() - (lab.root / "lab.toml").stat().st_ctime > 2.1)
    for _ in range(2):
        assert run(lab, "--", "true", **given).status == 0
    first, second = (set(path.read_text().splitlines()) for path in tmp_path.glob("env.*"))
    shell = ("PWD=", "_=", "SHLVL=", "OLDPWD=")
    assert {line for line in first ^ second if not line.startswith(shell)} == set()
    assert scrubbed({line.partition("=")[0]: "" for line in first}, ("SOPS_AGE_",))
    assert not any(OLD in line for line in first)
