"""Our models in droid's settings.json: added, adopted, repaired, removed, never overwritten."""

import json
from typing import Any

import pytest

from bootstrap.domain.droid import EntryChange, entry_id
from bootstrap.domain.errors import TargetError
from bootstrap.domain.jsonc import parse, plain
from support.droid_entries import GATEWAY, NEW_KEY, OLD_KEY, by_hand, merge, wanted

OTHER = {"model": "gpt", "displayName": "GPT", "baseUrl": "https://api.example/v1",
         "apiKey": "sk-test-other", "provider": "openai"}  # fmt: skip


def settings(*entries: object, **top: object) -> str:
    return json.dumps({**top, "customModels": entries}, indent=2)


def models(data: bytes) -> Any:
    document: Any = plain(parse(data).root)
    return document["customModels"]


def test_without_a_file_a_new_one_is_made() -> None:
    merged = merge(None, [wanted("a"), wanted("b")])
    assert models(merged.data) == [wanted("a"), wanted("b")]
    assert [str(change) for change in merged.changes] == [
        "added custom:keyturn-a",
        "added custom:keyturn-b",
    ]
    assert merged.written.keys() == {"custom:keyturn-a", "custom:keyturn-b"}


def test_without_a_file_and_without_models_there_is_nothing_to_do() -> None:
    merged = merge(None, [])
    assert (merged.changes, merged.written) == ((), {})
    assert plain(parse(merged.data).root) == {}


def test_our_entries_come_after_those_of_others() -> None:
    merged = merge(settings(OTHER, None, "odd", theme="dark"), [wanted("a")])
    assert models(merged.data) == [OTHER, None, "odd", wanted("a")]


def test_merging_twice_gives_the_very_same_object_and_no_changes() -> None:
    first = merge(settings(OTHER, by_hand("b")), [wanted("a"), wanted("b")])
    second = merge(first.data, [wanted("a"), wanted("b")], first)
    assert second.data is first.data
    assert (second.changes, second.conflicts) == ((), ())
    assert second.written == first.written


def test_a_rotation_changes_the_bytes_of_the_key_and_nothing_else() -> None:
    first = merge(settings(OTHER, by_hand("b")), [wanted("a"), wanted("b")])
    second = merge(first.data, [wanted("a", NEW_KEY), wanted("b", NEW_KEY)], first)
    assert second.data == first.data.replace(OLD_KEY.encode(), NEW_KEY.encode())
    assert [change.fields for change in second.changes] == [("apiKey",), ("apiKey",)]
    assert second.written == first.written


def test_a_wrong_key_alone_is_drift_and_no_conflict() -> None:
    first = merge(None, [wanted("a")])
    found = first.data.replace(OLD_KEY.encode(), b"pasted by hand")
    second = merge(found, [wanted("a")], first)
    assert (second.data, second.conflicts) == (first.data, ())


def test_what_droid_adds_and_changes_by_itself_is_neither_drift_nor_conflict() -> None:
    first = merge(None, [wanted("a"), wanted("b", noImageSupport=False)])
    a, b = models(first.data)
    rewritten = settings(
        {"index": 0, **a, "noImageSupport": True, "maxOutputTokens": 16384.0},
        {**b, "index": 1},
        logoAnimation="off",
    ).encode()
    second = merge(rewritten, [wanted("a"), wanted("b", noImageSupport=False)], first)
    assert second.data is rewritten
    assert second.conflicts == ()


def test_a_model_that_the_catalogue_drops_goes() -> None:
    first = merge(settings(OTHER), [wanted("a"), wanted("b")])
    second = merge(first.data, [wanted("b")], first)
    assert models(second.data) == [OTHER, wanted("b")]
    assert second.changes == (EntryChange("removed", "custom:keyturn-a"),)
    assert second.written.keys() == {"custom:keyturn-b"}
    assert merge(first.data, []).data == settings(OTHER).encode()


