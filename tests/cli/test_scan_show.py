"""How `keyturn scan` shows what it found."""

from pathlib import PurePath

import pytest

from bootstrap.cli import scan_run
from bootstrap.cli.scan_run import state
from bootstrap.cli.session import Session
from bootstrap.domain.scan_keys import SoughtKey, State
from bootstrap.domain.scan_places import Find, Kind, Place
from bootstrap.workflows.scan import Scanned

KEY = SoughtKey("LITELLM_MASTER_KEY", "1a2b3c4d", State.IN_FORCE)
HOME = PurePath("/home/me")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (KEY, "in force"),
        (SoughtKey("K", "1a2b3c4d", State.OTHER), "not closed"),
        (SoughtKey("K", "1a2b3c4d", State.ACCEPTED), "accepted"),
        (SoughtKey("K", "1a2b3c4d", State.ACCEPTED, 1e9), "accepted until 2001-09-0"),
        (SoughtKey("K", "1a2b3c4d", State.GONE, 1e9), "rotated out on 2001-09-0"),
        (SoughtKey("K", "1a2b3c4d", State.GONE), "rotated out"),
    ],
)
def test_a_key_is_shown_with_what_it_is_good_for(key: SoughtKey, words: str) -> None:
    assert words in state(key)


def test_each_kind_of_place_is_shown_in_its_own_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootstrap.cli.scan_run.found_lab.home", lambda: HOME)
    finds = [
        Find(KEY, Place(Kind.FILE, b"/home/me/a.db"), offset=77),
        Find(KEY, Place(Kind.FILE, b"/home/me/a.yaml"), (3,), encoded=True),
        Find(KEY, Place(Kind.FILE_NAME, b"/x/y")),
        Find(KEY, Place(Kind.ARGUMENTS, b"process 7 (curl)")),
        Find(KEY, Place(Kind.MANAGER, b"systemd --user", b"KEY")),
        Find(KEY, Place(Kind.HISTORY, b"git: a", b"commit 1234567"), (1, 2)),
    ]
    result = Scanned((KEY,), finds, [(b"/big\n", "it is too big")], files=3, complete=True)
    scan_run._show(Session(verbose=True, color=False), result, ["PIN"], 0.1)
    shown = capsys.readouterr().out
    for line in (
        "  error    ~/a.db, at byte 77",
        "  error    ~/a.yaml:3 (encoded)",
        "  error    /x/y, in its name",
        "  error    process 7 (curl): its arguments",
        "  error    systemd --user: variable KEY",
        "  error    git: a:1,2: commit 1234567",
        "left out   /big\\x0a: it is too big",
        "note       PIN is too short to be looked for",
        "1 were left out (-v)",
    ):
        assert line in shown
