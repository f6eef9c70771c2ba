"""Changes to droid's files that leave every byte alone but those that they are for."""

import json

import pytest

from bootstrap.domain.doctor.droid_edits import (
    mend_syntax,
    retire,
    stale_copies,
    update,
    without_copies,
)
from bootstrap.domain.secret import Secret

KEY, OLD = "sk-test-in-force-0123456789", "sk-test-of-yesterday-0123456789"
URL = "http://127.0.0.1:4000"


def fill(key: Secret) -> str:
    assert key == Secret(KEY)
    return KEY


def entry(key: str, model: str = "qwen", **more: str) -> dict[str, str]:
    return {"model": model, "baseUrl": f"{URL}/v1", "apiKey": key, **more}


def ids(*aliases: str) -> dict[str, str]:
    return {f"custom:keyturn-{alias}": alias for alias in aliases}


def settings(*entries: object) -> bytes:
    return json.dumps({"customModels": list(entries)}, indent=1).encode()


def test_a_file_that_is_not_there_stays_so() -> None:
    for change in (
        update(lambda entry, index: {"apiKey": "x"}),
        retire(["qwen"], URL),
        without_copies(ids("qwen"), URL, Secret(KEY)),
        mend_syntax,
    ):
        assert change(None, fill) is None


def test_an_update_touches_only_the_entries_that_it_is_for() -> None:
    data = b'{ // mine\n "customModels": [{"model": "a"}, 7, {"model": "b"} ] }'

    def decide(fields: object, index: int) -> "dict[str, object] | None":
        return {"apiKey": Secret(KEY)} if index == 2 else None

    changed = update(decide)(data, fill)
    assert changed == data.replace(
        b'{"model": "b"}', b'{"model": "b", "apiKey": "%s"}' % KEY.encode()
    )
    assert update(lambda *_: None)(data, fill) == data
    assert update(lambda *_: {"a": 1})(b'{"x": 1}', fill) == b'{"x": 1}'


def test_stale_copies_go_and_one_entry_of_each_model_stays() -> None:
    held = [
        entry(OLD),
        entry(KEY),
        entry(OLD, "other"),
        entry(OLD),
        entry(OLD, "b"),
        entry(OLD, "b"),
    ]
    assert stale_copies(held, ids("qwen", "b"), URL, Secret(KEY)) == [0, 3, 5]
    assert stale_copies(held, ids("qwen"), URL, None) == [1, 3]
    gone = entry(OLD, "gone", id="custom:keyturn-gone")
    assert stale_copies([*held[:2], gone, gone], ids("qwen"), URL, Secret(KEY)) == [0]
    change = without_copies(ids("qwen", "b"), URL, Secret(KEY))
    left = change(settings(*held), fill)
    assert left is not None
    assert json.loads(left)["customModels"] == [held[1], held[2], held[4]]
    assert change(left, fill) == left
    assert change(b"{}", fill) == b"{}"


def test_our_models_leave_the_legacy_file_and_others_stay() -> None:
    ours = {"model": "qwen", "base_url": f"{URL}/v1", "api_key": KEY}
    theirs = {"model": "gpt", "base_url": "https://api.invalid/v1", "api_key": "x"}
    data = json.dumps({"custom_models": [ours, theirs]}).encode()
    left = retire(["qwen"], URL)(data, fill)
    assert left is not None
    assert json.loads(left) == {"custom_models": [theirs]}


@pytest.mark.parametrize(
    ("data", "mended"),
    [
        (b"", b"{}\n"),
        (b"\xef\xbb\xbf \n", b"{}\n"),
        (b'\xef\xbb\xbf{"a": 1}', b'{"a": 1}'),
        (b'{"a": [1,],\n}', b'{"a": [1]\n}'),
        ('{"é": 1, /* x */ }'.encode(), '{"é": 1 /* x */ }'.encode()),
        (b'{"a": 1}', b'{"a": 1}'),
        (b'{"a": ', b'{"a": '),
        (b'{"a": 1,} x', b'{"a": 1,} x'),
        (b"{,}", b"{,}"),
        (b'{"a": [' + b"1," * 1100 + b"]}", b'{"a": [' + b"1," * 1099 + b"1]}"),
    ],
)
def test_only_what_is_trivially_wrong_is_taken_out(data: bytes, mended: bytes) -> None:
    assert mend_syntax(data, fill) == mended
    assert mend_syntax(mended, fill) == mended


def test_a_file_with_too_many_faults_is_left_to_a_person() -> None:
    many = b'{"a": [' + b"{}" + b",[1,]" * 51 + b"]}"
    assert mend_syntax(many, fill) == many
