"""What the planner decides for one file: every owner, every way that it can stand there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import pytest

from bootstrap.domain.content import Content, FileState, Write
from bootstrap.domain.droid_schema import entry_id
from bootstrap.domain.plan import Action, Change, Decision, Plan, decide, gateway_reason
from bootstrap.domain.targets import Owner, Target, Touches

URL = "http://127.0.0.1:4000"
PATH = PurePath("/home/me/file")
WANTED = Content(b"wanted\n")
FOUND = Content(b"found\n")


def target_of(owner: Owner, **more: Any) -> Target:
    """Return a target at PATH."""
    return Target("it", PATH, "it.j2", "none", owner, **more)


def state(content: Content, mode: int = 0o600) -> FileState:
    """Return a file that stands at PATH."""
    return FileState(content, mode, str(PATH))


def diff(old: bytes | None, new: bytes) -> Sequence[str]:
    """Show that the difference was asked for."""
    return [f"{old!r} -> {new!r}"]


def decided(
    target: Target,
    wanted: Content | None,
    found: FileState | None,
    last: Mapping[str, Any] | None = None,
    *,
    force: bool = False,
    aliases: Sequence[str] = ("m",),
) -> Decision:
    """Decide with the usual gateway."""
    return decide(
        target, wanted, found, last or {}, gateway_url=URL, aliases=aliases, force=force, diff=diff
    )


def changed(decision: Decision) -> Change:
    """Return the change, which must be there."""
    assert decision.change is not None
    return decision.change


class TestWholeFiles:
    target = target_of(Owner.KEYTURN)
    ours: Mapping[str, Any] = MappingProxyType({"path": str(PATH), "digest": FOUND.digest})
    written: Mapping[str, Any] = MappingProxyType({"path": str(PATH), "digest": WANTED.digest})

    def test_a_missing_file_is_created(self) -> None:
        decision = decided(self.target, WANTED, None)
        change = changed(decision)
        assert (change.action, change.why) == (Action.CREATE, "missing")
        assert change.write == Write(PATH, WANTED, 0o600, None)
        assert decision.remember == self.written

    def test_a_file_that_is_right_is_left_alone_and_becomes_ours(self) -> None:
        decision = decided(self.target, WANTED, state(WANTED))
        assert decision == Decision(None, self.written)

    @pytest.mark.parametrize(("mode", "should"), [(0o644, 0o600), (0o600, 0o644)])
    def test_a_wrong_mode_is_drift_in_either_direction(self, mode: int, should: int) -> None:
        target = target_of(Owner.KEYTURN, mode=should)
        change = changed(decided(target, WANTED, state(WANTED, mode)))
        assert change.action is Action.MODE
        assert change.why == f"mode is {mode:04o}, should be {should:04o}"
        assert change.write == Write(PATH, WANTED, should, WANTED.digest)
        assert change.details == ()

    def test_a_file_as_we_left_it_is_updated(self) -> None:
        decision = decided(self.target, WANTED, state(FOUND), self.ours)
        change = changed(decision)
        assert (change.action, change.why) == (Action.UPDATE, "out of date")
        assert change.write == Write(PATH, WANTED, 0o600, FOUND.digest)
        assert change.details == tuple(diff(FOUND.data, WANTED.data))
        assert not change.backup
        assert decision.remember == self.written

    @pytest.mark.parametrize(
        ("last", "why"),
        [
            ({}, "not written by keyturn"),
            ({"digest": "another"}, "edited by hand since keyturn wrote it"),
        ],
    )
    def test_a_file_that_is_not_as_we_left_it_is_a_conflict_until_force(
        self, last: Mapping[str, Any], why: str
    ) -> None:
        decision = decided(self.target, WANTED, state(FOUND), last)
        change = changed(decision)
        assert (change.action, change.why, change.write) == (Action.CONFLICT, why, None)
        assert change.details == tuple(diff(FOUND.data, WANTED.data))
        assert decision.remember == last
        forced = decided(self.target, WANTED, state(FOUND), last, force=True)
        change = changed(forced)
        assert (change.action, change.why) == (Action.UPDATE, f"{why}; replaced by --force")
        assert change.backup
        assert change.write == Write(PATH, WANTED, 0o600, FOUND.digest)
        assert forced.remember == self.written

    def test_a_guest_that_the_user_wrote_is_noted_and_left_alone(self) -> None:
        guest = target_of(Owner.GUEST)
        change = changed(decided(guest, WANTED, state(FOUND)))
        assert (change.action, change.write) == (Action.NOTE, None)
        assert changed(decided(guest, WANTED, state(FOUND), self.ours)).action is Action.UPDATE
        assert changed(decided(guest, WANTED, None)).action is Action.CREATE
        assert changed(decided(guest, WANTED, state(FOUND), force=True)).backup

    def test_a_target_that_nothing_is_rendered_for_stays_as_remembered(self) -> None:
        assert decided(self.target, None, state(FOUND), self.ours) == Decision(None, self.ours)


def entry(model: str = "m", key: str = "sk-test-1", **more: object) -> dict[str, object]:
    """Return an entry of ours."""
    return {
        "model": model,
        "id": entry_id(model),
        "displayName": model,
        "baseUrl": f"{URL}/v1",
        "apiKey": key,
        "provider": "generic-chat-completion-api",
        "maxOutputTokens": 1000,
        **more,
    }


def settings(*entries: Mapping[str, object], **more: object) -> Content:
    """Return a settings file."""
    return Content(json.dumps({**more, "customModels": list(entries)}, indent=2).encode())


class TestDroid:
    target = target_of(Owner.DROID, secret=True)

    def after(self, decision: Decision) -> dict[str, Any]:
        """Return the document that is written."""
        write = changed(decision).write
        assert write is not None
        assert write.content is not None
        found = json.loads(write.content.data)
        assert isinstance(found, dict)
        return found

    def test_without_a_file_ours_is_created_private(self) -> None:
        decision = decided(self.target, settings(entry()), None)
        change = changed(decision)
        assert (change.action, change.why) == (Action.CREATE, "missing")
        assert change.details == ("added custom:keyturn-m",)
        assert change.write is not None
        assert (change.write.mode, change.write.expected) == (0o600, None)
        assert self.after(decision)["customModels"] == [entry()]
        assert list(decision.remember["entries"]) == ["custom:keyturn-m"]

    def test_without_a_file_and_without_models_nothing_is_made(self) -> None:
        assert decided(self.target, settings(), None).change is None

    def test_our_entry_is_updated_and_the_rest_stays(self) -> None:
        first = decided(self.target, settings(entry()), None)
        found = settings(entry(), theme="dark")
        decision = decided(self.target, settings(entry(key="sk-test-2")), state(found),
                           first.remember)  # fmt: skip
        change = changed(decision)
        assert (change.action, change.why) == (Action.UPDATE, "our model entries differ")
        assert change.details == ("updated custom:keyturn-m (apiKey)",)
        assert change.write is not None
        assert change.write.expected == found.digest
        assert self.after(decision) == {"theme": "dark", "customModels": [entry(key="sk-test-2")]}

    @pytest.mark.parametrize(("mode", "becomes"), [(0o644, 0o600), (0o600, 0o600), (0o750, 0o700)])
    def test_a_file_that_gets_a_key_is_closed_to_others(self, mode: int, becomes: int) -> None:
        change = changed(decided(self.target, settings(entry()), state(settings(), mode)))
        assert change.write is not None
        assert change.write.mode == becomes

    def test_entries_as_they_should_be_are_left_alone_and_an_open_mode_is_closed(self) -> None:
        found = settings(entry())
        assert decided(self.target, found, state(found)).change is None
        change = changed(decided(self.target, found, state(found, 0o640)))
        assert (change.action, change.why) == (
            Action.MODE, "mode is 0640, and a key stands in it"
        )  # fmt: skip
        assert change.write == Write(PATH, found, 0o600, found.digest)

    def test_an_entry_that_was_edited_by_hand_is_a_conflict_until_force(self) -> None:
        last = decided(self.target, settings(entry()), None).remember
        edited = settings(entry(maxOutputTokens=5))
        wanted = settings(entry(maxOutputTokens=2000))
        decision = decided(self.target, wanted, state(edited), last)
        change = changed(decision)
        assert (change.action, change.why) == (
            Action.CONFLICT, "edited by hand: custom:keyturn-m"
        )  # fmt: skip
        assert change.write is None
        assert decision.remember == last
        forced = decided(self.target, wanted, state(edited), last, force=True)
        assert changed(forced).backup
        assert self.after(forced)["customModels"][0]["maxOutputTokens"] == 2000

    def test_a_default_model_that_goes_is_noted(self) -> None:
        last = decided(self.target, settings(entry("m"), entry("old")), None).remember
        found = settings(entry("m"), entry("old"), model="custom:keyturn-old")
        change = changed(decided(self.target, settings(entry("m")), state(found), last))
        assert change.action is Action.UPDATE
        assert change.details == (
            "removed custom:keyturn-old",
            "note: custom:keyturn-old is droid's default model and goes; "
            "choose another one with /model, or, if only its alias changed, "
            'write id = "old" below the new one in lab.toml',
        )

    def test_a_foreign_entry_that_makes_droid_drop_the_file_is_noted(self) -> None:
        foreign = {"model": "x", "displayName": "Mine", "provider": "nobody", "apiKey": "sk-test-3"}
        note = (
            "note: droid ignores the whole file: customModels[0] (Mine): "
            "droid knows no such provider"
        )
        change = changed(decided(self.target, settings(entry()), state(settings(foreign))))
        assert (change.action, change.details) == (
            Action.UPDATE, ("added custom:keyturn-m", note)
        )  # fmt: skip
        found = settings(foreign, entry())
        change = changed(decided(self.target, settings(entry()), state(found)))
        assert (change.action, change.why, change.details, change.write) == (
            Action.NOTE, "droid does not read it as it is", (note,), None
        )  # fmt: skip
        change = changed(decided(self.target, settings(entry()), state(found, 0o644)))
        assert (change.action, change.details) == (Action.MODE, (note,))

    def test_no_detail_shows_a_key(self) -> None:
        last = decided(self.target, settings(entry()), None).remember
        for wanted in (settings(entry(key="sk-test-2")), settings()):
            decision = decided(self.target, wanted, state(settings(entry())), last)
            assert "sk-test" not in f"{decision!r}"


def legacy(*models: str, **more: object) -> Content:
    """Return a legacy file with a model of ours for each name, and one of somebody else's."""
    entries = [
        {
            "model_display_name": f"The {m}",
            "model": m,
            "base_url": f"{URL}/v1",
            "api_key": "sk-test",
        }
        for m in models
    ]
    return Content(json.dumps({**more, "custom_models": entries}, indent=1).encode())