def test_a_changed_catalogue_updates_only_the_fields_that_changed() -> None:
    first = merge(None, [wanted("a", maxContextLimit=1000, noImageSupport=False)])
    second = merge(first.data, [wanted("a", displayName="New", extraArgs={"x": 1})], first)
    assert models(second.data) == [wanted("a", displayName="New", extraArgs={"x": 1})]
    assert set(second.changes[0].fields) == {
        "displayName",
        "extraArgs",
        "maxContextLimit",
        "noImageSupport",
    }
    assert str(second.changes[0]).startswith("updated custom:keyturn-a (displayName, ")
    assert merge(
        second.data, [wanted("a", displayName="New", extraArgs={"x": 1})], second
    ).data is (second.data)


class TestARenamedModel:
    """Its alias is another, its `id` in lab.toml is not."""

    def test_keeps_its_entry_and_stays_the_default(self) -> None:
        first = merge(None, [wanted("a"), wanted("b")])
        text = settings(*models(first.data), sessionDefaultSettings={"model": entry_id("a")})
        renamed = wanted("new", id=entry_id("a"))
        second = merge(text, [renamed, wanted("b")], first)
        assert models(second.data) == [renamed, wanted("b")]
        assert (second.conflicts, second.lost_default) == ((), None)
        third = merge(second.data, [renamed, wanted("b")], second)
        assert third.data is second.data

    def test_keeps_the_entry_that_was_adopted_under_the_old_alias(self) -> None:
        first = merge(settings(by_hand("a"), model="custom:My-a-0"), [wanted("a")])
        second = merge(first.data, [wanted("new", id=entry_id("a"))], first)
        assert [m["model"] for m in models(second.data)] == ["new"]
        assert second.written.keys() == {"custom:My-a-0"}
        assert second.lost_default is None

    def test_gets_its_old_id_back_when_that_is_said_later(self) -> None:
        first = merge(settings(wanted("a"), model=entry_id("a")), [wanted("new")])
        assert first.lost_default == entry_id("a")
        second = merge(first.data, [wanted("new", id=entry_id("a"))], first)
        assert [m["id"] for m in models(second.data)] == [entry_id("a")]

    def test_can_swap_its_alias_with_another(self) -> None:
        first = merge(None, [wanted("a"), wanted("b")])
        swapped = [wanted("b", id=entry_id("a")), wanted("a", id=entry_id("b"))]
        second = merge(first.data, swapped, first)
        assert models(second.data) == swapped
        assert {change.fields for change in second.changes} == {("model", "displayName")}


class TestAHandMadeEntry:
    def test_is_adopted_with_its_place_its_name_and_no_id(self) -> None:
        merged = merge(settings(by_hand("a", reasoningEffort="high"), OTHER), [wanted("a")])
        adopted = {**wanted("a"), "displayName": "My a", "reasoningEffort": "high"}
        del adopted["id"]
        assert models(merged.data) == [adopted, OTHER]
        assert merged.changes == (EntryChange("updated", "custom:My-a-0", ("baseUrl", "apiKey")),)
        assert merged.written.keys() == {"custom:My-a-0"}

    def test_keeps_its_id_when_it_has_one(self) -> None:
        merged = merge(settings(by_hand("a", id="custom:mine")), [wanted("a")])
        assert models(merged.data)[0]["id"] == "custom:mine"
        assert merged.written.keys() == {"custom:mine"}

    def test_gets_whatever_it_lacks_to_work(self) -> None:
        lacking = by_hand("a", provider=None, maxOutputTokens=None, apiKey="YOUR_API_KEY")
        merged = merge(settings(lacking), [wanted("a", maxContextLimit=9)])
        assert models(merged.data)[0] == {**wanted("a", id=None), "displayName": "My a"}
        assert merged.changes[0].id == "My a"
        assert merged.written.keys() == {"custom:My-a-0"}

    def test_is_still_ours_after_droid_wrote_its_id_out(self) -> None:
        first = merge(settings(by_hand("a")), [wanted("a")])
        rewritten = settings({**models(first.data)[0], "id": "custom:My-a-0", "index": 0})
        second = merge(rewritten, [wanted("a", NEW_KEY)], first)
        assert second.changes == (EntryChange("updated", "custom:My-a-0", ("apiKey",)),)
        assert second.written == first.written

    def test_may_be_renamed_by_hand(self) -> None:
        first = merge(settings(by_hand("a")), [wanted("a")])
        renamed = first.data.replace(b"My a", b"Our a")
        second = merge(renamed, [wanted("a")], first)
        assert second.data is renamed
        assert second.written.keys() == {"custom:Our-a-0"}

    def test_at_another_place_is_not_ours(self) -> None:
        there = by_hand("a", baseUrl="https://api.example/v1")
        assert models(merge(settings(there), [wanted("a")]).data) == [there, wanted("a")]

    def test_for_another_model_is_not_ours(self) -> None:
        other = by_hand("z")
        merged = merge(settings(other, {**other, "model": 5}), [wanted("a")])
        assert models(merged.data) == [other, {**other, "model": 5}, wanted("a")]

    def test_that_was_pointed_elsewhere_after_its_adoption_is_given_back(self) -> None:
        first = merge(settings(by_hand("a")), [wanted("a")])
        elsewhere = first.data.replace(GATEWAY.encode(), b"https://api.example")
        second = merge(elsewhere, [wanted("a")], first)
        assert models(second.data) == [models(elsewhere)[0], wanted("a")]
        assert second.written.keys() == {"custom:keyturn-a"}

    def test_follows_the_gateway_to_another_port(self) -> None:
        first = merge(settings(by_hand("a")), [wanted("a")])
        second = merge(first.data, [wanted("a", baseUrl="http://127.0.0.1:4001/v1")], first)
        assert models(second.data)[0]["baseUrl"] == "http://127.0.0.1:4001/v1"

    def test_goes_when_the_catalogue_drops_its_model(self) -> None:
        first = merge(settings(by_hand("a"), OTHER), [wanted("a")])
        second = merge(first.data, [], first)
        assert models(second.data) == [OTHER]
        assert second.changes == (EntryChange("removed", "custom:My-a-0"),)

    def test_that_was_given_another_model_since_stays_when_ours_is_dropped(self) -> None:
        first = merge(settings(by_hand("a")), [wanted("a")])
        changed = first.data.replace(b'"a"', b'"wild"')
        assert merge(changed, [], first).data is changed


