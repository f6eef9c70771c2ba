"""Claude Code's settings get our members and keep every other byte."""

import json
from pathlib import PurePath
from typing import Any

import pytest

from bootstrap.domain.content import Content, FileState
from bootstrap.domain.errors import TargetError
from bootstrap.domain.json_members import set_members
from bootstrap.domain.plan import Action, Decision
from bootstrap.domain.plan_claude import decide_claude
from bootstrap.domain.targets import CLAUDE_SETTINGS, Owner, Target

PATH = PurePath("/home/u/.claude/settings.json")
URL = "http://127.0.0.1:4000"
WANTED: dict[str, Any] = {
    "apiKeyHelper": "keyturn get K",
    "model": "qwen",
    "env": {"ANTHROPIC_AUTH_TOKEN": None, "ANTHROPIC_BASE_URL": URL},
}
THEIRS = b'{"theme": "dark",  "env": {"FOO": "1"}}'


def decide(
    found: bytes | None,
    last: dict[str, Any] | None = None,
    *,
    wanted: dict[str, Any] | None = None,
    force: bool = False,
    mode: int = 0o600,
    secret: bool = False,
) -> Decision:
    target = Target(CLAUDE_SETTINGS, PATH, "t", "json", Owner.CLAUDE, secret=secret)
    state = None if found is None else FileState(Content(found), mode, str(PATH))
    content = Content(json.dumps(wanted or WANTED).encode())
    return decide_claude(target, content, state, last or {}, force)


def written(decision: Decision) -> bytes:
    assert decision.change is not None
    assert decision.change.write is not None
    assert decision.change.write.content is not None
    return decision.change.write.content.data


def test_a_missing_file_is_made_with_what_is_wanted() -> None:
    made = json.loads(written(decide(None)))
    assert made == {
        "apiKeyHelper": "keyturn get K",
        "model": "qwen",
        "env": {"ANTHROPIC_BASE_URL": URL},
    }


def test_members_of_somebody_else_keep_their_bytes() -> None:
    data = written(decide(THEIRS))
    assert data.startswith(b'{"theme": "dark",  "env": {"FOO": "1", ')
    assert json.loads(data)["apiKeyHelper"] == "keyturn get K"


def test_what_was_written_once_needs_no_second_time() -> None:
    first = decide(THEIRS)
    again = decide(written(first), dict(first.remember))
    assert again.change is None
    assert again.remember == first.remember


def test_what_is_not_wanted_any_more_goes() -> None:
    first = decide(THEIRS)
    literal = {"apiKeyHelper": None, "env": {"ANTHROPIC_AUTH_TOKEN": "sk-test"}}
    data = written(decide(written(first), dict(first.remember), wanted=literal))
    assert json.loads(data) == {
        "theme": "dark",
        "env": {"FOO": "1", "ANTHROPIC_AUTH_TOKEN": "sk-test"},
    }


def test_a_helper_or_a_token_of_somebody_else_is_a_conflict_until_it_is_forced() -> None:
    theirs = b'{"apiKeyHelper": "mine", "env": {"ANTHROPIC_AUTH_TOKEN": "sk-test-theirs"}}'
    found = decide(theirs)
    assert found.change is not None
    assert found.change.action is Action.CONFLICT
    assert "apiKeyHelper" in found.change.why
    assert "sk-test-theirs" not in found.change.why + str(found.change.details)
    forced = decide(theirs, force=True)
    assert forced.change is not None
    assert forced.change.backup
    assert "ANTHROPIC_AUTH_TOKEN" not in json.loads(written(forced))["env"]


def test_a_token_for_our_gateway_is_ours_whatever_is_remembered() -> None:
    """As in the middle of a rotation, where it may be either key."""
    env = {"ANTHROPIC_AUTH_TOKEN": "sk-test-other", "ANTHROPIC_BASE_URL": "http://localhost:4000"}
    wanted = {"env": {"ANTHROPIC_AUTH_TOKEN": "sk-test-new", "ANTHROPIC_BASE_URL": URL}}
    last = {"leaves": {"env.ANTHROPIC_BASE_URL": "x"}}
    found = decide(json.dumps({"env": env | {"ANTHROPIC_BASE_URL": URL}}).encode(), wanted=wanted)
    assert json.loads(written(found)) == wanted
    assert "sk-test" not in json.dumps(dict(found.remember))
    odd = decide(json.dumps({"env": env}).encode(), last, wanted=wanted)
    assert odd.change is not None
    assert odd.change.action is Action.CONFLICT
    assert "BASE_URL" in odd.change.why
    assert "AUTH_TOKEN" not in odd.change.why


def test_a_model_that_somebody_chose_stays() -> None:
    theirs = b'{"model": "other"}'
    first = decide(theirs)
    assert json.loads(written(first))["model"] == "other"
    assert decide(written(first), dict(first.remember)).change is None


def test_a_file_with_a_key_is_for_its_owner_only() -> None:
    literal = {"env": {"ANTHROPIC_AUTH_TOKEN": "sk-test"}}
    data = written(decide(None, wanted=literal))
    wide = decide(data, wanted=literal, mode=0o644, secret=True)
    assert wide.change is not None
    assert wide.change.action is Action.MODE
    assert decide(data, wanted=literal, mode=0o644).change is None


@pytest.mark.parametrize("data", [b"{", b'{"a": 1 // x\n}', b"[]", b'{"env": []}'])
def test_a_file_that_claude_code_would_ignore_is_refused(data: bytes) -> None:
    with pytest.raises(TargetError):
        decide(data)


def test_leaves_go_into_an_object_that_is_not_there_yet() -> None:
    data = set_members(b'{"a": 1}', {("env", "X"): "1", ("env", "Y"): None, ("b",): 2})
    assert json.loads(data) == {"a": 1, "env": {"X": "1"}, "b": 2}
    assert set_members(b'{"a": 1}', {("env", "Y"): None}) == b'{"a": 1}'
    assert json.loads(set_members(None, {("a",): 1})) == {"a": 1}