class TestLegacy:
    target = target_of(Owner.LEGACY)

    def test_no_file_is_fine(self) -> None:
        assert decided(self.target, None, None) == Decision(None, {})

    def test_a_file_with_nothing_of_the_gateways_is_left_alone(self) -> None:
        assert decided(self.target, None, state(Content(b'{"custom_models": []}'))).change is None

    def test_a_file_with_our_models_only_is_removed_with_a_backup(self) -> None:
        found = legacy("m")
        change = changed(decided(self.target, None, state(found)))
        assert change.action is Action.REMOVE
        assert change.backup
        assert change.details == ("- The m (now in settings.json)",)
        assert change.write == Write(PATH, None, 0o600, found.digest)

    def test_a_file_with_more_in_it_keeps_the_rest(self) -> None:
        found = legacy("m", "other", theme="dark")
        change = changed(decided(self.target, None, state(found, 0o644)))
        assert (change.action, change.why) == (Action.UPDATE, "legacy copies of our models")
        assert change.backup
        assert change.details == (
            "- The m (now in settings.json)",
            "kept The other: it asks this gateway for a model that lab.toml does not have",
        )
        assert change.write is not None
        assert change.write.content is not None
        assert json.loads(change.write.content.data) == json.loads(
            legacy("other", theme="dark").data
        )
        assert change.write.mode == 0o600

    def test_models_that_the_lab_does_not_have_are_noted(self) -> None:
        change = changed(decided(self.target, None, state(legacy("other"))))
        assert (change.action, change.write) == (Action.NOTE, None)
        assert len(change.details) == 1

    def test_a_file_that_cannot_be_read_is_noted(self) -> None:
        change = changed(decided(self.target, None, state(Content(b'{"sk-test'))))
        assert (change.action, change.write) == (Action.NOTE, None)
        assert change.why.startswith("legacy file that droid cannot read: ")
        assert "sk-test" not in change.why


