"""Known secrets never show in text of other programs, whatever they are dressed in."""

import base64
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest

from bootstrap.adapters.redact import KnownSecrets
from bootstrap.domain.secret import Secret
from support import leaks

KEY = "sk-test-Ab3/+xY9=z7Qw2Er5Ty8Ui1Op4As6"
PASSWORD = 'pa"ss wörd/ü&2'


@pytest.fixture
def known() -> KnownSecrets:
    """A mask for a key and an awkward password."""
    return KnownSecrets({"MASTER": Secret(KEY), "REDIS": Secret(PASSWORD)})


def test_a_secret_is_shown_as_its_name_and_fingerprint(known: KnownSecrets) -> None:
    assert known.mask(f"key={KEY};") == f"key=<MASTER {Secret(KEY).fingerprint()}>;"


@pytest.mark.parametrize("text", [KEY, PASSWORD])
@pytest.mark.parametrize(
    "dress",
    [
        str, quote, quote_plus, lambda t: quote(t, safe=""), json.dumps,
        lambda t: json.dumps({"a": t}, ensure_ascii=False),
    ],
    ids=["clear", "path", "form", "url", "json", "json unicode"],
)  # fmt: skip
def test_no_spelling_shows_it(known: KnownSecrets, text: str, dress: object) -> None:
    assert callable(dress)
    shown = known.mask(f"before {dress(text)} after")
    assert leaks.find(text, texts={"shown": shown}) == []
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@pytest.mark.parametrize("text", [KEY, PASSWORD])
@pytest.mark.parametrize("code", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "u", "me", "user:", "Basic"])
def test_base64_does_not_show_it_at_any_alignment(
    known: KnownSecrets, text: str, code: object, before: str
) -> None:
    assert callable(code)
    coded = code(f"{before}{text}:after".encode()).decode()
    shown = known.mask(f"Authorization: {coded}")
    assert leaks.find(text, texts={"shown": shown}) == []
    assert "<" in shown


def test_a_secret_of_several_lines_is_masked_in_each() -> None:
    lines = ["-----BEGIN TEST-----", "c2stdGVzdC1tYWRlLXVw", "-----END TEST-----"]
    known = KnownSecrets({"PEM": Secret("\n".join(lines))})
    assert not set(lines) & set(map(known.mask, lines))


def test_the_longest_secret_is_masked_where_one_holds_another() -> None:
    known = KnownSecrets({"SHORT": Secret("sk-test-1"), "LONG": Secret("sk-test-12345")})
    assert known.mask("sk-test-12345 sk-test-1").split(" <")[0].startswith("<LONG ")


def test_texts_too_short_to_mask_garble_nothing() -> None:
    known = KnownSecrets({"A": Secret("abc"), "B": Secret("abcd")})
    assert known.mask("abc").startswith("abc")
    assert known.mask("x abcd").startswith("x <B ")


def test_redacted_lines_hide_unknown_keys_too(known: KnownSecrets) -> None:
    unknown = "sk-8fQ2zLw0Xn5Rb7Yt1Kd4Gh6Jm9Pc3Vs0"
    lines = known.redact([f"INFO got '{KEY}'", f"api_key={unknown}", "listening on 4000"])
    assert lines[0] == f"INFO got '<MASTER {Secret(KEY).fingerprint()}>'"
    assert unknown not in lines[1]
    assert lines[2] == "listening on 4000"


def test_a_line_of_a_log_makes_a_terminal_do_nothing(known: KnownSecrets) -> None:
    lines = known.redact(["model \x1b]0;title\x07\r\x9b2J", "a\ttab stays"])
    assert lines == ["model \ufffd]0;title\ufffd\ufffd\ufffd2J", "a\ttab stays"]


def test_a_shell_shows_it_no_more_than_others(known: KnownSecrets) -> None:
    shown = known.mask(shlex.quote(PASSWORD + "'"))
    assert leaks.find(PASSWORD, texts={"shown": shown}) == []


def test_half_a_character_is_no_reason_to_stop() -> None:
    assert KnownSecrets({"ODD": Secret("abcdef\ud800")}).mask("abcdef") == "abcdef"
