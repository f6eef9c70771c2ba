"""The environment, with and without `os`."""

import posix
import sys

import pytest

from bootstrap.adapters import variables as module
from bootstrap.adapters.variables import variables


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
