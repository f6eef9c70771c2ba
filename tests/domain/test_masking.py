"""Masking a stream: every form of a secret, at every cut, and nothing else."""

import base64
import json
import shlex
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.domain.masking import Masker, spellings

KEY = "sk-test-Aa0_-bB1cC2dD3eE4fF5"
ODD = "p'ä s\"s/w$rd\\<&>`!\n2nd line"
MASK = b"<KEY>"


def mask(data: bytes, *secrets: str) -> bytes:
    """Mask it as one piece."""
    return in_pieces([data], *secrets)


def in_pieces(pieces: list[bytes], *secrets: str) -> bytes:
    forms: dict[bytes, bytes] = {}
    for secret in secrets or (KEY,):
        forms |= spellings("KEY", secret)
    masker = Masker(forms)
    return b"".join([*(masker.feed(piece) for piece in pieces), masker.finish()])


@pytest.mark.parametrize("secret", [KEY, ODD])
@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
        lambda text: quote(text),
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").lower() if text == KEY.lower() else quote(text, safe=""),
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
        lambda text: shlex.quote(text).strip("'"),
        lambda text: text.replace("'", "'\\''"),
    ],
)
def test_a_secret_is_masked_in_every_form(secret: str, write: "type[str]") -> None:
    shown = write(secret).encode()
    assert mask(b"before " + shown + b" after", secret) == b"before <KEY> after"


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("tail", [b"", b"&", b"&more"])
def test_a_secret_inside_a_longer_base64_text_is_masked_at_every_alignment(
    shift: int, tail: bytes
) -> None:
    shown = mask(base64.b64encode(b"x" * shift + KEY.encode() + tail))
    assert MASK in shown
    longest = max(shown.split(MASK), key=len)
    assert KEY[4:10].encode() not in base64.b64decode(longest + b"=" * (-len(longest) % 4))


@pytest.mark.parametrize("write", [str, lambda text: base64.b64encode(text.encode()).decode()])
def test_a_cut_at_any_byte_changes_nothing(write: "type[str]") -> None:
    data = b"a " + write(KEY).encode() + b" sk-test " + write(KEY).encode() + b"\xff\0 sk-tes"
    whole = mask(data)
    assert whole.count(MASK) == 2
    for cut in range(len(data) + 1):
        assert in_pieces([data[:cut], data[cut:]]) == whole
    assert in_pieces([data[n : n + 1] for n in range(len(data))]) == whole


def test_secrets_that_overlap_leave_no_rest() -> None:
    assert mask(b"[abcdefghi]", "abcdef", "defghi") == b"[<KEY>]"
    assert mask(b"[abcdefxghi]", "abcdef", "defghi") == b"[<KEY>xghi]"
    assert in_pieces([b"[abcdef", b"ghi]"], "abcdef", "defghi") == b"[<KEY>]"


def test_a_secret_that_begins_another_is_masked_either_way() -> None:
    assert mask(b"abcdef abcdefghi", "abcdef", "abcdefghi") == b"<KEY> <KEY>"
    assert in_pieces([b"abcdef", b"gh", b"x"], "abcdef", "abcdefghi") == b"<KEY>ghx"


def test_two_secrets_side_by_side_are_two_masks() -> None:
    assert mask((KEY + KEY).encode()) == MASK + MASK


def test_a_line_of_a_secret_is_masked_by_itself() -> None:
    secret = "-----BEGIN-----\nfirst line\nsecond line\n"
    assert mask(b"| second line |", secret) == b"| <KEY> |"


def test_only_what_may_be_the_beginning_of_a_secret_is_held_back() -> None:
    masker = Masker(spellings("KEY", KEY))
    assert masker.feed(b"Continue? [y/N] ") == b"Continue? [y/N] "
    assert masker.feed(b"ask") == b"a"
    assert masker.feed(b"-tes") == b""
    assert masker.feed(b"ing") == b"sk-tesing"
    assert masker.feed(b"sk-test") == b""
    assert masker.finish() == b"sk-test"


def test_a_short_secret_is_masked_but_no_short_form_of_it() -> None:
    forms = spellings("PIN", "42ab")
    assert b"42ab" in forms
    assert [form for form in forms if len(form) < 6] == [b"42ab"]


def test_without_secrets_everything_passes() -> None:
    masker = Masker({})
    assert masker.feed(b"anything") + masker.finish() == b"anything"


def test_a_value_that_is_no_unicode_is_masked_too() -> None:
    assert (
        mask(b"<caf\xe9-caf\xe9>", b"caf\xe9-caf\xe9".decode("utf-8", "surrogateescape"))
        == b"<<KEY>>"
    )


ALPHABET = st.sampled_from([b"a", b"b", b"ab", b"aab", b"\n", b"\xff"])


@given(
    st.lists(st.lists(ALPHABET, max_size=6).map(b"".join), max_size=8),
    st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4),
)
def test_pieces_give_what_the_whole_gives_and_no_secret_is_left(
    pieces: list[bytes], secrets: list[str]
) -> None:
    forms = {secret.encode(): b"#" for secret in secrets}
    masker = Masker(forms)
    streamed = b"".join([*(masker.feed(piece) for piece in pieces), masker.finish()])
    whole = Masker(forms)
    assert streamed == whole.feed(b"".join(pieces)) + whole.finish()
    assert not any(form in streamed for form in forms)


@given(st.binary(max_size=300), st.integers(1, 20))
def test_what_holds_no_secret_passes_byte_for_byte(data: bytes, size: int) -> None:
    pieces = [data[n : n + size] for n in range(0, len(data), size)]
    assert in_pieces(pieces) == data
