"""doctor looks, judges and mends, whatever each check and each fix does."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.fix_log import FolderFixLog, written_out
from bootstrap.adapters.gathering import gather, once
from bootstrap.adapters.redact import KnownSecrets
from bootstrap.domain.doctor.check import Check, Group
from bootstrap.domain.doctor.finding import Code, CommandFix, FileFix, Fill, Finding, Severity
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.errors import (
    RecoveryNeededError,
    SecretNotFoundError,
    TargetError,
    UsageError,
)
from bootstrap.domain.secret import Secret
from bootstrap.workflows.doctor import (
    DoctorTools,
    ShownMending,
    examine,
    exit_code,
    fix,
    preview,
    undo,
)
from support.fakes import make_places

KEY = Secret("sk-test-workflow-0123456789abcdef0123456789")
CODE = Code("KT901", "a thing", "It matters a lot.", "mend it", "At length.", fixable=True)
OTHER = Code("KT902", "another thing", "It matters, too.", "mend it", "At length.")
Look = Callable[[Observations], Iterator[Finding]]


@dataclass
class Bench:
    """A doctor with checks of a test's own.

    Attributes:
        home: Where the files are.
        looks: Code -> check.
        commands: What was run.
        bad: Commands that fail.
        shown: What was shown before it was done.
        of_others: Files that another lab answers for, with its folder.
    """

    home: Path
    looks: list[tuple[Code, Look]] = field(default_factory=list)
    commands: list[tuple[str, ...]] = field(default_factory=list)
    bad: list[tuple[str, ...]] = field(default_factory=list)
    shown: list[ShownMending] = field(default_factory=list)
    of_others: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> PurePath:
        return PurePath(self.home / "settings.json")

    @property
    def log(self) -> FolderFixLog:
        return FolderFixLog(PurePath(self.home / "state"))

    @property
    def tools(self) -> DoctorTools:
        checks = tuple(Check(code, look) for code, look in self.looks)

        def run(argv: Sequence[str]) -> bool:
            self.commands.append(tuple(argv))
            return tuple(argv) not in self.bad

        return DoctorTools(
            groups=(Group("KT9", "Tests", checks),),
            observe=lambda: Observations(
                make_places(self.home), PurePath("/"), "keyturn", {}, key=KEY
            ),
            files=LocalFiles(),
            log=self.log,
            fill=written_out,
            known=KnownSecrets,
            run=run,
            lock=contextlib.nullcontext,
            of_others=lambda: self.of_others,
        )

    def check(self, *findings: Finding, code: Code = CODE) -> None:
        """Add a check that finds these as long as the file does not say `mended`."""

        def look(_: Observations) -> Iterator[Finding]:
            file = Path(self.file)
            if not file.exists() or file.read_text() != "mended":
                yield from findings

        self.looks.append((code, look))

    def fix(self, *codes: str) -> tuple[list[Finding], tuple[str, ...]]:
        return fix(self.tools, codes, self.shown.append)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def to(text: str) -> Callable[[bytes | None, Fill], bytes | None]:
    return lambda _, fill: text.encode()


def mended(bench: Bench, text: str = "mended", *, on_request: bool = False) -> FileFix:
    return FileFix(bench.file, "it is mended", to(text), on_request=on_request)


def test_a_check_that_breaks_says_so_and_hides_no_other(bench: Bench) -> None:
    def broken(_: Observations) -> Iterator[Finding]:
        raise TypeError("with a key: " + KEY.reveal())
        yield

    bench.looks.append((CODE, broken))
    bench.check(OTHER.error("seen"), code=OTHER)
    first, second = examine(bench.tools)
    assert (first.severity, second.severity) == (Severity.WARNING, Severity.ERROR)
    assert first.seen == "this check itself failed (TypeError)"


def test_a_key_in_a_finding_is_masked(bench: Bench) -> None:
    bench.check(CODE.note(f"there is {KEY.reveal()}", mend=f"echo {KEY.reveal()}"))
    (finding,) = examine(bench.tools)
    assert finding.seen == f"there is <LITELLM_MASTER_KEY {KEY.fingerprint()}>"
    assert KEY.reveal() not in repr(finding)


def test_a_name_in_a_finding_gives_a_terminal_no_orders(bench: Bench) -> None:
    bench.check(CODE.note("no \x1b[31mmodel", mend="pull 'a\nb\x9b'"))
    (finding,) = examine(bench.tools)
    assert (finding.seen, finding.mend) == ("no \ufffd[31mmodel", "pull 'a\ufffdb\ufffd'")


def test_only_errors_fail(bench: Bench) -> None:
    assert exit_code([CODE.warning("x"), CODE.note("x")]) == 0
    assert exit_code([CODE.note("x"), CODE.error("x")]) == 1


def test_only_the_chosen_codes_are_looked_for(bench: Bench) -> None:
    bench.check(CODE.error("seen"))
    bench.check(OTHER.error("seen"), code=OTHER)
    assert [f.code for f in examine(bench.tools, ["KT902"])] == ["KT902"]
    assert [f.code for f in examine(bench.tools, ["KT9"])] == ["KT901", "KT902"]


def test_a_file_that_a_fix_made_goes_with_undo(bench: Bench) -> None:
    bench.check(CODE.error("seen", fix=mended(bench)))
    found, failed = bench.fix()
    assert ([f.severity for f in found], failed) == ([Severity.OK], ())
    assert Path(bench.file).stat().st_mode & 0o777 == 0o600
    assert [saved.path for saved in undo(bench.tools).files] == [bench.file]
    assert not Path(bench.file).exists()
    with pytest.raises(UsageError, match="nothing to undo"):
        undo(bench.tools)


def test_a_file_that_a_fix_removed_comes_back(bench: Bench) -> None:
    Path(bench.file).write_text("old")
    Path(bench.file).chmod(0o640)
    gone = FileFix(bench.file, "it goes", lambda data, fill: None)
    bench.check(CODE.error("seen", fix=gone))
    bench.fix()
    assert not Path(bench.file).exists()
    assert bench.shown[0].diffs[bench.file] == ("(the file goes; a copy is kept)",)
    undo(bench.tools)
    assert (Path(bench.file).read_text(), Path(bench.file).stat().st_mode & 0o777) == ("old", 0o640)


def test_a_file_of_another_lab_is_left_to_that_lab(bench: Bench) -> None:
    bench.of_others[str(bench.file)] = "/an other/lab"
    Path(bench.file).write_text("theirs")
    closed = FileFix(bench.file, "closed", mode=0o600)
    bench.check(CODE.error("not as this lab wants it", fix=mended(bench)))
    bench.check(OTHER.error("others can read it", fix=closed), code=OTHER)
    found, _ = bench.fix()
    assert [f.severity for f in found] == [Severity.NOTE, Severity.ERROR]
    assert "--lab '/an other/lab'" in found[0].mend
    assert Path(bench.file).read_text() == "theirs"
    ((path, *_),) = (mend.codes for mend in bench.shown[0].mending.files)
    assert path == "KT902"  # who may read it is everybody's business
    ((code, why),) = bench.shown[0].mending.refused
    assert (code, "answers for it" in why) == ("KT901", True)
    assert preview(bench.tools, ["KT902"]).mending.refused == ()


def test_a_preview_changes_nothing(bench: Bench) -> None:
    bench.check(CODE.error("seen", fix=mended(bench)))
    assert preview(bench.tools).mending.files[0].summaries == ("it is mended",)
    assert list(bench.home.iterdir()) == []


def test_a_key_that_is_put_into_a_file_is_not_shown(bench: Bench) -> None:
    Path(bench.file).write_text('{"apiKey": "x"}\n')
    keyed = FileFix(
        bench.file, "the key", lambda _, fill: f'{{"apiKey": "{fill(KEY)}"}}\n'.encode()
    )
    bench.check(CODE.error("seen", fix=keyed))
    shown = preview(bench.tools)
    assert KEY.fingerprint() in str(shown.diffs)
    assert KEY.reveal() not in str(shown.diffs) + repr(shown)


def test_what_is_made_on_request_only_needs_its_whole_code(bench: Bench) -> None:
    bench.check(CODE.note("seen", fix=mended(bench, on_request=True)))
    for codes in ([], ["KT9"]):
        bench.fix(*codes)
        assert not Path(bench.file).exists()
    bench.fix("KT901")
    assert Path(bench.file).read_text() == "mended"


def test_a_fix_that_cannot_be_made_is_named_and_keeps_no_other_back(bench: Bench) -> None:
    def refuse(_: bytes | None, fill: Fill) -> bytes | None:
        raise TargetError("the file is odd", why="it is", fix="look")

    other = FileFix(PurePath(bench.home / "other"), "made", to("half"))
    bench.check(CODE.error("seen", fix=[other, FileFix(bench.file, "x", refuse)]))
    bench.check(OTHER.error("seen", fix=mended(bench)), code=OTHER)
    bench.fix()
    assert Path(bench.file).read_text() == "mended"
    assert not (bench.home / "other").exists(), "a fix is made as a whole or not at all"
    assert bench.shown[0].mending.refused == (("KT901", f"{bench.file}: the file is odd: it is"),)


def test_a_fix_that_is_refused_and_the_only_one_is_shown(bench: Bench) -> None:
    Path(bench.file).mkdir()
    bench.looks.append((CODE, lambda _: iter([CODE.error("seen", fix=mended(bench))])))
    bench.fix()
    assert "is not a file" in bench.shown[0].mending.refused[0][1]


def test_a_fix_that_never_settles_comes_to_an_end_and_is_undone_as_one(bench: Bench) -> None:
    Path(bench.file).write_text("")
    longer = FileFix(bench.file, "longer", lambda data, fill: (data or b"") + b"x")
    bench.check(CODE.error("seen", fix=longer))
    found, _ = bench.fix()
    assert (Path(bench.file).read_text(), found[0].severity) == ("xxxx", Severity.ERROR)
    undo(bench.tools)
    assert Path(bench.file).read_text() == ""


def test_a_file_that_cannot_be_written_leaves_nothing_to_undo(bench: Bench) -> None:
    Path(bench.file).write_text("old")

    def late(data: bytes | None, fill: Fill) -> bytes | None:
        Path(bench.file).chmod(0o400)
        return b"mended"

    bench.check(CODE.error("seen", fix=FileFix(bench.file, "it is mended", late)))
    with pytest.raises(TargetError, match="read-only"):
        bench.fix()
    assert bench.log.last() is None
    assert Path(bench.file).read_text() == "old"


def test_a_later_round_that_fails_keeps_the_earlier_ones_undoable(bench: Bench) -> None:
    def first_half(data: bytes | None, fill: Fill) -> bytes | None:
        return b"half"

    def locked(data: bytes | None, fill: Fill) -> bytes | None:
        Path(bench.file).chmod(0o400)
        return b"mended"

    def look(_: Observations) -> Iterator[Finding]:
        half = Path(bench.file).read_text() == "half"
        change = locked if half else first_half
        yield CODE.error("seen", fix=FileFix(bench.file, "a step", change))

    Path(bench.file).write_text("old")
    bench.looks.append((CODE, look))
    with pytest.raises(TargetError):
        bench.fix()
    Path(bench.file).chmod(0o600)
    undo(bench.tools)
    assert Path(bench.file).read_text() == "old"


def test_a_command_runs_once_and_its_counterpart_takes_it_back(bench: Bench) -> None:
    first = CommandFix(("set", "1"), "sets 1", undo=("unset", "1"))
    second = CommandFix(("drop", "2"), "drops 2")
    bench.check(CODE.error("seen", fix=[first, second]))
    _, failed = bench.fix()
    assert (bench.commands, failed) == ([("set", "1"), ("drop", "2")], ())
    assert undo(bench.tools).lasting == ("drops 2",)
    assert bench.commands[2:] == [("unset", "1")]


def test_a_command_that_fails_is_named(bench: Bench) -> None:
    bench.bad.append(("set", "1"))
    bench.check(CODE.error("seen", fix=CommandFix(("set", "1"), "sets 1")))
    found, failed = bench.fix()
    assert (failed, found[0].severity) == (("sets 1",), Severity.ERROR)


def test_only_the_newest_runs_are_kept(bench: Bench) -> None:
    for number in range(7):
        Path(bench.file).write_text(str(number))
        bench.looks = []
        bench.check(CODE.error("seen", fix=mended(bench)))
        bench.fix()
    names = sorted(path.name for path in (bench.home / "state").iterdir())
    assert names == ["0003", "0004", "0005", "0006", "0007"]
    undo(bench.tools)
    assert Path(bench.file).read_text() == "6"


@pytest.mark.parametrize(
    "text", ["{", "[]", "[" * 100_000, '{"files": [{"path": "x", "mode": 384}]}']
)
def test_a_damaged_note_is_named_with_the_folder_of_the_copies(bench: Bench, text: str) -> None:
    bench.check(CODE.error("seen", fix=mended(bench)))
    bench.fix()
    (bench.home / "state" / "0001" / "run.json").write_text(text)
    with pytest.raises(RecoveryNeededError, match="0001 is damaged"):
        undo(bench.tools)


def test_a_copy_that_is_gone_is_no_reason_to_lose_the_file(bench: Bench) -> None:
    Path(bench.file).write_text("old")
    bench.check(CODE.error("seen", fix=mended(bench)))
    bench.fix()
    (bench.home / "state" / "0001" / "0.copy").unlink()
    with pytest.raises(RecoveryNeededError):
        undo(bench.tools)
    assert Path(bench.file).read_text() == "mended"


def test_what_was_put_back_by_hand_is_left_alone_by_undo(bench: Bench) -> None:
    Path(bench.file).write_text("old")
    Path(bench.file).chmod(0o600)
    bench.check(CODE.error("seen", fix=mended(bench)))
    bench.fix()
    Path(bench.file).write_text("old")
    before = Path(bench.file).stat().st_ino
    undo(bench.tools)
    assert Path(bench.file).stat().st_ino == before


def test_a_read_only_file_keeps_no_other_from_being_mended(bench: Bench) -> None:
    other = bench.home / "other"
    other.write_text("old")
    other.chmod(0o444)
    bench.check(CODE.error("seen", fix=FileFix(PurePath(other), "it is mended", to("new"))))
    bench.check(OTHER.error("seen", fix=mended(bench)), code=OTHER)
    bench.fix()
    assert (Path(bench.file).read_text(), other.read_text()) == ("mended", "old")
    refused = [mending.mending.refused for mending in bench.shown]
    assert refused == [(("KT901", f"{other}: it is read-only: chmod u+w {other}"),)]


def killed_beside(path: Path) -> Path:
    """Leave what a killed run leaves beside a file."""
    left = path.with_name(f".{path.name}.keyturn-0123456789ab.tmp")
    left.write_text("a key")
    return left


def test_what_a_killed_run_left_goes_with_the_next(bench: Bench) -> None:
    file, state = Path(bench.file), bench.home / "state"
    file.write_text("old")
    bench.check(CODE.error("seen", fix=mended(bench)))
    bench.fix()
    cut_off = state / "0002"
    cut_off.mkdir()
    (cut_off / "0.copy").write_text("a key")
    left = killed_beside(file)
    bench.fix()
    assert (left.exists(), cut_off.exists()) == (False, False)
    left = killed_beside(file)
    assert undo(bench.tools).files[0].path == bench.file
    assert (file.read_text(), left.exists()) == ("old", False)
    with pytest.raises(UsageError):
        undo(bench.tools)


def test_a_run_is_numbered_when_it_is_its_turn(bench: Bench) -> None:
    Path(bench.file).write_text("old")
    bench.check(CODE.error("seen", fix=mended(bench)))

    @contextlib.contextmanager
    def after_another() -> Iterator[None]:
        bench.log.save(bench.log.new())
        yield

    fix(dataclasses.replace(bench.tools, lock=after_another), (), bench.shown.append)
    assert sorted(path.name for path in (bench.home / "state").iterdir()) == ["0001", "0002"]


def test_one_part_that_fails_or_hangs_keeps_no_other_waiting() -> None:
    never = threading.Event()

    def locked() -> object:
        raise SecretNotFoundError("no key", why="locked", fix="unlock it")

    def odd() -> object:
        raise ValueError(KEY.reveal())

    seen, problems = gather(
        {"well": lambda: 1, "late": never.wait, "locked": locked, "odd": odd}, 0.3
    )
    never.set()
    assert seen == {"well": 1}
    assert (problems["locked"].seen, problems["locked"].mend) == ("no key: locked", "unlock it")
    assert problems["odd"].seen == "looking at it failed (ValueError)"
    assert problems["late"].seen == "no answer within 0.3 s"


def test_the_key_is_asked_for_once_whatever_the_answer() -> None:
    asked = []

    def ask() -> Secret | None:
        asked.append(1)
        return KEY

    def fail() -> Secret | None:
        asked.append(1)
        raise SecretNotFoundError("no key", why="locked", fix="unlock it")

    key, failing = once(ask), once(fail)
    assert key() == key() == KEY
    for _ in range(2):
        with pytest.raises(SecretNotFoundError):
            failing()
    assert len(asked) == 2
