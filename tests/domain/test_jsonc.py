"""JSON with comments: what droid reads is read, what droid drops is refused with its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.domain.jsonc import (
    MAX_DEPTH,
    Array,
    MalformedJson,
    Member,
    Object,
    Scalar,
    parse,
    plain,
    same,
)
from support.jsonc_texts import UNHURRIED

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def value_of(text: str) -> object:
    document = plain(parse(f'{{"v": {text}}}'.encode()).root)
    assert isinstance(document, dict)
    return document["v"]


@UNHURRIED
@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.sampled_from([None, 1, "\t"]))
def test_every_json_object_is_read_as_the_json_module_reads_it(
    value: dict[str, object], indent: int | str | None
) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
        assert same(plain(parse(text.encode("utf-8", "surrogatepass")).root), value)


@UNHURRIED
@given(st.text(alphabet='{}[]",:/*\\ \n\r\tu01e-.tfn\ufeff', max_size=30))
def test_what_the_json_module_refuses_is_refused_too_unless_it_has_comments(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=lambda _: pytest.fail("never generated"))
    except ValueError:
        expected = None
    try:
        found = plain(parse(text.encode()).root)
    except MalformedJson:
        found = None
    if "/" not in text:
        assert same(found, expected if isinstance(expected, dict) else None)


@pytest.mark.parametrize(
    "text",
    [
        '// head\n/* more */ {"a": [1 /* one */, // two\n 2]} // tail',
        '{"a"/**/:/***/[1,/* ] } , */2]}/* / * */',
        '\r\n{\r\n\t"a": [1, 2] // CRLF\r\n}\r\n',
        '{"a": [1, // a lone CR ends a comment\r2]}',
        '{"a": [1, // U+2028 \u2028 does not, ]\n 2]}',
        '{"a": 0, "a": [1, 2]}',
    ],
)
def test_comments_line_ends_and_duplicate_keys_are_accepted_as_in_droid(text: str) -> None:
    assert plain(parse(text.encode()).root) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("data", "line", "column", "reason"),
    [
        (b"", 1, 1, "nothing in it"),
        (b" // only a comment", 1, 19, "nothing in it"),
        (b"\xef\xbb\xbf{}", 1, 1, "byte order mark"),
        (b"[1]", 1, 1, "not an object"),
        (b'"text"', 1, 1, "not an object"),
        (b"{} {}", 1, 4, "follows the end"),
        (b'{\n  "a": 1,\n}', 2, 9, "a comma stands there before"),
        (b'{"a": [1, ]}', 1, 9, "a comma stands there before"),
        (b'{"a": [,1]}', 1, 8, "a value is expected"),
        (b'{"a" 1}', 1, 6, "a colon"),
        (b'{"a": 1 "b": 2}', 1, 9, "a comma or }"),
        (b'{"a": [1 2]}', 1, 10, "a comma or ]"),
        (b"{'a': 1}", 1, 2, "a key in double quotes"),
        (b"{a: 1}", 1, 2, "a key in double quotes"),
        (b"{", 1, 2, "a key in double quotes"),
        (b'{"a": 1', 1, 8, "ends too early"),
        (b'{"a":', 1, 6, "ends too early"),
        (b'{"a": "x', 1, 7, "does not end"),
        (b'{"a": "x\ty"}', 1, 9, "control character"),
        (b'{"a": "\\x"}', 1, 8, "malformed escape"),
        (b'{"a": "\\u12g4"}', 1, 9, "malformed escape"),
        (b'{"a": /* never', 1, 7, "a comment starts there"),
        (b'{"a": / 1}', 1, 7, "a value is expected"),
        (b'{"a": NaN}', 1, 7, "a value is expected"),
        (b'{"a": -Infinity}', 1, 7, "a value is expected"),
        (b'{"a": 01}', 1, 8, "a comma or }"),
        (b'{"a": True}', 1, 7, "a value is expected"),
        (b'{"a": nul}', 1, 7, "a value is expected"),
        (b'{"a":\xc2\xa01}', 1, 6, "a value is expected"),
        (b'{\n"\xc3\xa4": "\xff"}', 2, 7, "not valid UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', 1, 8, "not valid UTF-8"),
    ],
)
def test_what_makes_droid_drop_the_file_is_refused_with_its_place(
    data: bytes, line: int, column: int, reason: str
) -> None:
    with pytest.raises(MalformedJson) as caught:
        parse(data)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert reason in caught.value.reason


@UNHURRIED
@given(st.text(min_size=1, max_size=20), st.integers(0, 40))
def test_a_complaint_never_quotes_the_text(key: str, cut: int) -> None:
    secret = "sk-test-0123456789"
    text = json.dumps({key: secret, "b": [secret]})
    with pytest.raises(MalformedJson) as caught:
        parse(text[: max(1, len(text) - 1 - cut)].encode())
    assert "sk-" not in str(caught.value)


def test_nodes_know_where_they_stand() -> None:
    document = parse('{ "ä": [1, "x"], "k": {} }'.encode())
    assert document.root == Object(
        0,
        26,
        [
            Member(2, "ä", Array(7, 15, [Scalar(8, 9, 1), Scalar(11, 14, "x")])),
            Member(17, "k", Object(22, 24, [])),
        ],
    )
    assert [document.text[m.start : m.end] for m in document.root.members] == [
        '"ä": [1, "x"]',
        '"k": {}',
    ]


def test_of_duplicate_keys_the_last_one_counts() -> None:
    root = parse(b'{"a": 1, "b": 2, "a": 3}').root
    last = root.last("a")
    assert last is not None
    assert plain(last.value) == 3
    assert root.last("c") is None


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        (False, 0, False),
        (None, False, False),
        ([1, {"a": 2}], [1.0, {"a": 2.0}], True),
        ([1], [1, 1], False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, [1], False),
    ],
)
def test_values_are_compared_as_json_values(left: object, right: object, equal: bool) -> None:
    assert same(left, right) is equal


@pytest.mark.parametrize("number", ["16384", "1.6384e4", "16384.0", "163840E-1"])
def test_all_spellings_of_a_number_are_one_number(number: str) -> None:
    assert same(value_of(number), 16384)


def test_a_number_of_many_digits_is_read_like_any_other() -> None:
    assert value_of("1" + "0" * 5000) == float("inf")


def test_deep_nesting_is_refused_and_what_is_allowed_can_be_used() -> None:
    deepest = b'{"a": ' + b"[" * (MAX_DEPTH - 1) + b"1" + b"]" * (MAX_DEPTH - 1) + b"}"
    assert same(plain(parse(deepest).root), plain(parse(deepest).root))
    for data in (b'{"a":' * MAX_DEPTH + b"[1]" + b"}" * MAX_DEPTH, b'{"a":' + b"[" * 1_000_000):
        with pytest.raises(MalformedJson, match="nested too deeply"):
            parse(data)


@pytest.mark.faults
@pytest.mark.parametrize(
    "inner",
    [
        b'"' + b"\\\\" * 2_000_000 + b'"',
        b"[" + b"/**/ " * 200_000 + b"]",
        b"[" + b"1, // one\n" * 100_000 + b"1]",
        b" " * 4_000_000 + b"1",
        b"1" * 4_000_000,
    ],
)
def test_large_files_are_read_in_time_linear_in_their_size(inner: bytes) -> None:
    assert len(parse(b'{"a": ' + inner + b"}").root.members) == 1


@pytest.mark.parametrize(
    "data",
    [b'{"a": "' + b"x" * 4_000_000, b'{"a": ' + b"/*" + b"* /" * 1_000_000, b"/" * 1_000_000],
)
def test_large_broken_files_are_refused_in_linear_time(data: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse(data)
