"""Whatever the settings file looks like: every byte that is not ours stays."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.domain.json_edit import entries_of
from bootstrap.domain.jsonc import parse, plain, same
from support.droid_entries import GATEWAY, NEW_KEY, OLD_KEY, by_hand, merge, wanted
from support.jsonc_texts import UNHURRIED, documents, spelled, values

KEY = "customModels"
OURS = [wanted("a"), wanted("b/c", maxContextLimit=1000, noImageSupport=False)]
ROTATED = [{**entry, "apiKey": NEW_KEY} for entry in OURS]
# Of other people: other places, other models, other shapes.
FOREIGN: list[dict[str, object]] = [
    by_hand("a", baseUrl="https://api.example/v1", id="custom:mine"),
    by_hand("other"),
    {"model": "a", "customModels": [by_hand("a")]},
    {"displayName": "a (lab)", "provider": "openai", "extraHeaders": {"a": "b"}},
]


def foreign() -> st.SearchStrategy[list[str]]:
    one = st.one_of(values(), *map(spelled, FOREIGN))
    return st.lists(one, max_size=3)


def texts(data: bytes) -> list[str]:
    """Return the texts of the entries."""
    document = parse(data)
    array = entries_of(document, KEY)
    return [document.text[item.start : item.end] for item in array.items] if array else []


@UNHURRIED
@given(st.data())
def test_dropping_all_our_models_again_restores_every_byte(data: st.DataObject) -> None:
    others = data.draw(foreign())
    before = data.draw(documents(KEY, others)).encode()
    merged = merge(before, OURS)
    assert texts(merged.data)[: len(others)] == others
    assert [json.loads(text) for text in texts(merged.data)[len(others) :]] == OURS
    assert merge(merged.data, [], merged).data == before
    assert merge(merged.data, []).data == before


@UNHURRIED
@given(st.data())
def test_merging_again_changes_nothing_and_rotating_only_the_key(data: st.DataObject) -> None:
    merged = merge(data.draw(documents(KEY, data.draw(foreign()))), OURS)
    again = merge(merged.data, OURS, merged)
    assert again.data is merged.data
    assert (again.changes, again.conflicts, again.written) == ((), (), merged.written)
    rotated = merge(merged.data, ROTATED, merged)
    assert rotated.data == merged.data.replace(OLD_KEY.encode(), NEW_KEY.encode())


@UNHURRIED
@given(st.data())
def test_entries_that_stand_anywhere_in_any_spelling_are_rotated_in_place(
    data: st.DataObject,
) -> None:
    adopted = by_hand("b/c", baseUrl=f"{GATEWAY}/v1", apiKey=OLD_KEY)
    ours = [data.draw(spelled(OURS[0])), data.draw(spelled(adopted))]
    entries = data.draw(st.permutations([*data.draw(foreign()), *ours]))
    before = data.draw(documents(KEY, entries)).encode()
    assert merge(before, OURS).data == before
    rotated = merge(before, ROTATED)
    assert rotated.data == before.replace(OLD_KEY.encode(), NEW_KEY.encode())
    assert [change.fields for change in rotated.changes] == [("apiKey",)] * 2


@UNHURRIED
@given(st.data())
def test_stale_copies_and_dropped_models_go_and_all_others_stay(data: st.DataObject) -> None:
    others = data.draw(foreign())
    stale = data.draw(st.lists(spelled(by_hand("a")), max_size=2))
    dropped = data.draw(st.lists(spelled(wanted("dropped")), max_size=2))
    ours = [data.draw(spelled(OURS[0]))]
    entries = data.draw(st.permutations([*others, *stale, *dropped, *ours]))
    merged = merge(data.draw(documents(KEY, entries)), OURS[:1])
    assert texts(merged.data) == [entry for entry in entries if entry in [*others, *ours]]
    assert len(merged.changes) == len(stale) + len(dropped)


@UNHURRIED
@given(st.data())
def test_a_file_without_the_list_keeps_all_that_it_says(data: st.DataObject) -> None:
    before = data.draw(documents("other", [])).encode()
    merged = merge(before, OURS)
    said = plain(parse(before).root)
    assert isinstance(said, dict)
    assert same(plain(parse(merged.data).root), {**said, KEY: OURS})
    assert same(plain(parse(merge(merged.data, [], merged).data).root), {**said, KEY: []})


@pytest.mark.faults
def test_a_large_file_is_merged() -> None:
    other = {**FOREIGN[1], "extraArgs": {"x": "y" * 2000}}
    before = json.dumps({"a": {"b": "c" * 5_000_000}, KEY: [other] * 2000}).encode()
    merged = merge(before, OURS)
    assert len(before) > 9_000_000
    assert merge(merged.data, [], merged).data == before


@pytest.mark.faults
def test_a_long_file_on_one_line_with_many_members_is_merged() -> None:
    before = json.dumps({**{f"k{n}": n for n in range(20_000)}, KEY: [1] * 20_000}).encode()
    merged = merge(before, OURS)
    assert merge(merged.data, [], merged).data == before
