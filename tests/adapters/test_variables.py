"""The environment, with and without `os`."""

import posix
import sys

import pytest

from bootstrap.adapters import variables as module
from bootstrap.adapters.variables import given_variables, variables, was_given


def test_where_os_is_loaded_its_changes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANGED", "now")
    assert variables()["CHANGED"] == "now"


def test_without_os_values_come_out_as_it_would_give_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix, "environ", {b"A": b"1", b"ODD": b"caf\xe9"})
    monkeypatch.setattr(module, "_decoded", {})
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "os")
        found = dict(variables())
        assert variables() == found
    assert found == {"A": "1", "ODD": "caf\udce9"}


@pytest.mark.parametrize(
    ("value", "given", "passed"),
    [("C.UTF-8", False, False), ("C.UTF-8", True, True), ("de_DE.UTF-8", False, True)],
)
def test_what_python_sets_for_itself_was_not_given(
    monkeypatch: pytest.MonkeyPatch, value: str, given: bool, passed: bool
) -> None:
    monkeypatch.setenv("LC_CTYPE", value)
    monkeypatch.setattr(module, "was_given", lambda name: given)
    assert ("LC_CTYPE" in given_variables()) is passed
    assert given_variables()["HOME"] == variables()["HOME"]


def test_what_was_given_is_known_where_the_kernel_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert was_given("PATH")
    assert not was_given("SET_BY_NOBODY_EVER")

    def refuse(path: str, flags: int) -> int:
        raise PermissionError

    monkeypatch.setattr(posix, "open", refuse)
    assert was_given("SET_BY_NOBODY_EVER"), "so it is left alone"
