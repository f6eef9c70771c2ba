"""Members of objects are set and removed, and every other byte stays."""

import pytest

from bootstrap.domain.json_members import remove_member, set_member
from bootstrap.domain.jsonc import MalformedJson

TEXT = '{ // mine\r\n  "a": {"b": 1e0, /* c */ "b": 2},\r\n  "d": [ ]\r\n}\r\n'


def test_a_value_changes_in_its_place() -> None:
    assert set_member(TEXT.encode(), ("a", "b"), 3).decode() == TEXT.replace('"b": 2', '"b": 3')
    assert set_member(TEXT.encode(), ("d",), "x").decode() == TEXT.replace("[ ]", '"x"')


def test_a_value_that_is_there_already_leaves_the_file_as_it_is() -> None:
    assert set_member(TEXT.encode(), ("a", "b"), 2).decode() == TEXT


def test_a_missing_member_is_added_with_what_leads_to_it() -> None:
    added = set_member(TEXT.encode(), ("e", "f"), [1]).decode()
    assert added.startswith(TEXT[: TEXT.index("[ ]")])
    assert '"e": {\r\n    "f": [\r\n      1\r\n    ]\r\n  }\r\n}' in added
    assert set_member(b'{"a":1}', ("b", "c"), 2) == b'{"a":1,"b":{"c":2}}'
    assert set_member(None, ("a",), "x") == b'{\n  "a": "x"\n}\n'


def test_a_member_goes_however_often_it_stands_there() -> None:
    assert remove_member(TEXT.encode(), ("a", "b")).decode() == TEXT.replace(
        '"b": 1e0, /* c */ "b": 2', " /* c */"
    )
    assert remove_member(b'{"a": 1, "b": 2}', ("a",)) == b'{"b": 2}'


def test_a_member_that_is_not_there_needs_no_removing() -> None:
    for path in (("x",), ("x", "y"), ("a", "x")):
        assert remove_member(TEXT.encode(), path).decode() == TEXT


def test_something_else_on_the_way_is_refused() -> None:
    for path in (("d", "x"), ("d", "x", "y")):
        with pytest.raises(MalformedJson, match='"d" is not an object'):
            set_member(TEXT.encode(), path, 1)
        with pytest.raises(MalformedJson, match='"d" is not an object'):
            remove_member(TEXT.encode(), path)
    with pytest.raises(MalformedJson):
        set_member(b"[", ("a",), 1)
