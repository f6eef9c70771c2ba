"""Editing single entries of a list keeps every other byte of the file."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.domain import json_edit
from bootstrap.domain.json_edit import Append, Edit, Remove, Update, edit_document, entries_of
from bootstrap.domain.jsonc import MalformedJson, parse, plain, same
from support.jsonc_texts import UNHURRIED, documents, values

KEY = "customModels"
NEW = {"model": "m", "n": 1}


def edited(text: str | None, *edits: Edit) -> str:
    """Return a file with the edits made; None stands for a new one."""
    data = b"{}\n" if text is None else text.encode()
    return edit_document(parse(data), KEY, edits).decode()


def entries(text: str) -> list[str]:
    """Return the texts of the entries."""
    document = parse(text.encode())
    array = entries_of(document, KEY)
    return [document.text[item.start : item.end] for item in array.items] if array else []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, '{\n  "customModels": [\n    {\n      "model": "m",\n      "n": 1\n    }\n  ]\n}\n'),
        ("{}", '{\n  "customModels": [\n    {\n      "model": "m",\n      "n": 1\n    }\n  ]\n}'),
        (
            "{ \n}",
            '{\n  "customModels": [\n    {\n      "model": "m",\n      "n": 1\n    }\n  ]\n}',
        ),
        ('{"a":1}', '{"a":1,"customModels":[{"model":"m","n":1}]}'),
        ('{"a": 1}\n', '{"a": 1, "customModels": [{"model": "m", "n": 1}]}\n'),
        (
            '{\r\n\t"a": 1 // c\r\n}\r\n',
            '{\r\n\t"a": 1, // c\r\n\t"customModels": [\r\n\t\t{\r\n\t\t\t"model": "m",\r\n'
            '\t\t\t"n": 1\r\n\t\t}\r\n\t]\r\n}\r\n',
        ),
        (
            '{\n "a": 1, "b": 2\n}',
            '{\n "a": 1, "b": 2, "customModels": [\n {\n  "model": "m",\n  "n": 1\n }\n]\n}',
        ),
        ('{\n"a": 1\n}', '{\n"a": 1,\n"customModels": [{"model": "m", "n": 1}]\n}'),
        (
            "{ // none\n}",
            '{ // none\n  "customModels": [\n    {\n      "model": "m",\n      "n": 1\n    }\n'
            "  ]\n}",
        ),
    ],
)
def test_a_missing_list_is_created_in_the_style_of_the_file(before: str | None, after: str) -> None:
    assert edited(before, Append(NEW)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[]", '[\n    {\n      "model": "m",\n      "n": 1\n    }\n  ]'),
        ("[ ]", '[ {"model": "m", "n": 1} ]'),
        ("[1, 2]", '[1, 2, {"model": "m", "n": 1}]'),
        ("[1]", '[1, {"model": "m", "n": 1}]'),
        ("[ 1 /* one */ ]", '[ 1, /* one */ {"model": "m", "n": 1} ]'),
        ("[/* none */]", '[/* none */\n    {\n      "model": "m",\n      "n": 1\n    }]'),
        (
            "[{\n    }]",
            '[{\n    }, {\n      "model": "m",\n      "n": 1\n    }]',
        ),
        (
            "[1 // one\n  ]",
            '[1, // one\n    {\n      "model": "m",\n      "n": 1\n    }\n  ]',
        ),
        (
            "[\n    1 // one\n    // two\n  ]",
            '[\n    1, // one\n    // two\n    {\n      "model": "m",\n      "n": 1\n    }\n  ]',
        ),
    ],
)
def test_an_appended_entry_is_written_like_the_one_before_it(before: str, after: str) -> None:
    text = f'{{\n  "customModels": {before},\n  "z": 1\n}}'
    result = edited(text, Append(NEW))
    assert result == f'{{\n  "customModels": {after},\n  "z": 1\n}}'
    assert edited(result, Remove(len(entries(result)) - 1)) == text


def test_a_document_without_line_breaks_stays_one_line() -> None:
    text = '{"customModels":[]}'
    result = edited(text, Append(NEW), Append({"l": [1, {"a": 2}]}))
    assert result == '{"customModels":[{"model":"m","n":1},{"l":[1,{"a":2}]}]}'
    assert edited(result, Remove(0), Remove(1)) == text


@pytest.mark.parametrize(
    ("index", "left"),
    [
        (0, "[\n  // about 1\n  // about 2\n  2, /* two */\n  3 // three\n]"),
        (1, "[\n  // about 1\n  1,\n  // about 2\n  /* two */\n  3 // three\n]"),
        (2, "[\n  // about 1\n  1,\n  // about 2\n  2 /* two */ // three\n]"),
    ],
)
def test_a_removed_entry_takes_its_comma_along_and_leaves_all_comments(
    index: int, left: str
) -> None:
    array = "[\n  // about 1\n  1,\n  // about 2\n  2, /* two */\n  3 // three\n]"
    assert edited(f'{{"customModels": {array}}}', Remove(index)) == f'{{"customModels": {left}}}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[1, // one\n2]", "[1 // one\n]"),
        ("[ // note\n1]", "[ // note\n]"),
        ("[1 // one\n, 2 ]", "[1 // one\n  ]"),
        ("[1 , 2 ]", "[1 ]"),
        ("[1 // one\r, 2]", "[1 // one\r ]"),
        ("[\n 2\n\n]", "[]"),
    ],
)
def test_no_line_comment_swallows_what_follows_it(before: str, after: str) -> None:
    text = f'{{"customModels": {before}}}'
    last = len(entries(text)) - 1
    assert edited(text, Remove(last)) == f'{{"customModels": {after}}}'


def test_only_the_values_that_differ_change_in_an_entry() -> None:
    text = (
        '{"customModels": [{ "model" :"m", // mine\r\n "n": 1e0, "apiKey": "old" /* key */,\n'
        '"index": 0 , "s": "\\u00e9", "x": {"apiKey": "old"}}]}'
    )
    update = Update(0, {"model": "m", "n": 1, "apiKey": "new", "s": "é"})
    assert edited(text, update) == text.replace('"old" /*', '"new" /*')


def test_missing_members_are_added_and_unwanted_ones_go() -> None:
    text = '{"customModels": [{\n  "a": 1, // one\n  "b": 2\n}]}'
    update = Update(0, {"c": [1]}, without=("a", "zz"))
    assert edited(text, update) == '{"customModels": [{\n  // one\n  "b": 2,\n  "c": [1]\n}]}'


def test_of_a_member_that_stands_twice_the_last_one_is_changed_and_all_are_removed() -> None:
    text = '{"customModels": [{"a": 1, "a": 2}]}'
    assert edited(text, Update(0, {"a": 3})) == '{"customModels": [{"a": 1, "a": 3}]}'
    assert edited(text, Update(0, {}, without=("a",))) == '{"customModels": [{}]}'


def test_members_are_added_to_an_empty_entry() -> None:
    assert edited('{"customModels":[{}]}', Update(0, {"a": 1, "b": 2})) == (
        '{"customModels":[{"a":1,"b":2}]}'
    )


def test_where_the_list_stands_twice_the_last_one_is_edited() -> None:
    text = '{"customModels": [1], "customModels": [2]}'
    assert edited(text, Remove(0)) == '{"customModels": [1], "customModels": []}'


def test_a_value_that_is_no_list_is_refused_by_name() -> None:
    with pytest.raises(MalformedJson, match=r'line 2, column 17: "customModels" is not a list'):
        edited('{\n"customModels": {}}', Append(NEW))


def test_an_edit_that_would_say_something_else_is_not_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_edit, "_dumped", lambda *_: '"other"')
    with pytest.raises(RuntimeError, match="customModels"):
        edited("{}", Append(NEW))


def test_edits_do_not_print_their_values() -> None:
    shown = repr([Append({"apiKey": "sk-test-1"}), Update(0, {"apiKey": "sk-test-1"})])
    assert "sk-test" not in shown


@UNHURRIED
@given(st.data())
def test_appending_and_removing_again_restores_every_byte(data: st.DataObject) -> None:
    items = data.draw(st.lists(values(), max_size=3))
    text = data.draw(documents(KEY, items))
    count = data.draw(st.integers(1, 3))
    grown = edited(text, *[Append(NEW)] * count)
    assert entries(grown)[: len(items)] == items
    assert len(entries(grown)) == len(items) + count
    assert edited(grown, *(Remove(len(items) + n) for n in range(count))) == text
    for left in reversed(range(count)):  # one after the other, too
        grown = edited(grown, Remove(len(items) + left))
    assert grown == text


@UNHURRIED
@given(st.data())
def test_removing_entries_keeps_all_others_and_all_comments_between(data: st.DataObject) -> None:
    items = data.draw(st.lists(values(), min_size=1, max_size=4))
    gone = data.draw(st.sets(st.integers(0, len(items) - 1), min_size=1))
    text = data.draw(documents(KEY, items))
    result = edited(text, *(Remove(index) for index in gone))
    left = [item for index, item in enumerate(items) if index not in gone]
    assert entries(result) == left
    assert comments(between(result)) == comments(between(text))
    assert outside(result) == outside(text)


def test_a_comment_before_a_removed_last_item_gets_no_blank() -> None:
    text = '{"customModels": [1, 2\n // mine\n , 3 \n]}'
    assert edited(text, Remove(2)) == '{"customModels": [1, 2\n // mine\n]}'


@UNHURRIED
@given(st.data())
def test_setting_a_member_changes_nothing_else(data: st.DataObject) -> None:
    items = data.draw(st.lists(values(), min_size=1, max_size=3))
    text = data.draw(documents(KEY, [*items, '{"apiKey": "old", "z": 1}']))
    update = Update(len(items), {"apiKey": "new", "y": [True, None]})
    result = edited(text, update)
    assert entries(result)[:-1] == items
    assert re.fullmatch(r'{"apiKey": "new", "z": 1, "y": ?\[true, ?null\]}', entries(result)[-1])
    assert outside(result) == outside(text)
    assert edited(result, update) == result


@UNHURRIED
@given(st.data())
def test_a_created_list_leaves_all_other_members_as_they_are(data: st.DataObject) -> None:
    text = data.draw(documents("other", []))
    before = plain(parse(text.encode()).root)
    assert isinstance(before, dict)
    after = plain(parse(edited(text, Append(NEW)).encode()).root)
    assert same(after, {**before, KEY: [NEW]})


def outside(text: str) -> tuple[str, str]:
    """Return what stands before and after the list."""
    array = entries_of(parse(text.encode()), KEY)
    assert array is not None
    return text[: array.start], text[array.end :]


def between(text: str) -> str:
    """Return what stands between the entries."""
    array = entries_of(parse(text.encode()), KEY)
    assert array is not None
    edges = [array.start, *(e for item in array.items for e in (item.start, item.end)), array.end]
    return "\n".join(text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))


def comments(text: str) -> list[str]:
    """Return the comments of a text without strings."""
    return re.findall(r"/\*.*?\*/|//[^\n\r]*", text, re.DOTALL)