class TestStaleCopies:
    def test_of_our_entry_go(self) -> None:
        copies = [
            by_hand("a", baseUrl=url) for url in ("http://[::1]:4000", "http://127.0.0.1:4000/v1/")
        ]
        first = merge(None, [wanted("a")])
        merged = merge(settings(copies[0], OTHER, wanted("a"), copies[1]), [wanted("a")], first)
        assert models(merged.data) == [OTHER, wanted("a")]
        assert {change.kind for change in merged.changes} == {"stale-copy-removed"}

    def test_with_our_own_id_go_too(self) -> None:
        merged = merge(settings(wanted("a", NEW_KEY), wanted("a")), [wanted("a", NEW_KEY)])
        assert models(merged.data) == [wanted("a", NEW_KEY)]
        assert merged.changes == (EntryChange("stale-copy-removed", "custom:keyturn-a"),)

    def test_of_an_adopted_entry_go(self) -> None:
        first = merge(settings(by_hand("a", id="custom:mine")), [wanted("a")])
        copy = by_hand("a", id="custom:copy")
        merged = merge(settings(copy, *models(first.data)), [wanted("a")], first)
        assert [entry["id"] for entry in models(merged.data)] == ["custom:mine"]

    def test_never_take_the_place_of_the_one_that_is_the_default(self) -> None:
        entries = [by_hand("a", id="custom:one"), by_hand("a", id="custom:two")]
        for top in (
            {"sessionDefaultSettings": {"model": "custom:two"}},
            {"model": "custom:two"},
            {"sessionDefaultSettings": {"x": 1}, "model": "custom:two"},
        ):
            merged = merge(settings(*entries, **top), [wanted("a")])
            assert [entry["id"] for entry in models(merged.data)] == ["custom:two"]
            assert merged.lost_default is None

    def test_without_an_id_are_named_as_droid_names_them(self) -> None:
        merged = merge(
            settings(by_hand("a"), by_hand("a"), by_hand("a", provider=None)), [wanted("a")]
        )
        assert [change.id for change in merged.changes] == [
            "custom:My-a-0",
            "custom:My-a-1",
            "My a",
        ]


