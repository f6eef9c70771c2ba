"""Keys are found in bytes by their fingerprint or their spellings, however the bytes come in."""

import base64
from collections.abc import Iterable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.domain import scanning
from bootstrap.domain.scanning import Form, Hit, Hunter, Print

KEY = b"sk-test-Zk3Qw8Lr5Ty2Vb7Nm4Xc9Hj6Gf1Dp0Sa2Re5Ui"
OTHER = b"not-a-common-form.Qx7Vn3Kd9Bw5Tz1"
PASSWORD = b"pa%ss word/7Hk2"
PAD = b"words and\nmore of them, here=there\n" * 200


def digest(key: bytes) -> str:
    return sha256(key).hexdigest()


def hunter(short: int = 8) -> Hunter:
    """Look for KEY and OTHER by the beginning of their digest, for PASSWORD by its value."""
    prints = [Print("key", digest(KEY)[:short]), Print("other", digest(OTHER)[:short], False)]
    return Hunter(prints, {PASSWORD: Form("password", False)})


def cut(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def found(data: bytes, size: int | None = None) -> list[Hit]:
    return sorted(hunter().search(cut(data, size or len(data) or 1)), key=lambda hit: hit.offset)


SURROUNDED = [
    KEY,
    b"export K=" + KEY + b"\n",
    b'{"text": "it said\\n' + KEY + b'\\nthere"}',
    b"key" + KEY + b".",  # a database has no separator
    b"http://h:1/?key=" + KEY + b"&x=1",
    KEY + b"_-",
    b"\0\0sk-not-" + KEY + b"\0",
]


@pytest.mark.parametrize("text", SURROUNDED)
def test_an_old_key_is_found_by_its_fingerprint_in_any_surroundings(text: bytes) -> None:
    assert [(hit.key, hit.offset) for hit in found(text)] == [("key", text.index(KEY))]


@pytest.mark.parametrize(
    "text",
    [
        b"REDIS=" + OTHER + b"\n",
        b"redis://:" + OTHER + b"@127.0.0.1:6379/0",
        b'--password="' + OTHER + b'",',
        b"it is " + OTHER + b".",
        b'{"text":"\\n' + OTHER + b'"}',
    ],
)
def test_an_old_secret_of_another_form_is_found_between_separators(text: bytes) -> None:
    assert [(hit.key, hit.offset) for hit in found(text)] == [("other", text.index(OTHER))]


@pytest.mark.parametrize(
    "text",
    [KEY[:-1], KEY[:-1] + b"9", KEY.lower(), OTHER + b"x", b"x" + OTHER, PASSWORD[1:], b"sk-", b""],
)
def test_a_near_miss_is_no_hit(text: bytes) -> None:
    assert found(text) == []
    assert found(PAD + text + PAD) == []


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"KEY="])
def test_base64_is_seen_through_at_every_alignment(before: bytes) -> None:
    text = before + KEY + b"\n"
    for coded in (base64.b64encode(text), base64.urlsafe_b64encode(text)):
        assert [(hit.key, hit.encoded) for hit in found(b"env: " + coded)] == [("key", True)]
    wrapped = base64.encodebytes(b"x" * 30 + text)
    assert [(hit.key, hit.encoded) for hit in found(wrapped)] == [("key", True)]
    assert found(base64.b64encode(before + KEY[:-1])) == []


@pytest.mark.parametrize("text", [*SURROUNDED, b"p=" + OTHER + b"@h", b"<" + PASSWORD + b">"])
def test_a_border_between_chunks_hides_nothing_and_adds_nothing(text: bytes) -> None:
    whole = found(text)
    assert whole
    for size in range(1, len(text) + 1):
        assert found(text, size) == whole


@pytest.mark.parametrize(
    "text", [KEY, OTHER, PASSWORD, base64.b64encode(b"a" + KEY), OTHER + b"no", KEY + b"-and-more"]
)
def test_nor_does_what_was_let_go_of(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_OVERLAP", 1200)
    data = PAD + text + b" " + PAD + text + b"\n" + PAD
    whole = found(data)
    for size in (97, 613, 1200, 3001):
        assert found(data, size) == whole
    assert [hit.line for hit in whole] == [1 + data.count(b"\n", 0, hit.offset) for hit in whole]


def test_a_word_that_was_seen_is_not_hashed_again_and_still_found() -> None:
    looking = hunter()
    for _ in range(3):
        assert [hit.key for hit in looking.search([b"a " + OTHER])] == ["other"]


def test_what_was_seen_is_forgotten_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scanning, "_MOST_SEEN", 3)
    words = b" ".join(b"word-number-%08d" % number for number in range(20))
    looking = hunter()
    assert [hit.key for hit in looking.search(cut(words + b" " + OTHER, 64))] == ["other"]


def test_a_full_digest_is_compared_in_full() -> None:
    wrong = Print("wrong", digest(KEY)[:8] + "0" * 56)
    assert list(Hunter([wrong], {}).search([KEY])) == []
    assert [h.key for h in hunter(64).search([KEY])] == ["key"]


def test_what_keyturn_would_not_have_made_is_a_key_only_where_it_stands_alone() -> None:
    weak = b"sk-" + b"abcd1234" * 6
    sought = Hunter([Print("key", digest(weak)[:8])], {}, lengths=[len(weak)])
    assert list(sought.search([weak + b"and-more"])) == []
    weakly = Hunter([Print("key", digest(weak)[:8], strong=False)], {}, lengths=[len(weak)])
    assert [hit.key for hit in weakly.search([weak + b"and-more"])] == ["key"]
    assert list(Hunter([Print("key", digest(b"word" * 10)[:8])], {}).search([b"word" * 10])) == []


def test_a_placeholder_that_adopt_brought_and_a_rotation_replaced_is_found() -> None:
    placeholder = b"sk-litellm-local-your-master-key"
    sought = Hunter([Print("key", digest(placeholder)[:8])], {})
    assert [hit.line for hit in sought.search([b"\nmaster_key: " + placeholder + b"\n"])] == [2]


def test_a_key_of_an_unusual_length_ends_where_those_in_force_do() -> None:
    key = b"sk-test-" + b"Zk3Qw8Lr5Ty2Vb7Nm4Xc" * 4
    prints = [Print("key", digest(key)[:8], strong=False)]
    assert list(Hunter(prints, {}).search([key + b"2026"])) == []
    hits = Hunter(prints, {}, [len(key)]).search([key + b"2026"])
    assert [hit.key for hit in hits] == ["key"]


def test_a_very_long_run_is_no_key_but_may_begin_with_one() -> None:
    run = KEY[:46] + b"x" * 5000
    prints = [Print("key", digest(KEY[:46])[:8])]
    assert [hit.offset for hit in Hunter(prints, {}).search(cut(run, 700))] == [0]


def test_a_name_is_shown_without_the_keys_in_it() -> None:
    shown = hunter().covered(b"/a/" + KEY + b"/" + PASSWORD + b"/" + OTHER)
    assert shown == b"/a/<key>/<password>/<other>"
    assert hunter().covered(b"/a/b") == b"/a/b"


def test_it_does_not_show_what_it_looks_for() -> None:
    assert PASSWORD.decode() not in repr(hunter())


@given(
    st.lists(st.sampled_from([b"sk-", b"c2st", b"zay0", b"NrL", b"=", KEY, OTHER]) | st.binary()),
    st.integers(1, 50),
)
def test_any_bytes_are_searched_without_a_crash(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    hits = found(data, size)
    assert hits == found(data)
    assert [hit for hit in hits if hit.key == "key" and not hit.encoded] or KEY not in data