class TestPlan:
    write = Write(PATH, WANTED, 0o600, None)

    def change(self, action: Action, touches: Touches = Touches.NOTHING) -> Change:
        """Return a change, with a write where there is one."""
        writes = action not in (Action.CONFLICT, Action.NOTE)
        target = target_of(Owner.KEYTURN, touches=touches)
        return Change(target, action, "why", write=self.write if writes else None)

    def test_an_empty_plan_and_one_of_notes_are_nothing_to_do(self) -> None:
        assert not Plan()
        assert not Plan((self.change(Action.NOTE),))
        assert Plan((self.change(Action.CONFLICT),))
        assert Plan((self.change(Action.CREATE),))
        assert Plan(gateway="it is not running")

    def test_it_tells_writes_conflicts_and_drift_apart(self) -> None:
        changes = [self.change(a) for a in (Action.NOTE, Action.CONFLICT, Action.UPDATE)]
        plan = Plan(tuple(changes))
        assert plan.writes == (self.write,)
        assert plan.conflicts == (changes[1],)
        assert plan.drift == tuple(changes[1:])

    @pytest.mark.parametrize(
        ("action", "touches", "reason"),
        [
            (Action.UPDATE, Touches.GATEWAY, "file changed"),
            (Action.CREATE, Touches.MANAGER, "file changed"),
            (Action.UPDATE, Touches.NOTHING, ""),
            (Action.MODE, Touches.GATEWAY, ""),
            (Action.CONFLICT, Touches.GATEWAY, ""),
        ],
    )
    def test_only_new_bytes_in_its_files_restart_the_gateway(
        self, action: Action, touches: Touches, reason: str
    ) -> None:
        assert gateway_reason([self.change(action, touches)]) == reason

    def test_a_plan_can_be_printed_whole(self) -> None:
        content = Content(b"sk-test-in-a-file")
        change = Change(
            target_of(Owner.KEYTURN), Action.CREATE, "", write=Write(PATH, content, 0o600, None)
        )
        assert "sk-test" not in repr(Plan((change,)))
