"""Which lab may issue client keys, where several live in one home."""

from pathlib import PurePath
from types import SimpleNamespace
from typing import cast

import pytest

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.lab import Lab
from bootstrap.domain.targets import KEYSET
from bootstrap.wiring import client_run


def test_a_lab_issues_no_keys_for_the_gateway_of_another_lab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keyset = PurePath("/keyset.json")
    target = SimpleNamespace(name=KEYSET, path=keyset)
    row = {"path": str(keyset), "claim": 1}
    states = {"/first": {"targets": {KEYSET: row}}}
    monkeypatch.setattr(client_run, "targets", lambda *_: [target])
    monkeypatch.setattr(client_run, "other_labs", lambda *_: states)
    first, second = (cast("Lab", SimpleNamespace(root=PurePath(p))) for p in ("/first", "/second"))
    assert client_run.key_desk(first, wait_s=0).path == keyset
    with pytest.raises(ConfigError) as failed:
        client_run.key_desk(second, wait_s=0)
    assert "/first" in failed.value.why