class TestTheDefaultModel:
    def test_that_goes_away_is_reported(self) -> None:
        first = merge(None, [wanted("a"), wanted("b")])
        for default in (entry_id("a"), "custom:a"):
            text = settings(*models(first.data), sessionDefaultSettings={"model": default})
            assert merge(text, [wanted("b")], first).lost_default == default
            assert merge(text, [wanted("a")], first).lost_default is None

    def test_that_was_gone_before_is_not_our_loss(self) -> None:
        assert merge(settings(wanted("a"), model="custom:gone"), []).lost_default is None

    def test_that_is_no_text_is_none(self) -> None:
        assert merge(settings(wanted("a"), model=5, sessionDefaultSettings=[]), []).changes


class TestAnEntryEditedByHand:
    def test_is_a_conflict_and_stays_as_it_is(self) -> None:
        first = merge(None, [wanted("a"), wanted("b")])
        found = first.data.replace(b"a (lab)", b"Mine")
        second = merge(found, [wanted("a", maxOutputTokens=9), wanted("b")], first)
        assert second.conflicts == (entry_id("a"),)
        assert second.data is found
        assert second.written == first.written

    def test_gets_a_new_key_all_the_same_while_it_goes_to_the_gateway(self) -> None:
        first = merge(None, [wanted("a")])
        found = first.data.replace(b"16384", b"5")
        second = merge(found, [wanted("a", NEW_KEY)], first)
        assert second.data == found.replace(OLD_KEY.encode(), NEW_KEY.encode())
        assert second.conflicts == (entry_id("a"),)

    def test_never_gets_the_key_when_it_goes_elsewhere(self) -> None:
        first = merge(None, [wanted("a")])
        found = first.data.replace(GATEWAY.encode(), b"https://evil.example")
        second = merge(found, [wanted("a", NEW_KEY)], first)
        assert second.data is found
        assert second.conflicts == (entry_id("a"),)

    def test_is_overwritten_by_force(self) -> None:
        first = merge(None, [wanted("a")])
        found = first.data.replace(b"16384", b"5").replace(b"a (lab)", b"Mine")
        second = merge(found, [wanted("a")], first, force=True)
        assert (second.data, second.conflicts) == (first.data, ())
        assert second.written == first.written

    def test_to_what_is_wanted_anyway_is_no_conflict(self) -> None:
        first = merge(None, [wanted("a")])
        found = first.data.replace(b"16384", b"5")
        second = merge(found, [wanted("a", maxOutputTokens=5)], first)
        assert second.data is found
        assert second.conflicts == ()

    def test_is_repaired_when_nothing_is_remembered(self) -> None:
        first = merge(None, [wanted("a")])
        second = merge(first.data.replace(b"16384", b"5"), [wanted("a")])
        assert (second.data, second.conflicts) == (first.data, ())

    def test_is_a_conflict_after_its_adoption_too(self) -> None:
        first = merge(settings(by_hand("a")), [wanted("a")])
        second = merge(first.data.replace(b"16384", b"5"), [wanted("a")], first)
        assert second.conflicts == ("custom:My-a-0",)

    def test_so_that_droid_skips_it_is_still_recognised(self) -> None:
        first = merge(None, [wanted("a")])
        found = settings({k: v for k, v in models(first.data)[0].items() if k != "provider"})
        assert merge(found, [wanted("a")], first).conflicts == (entry_id("a"),)
        assert models(merge(found, [wanted("a")], first, force=True).data) == [wanted("a")]


def test_a_malformed_file_is_refused_with_its_place() -> None:
    with pytest.raises(TargetError) as caught:
        merge('{\n  "customModels": [],\n}', [wanted("a")])
    assert "settings.json" in caught.value.what
    assert "line 2, column 21" in caught.value.why


def test_models_that_are_no_list_are_refused_by_name() -> None:
    with pytest.raises(TargetError, match='"customModels" is not a list'):
        merge('{"customModels": {}}', [wanted("a")])


def test_entries_that_droid_could_not_use_are_refused_without_quoting_the_key() -> None:
    with pytest.raises(TargetError, match=r"customModels\[0\]: apiKey") as caught:
        merge(None, [wanted("a", "sk-test-old\n")])
    assert "sk-test" not in str(caught.value) + caught.value.fix


def test_a_merge_prints_neither_file_nor_key() -> None:
    shown = repr(merge(settings(OTHER, by_hand("b")), [wanted("a"), wanted("b", NEW_KEY)]))
    assert "sk-test" not in shown
