"""What the guard answers LiteLLM, without LiteLLM."""

import asyncio
import hmac
import importlib.util
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bootstrap.domain.keyset import KEYSET_FILE, Keyset
from bootstrap.domain.uses import USES_FILE
from bootstrap.gateway import keyturn_guard
from bootstrap.gateway.keyturn_guard import Guard
from support.guard import (
    CHAT,
    CLIENT,
    NEW,
    NOW,
    OLD,
    SCOPED,
    Ask,
    FakeAuth,
    FakeProxyException,
    Request,
    Time,
    asking,
    fake_litellm,
    is_granted,
    lab_keyset,
    put,
)

rules = keyturn_guard.rules


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / KEYSET_FILE


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ask(file: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> Ask:
    return asking(file, time, monkeypatch)


def test_the_previous_key_is_accepted_until_its_end_and_not_at_it(
    ask: Ask, file: Path, time: Time
) -> None:
    put(file, lab_keyset().with_overlap(OLD, NEW, NOW + 60))
    time.wall = NOW + 59.9
    assert is_granted(ask(OLD))
    time.wall = NOW + 60
    assert ask(OLD) == 401
    assert is_granted(ask(NEW))


def test_a_clock_that_jumps_back_revives_no_expired_key(ask: Ask, file: Path, time: Time) -> None:
    put(file, lab_keyset().with_overlap(OLD, NEW, NOW + 60))
    time.wall += 61
    assert ask(OLD) == 401
    time.wall -= 3600
    assert ask(OLD) == 401


def test_a_key_ends_in_time_though_the_clock_jumped_back(ask: Ask, file: Path, time: Time) -> None:
    put(file, lab_keyset().with_overlap(OLD, NEW, NOW + 60))
    assert is_granted(ask(OLD))
    time.wall -= 3600
    time.monotonic += 59
    assert is_granted(ask(OLD))
    time.monotonic += 1
    assert ask(OLD) == 401


def restart(file: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(file, time.trusted(file.with_name(USES_FILE)))
    monkeypatch.setattr(keyturn_guard, "_guard", guard)


def test_a_restart_beside_a_clock_that_was_set_back_revives_no_expired_key(
    ask: Ask,
    file: Path,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("time.time", lambda: time.wall)
    put(file, lab_keyset().with_overlap(OLD, NEW, NOW + 60))
    time.wall += 60.5
    assert ask(OLD) == 401
    keyturn_guard._guard.uses.flush()
    for _ in range(3):
        time.wall -= 3600
        restart(file, time, monkeypatch)
        assert ask(OLD) == 401
        assert is_granted(ask(NEW))
        keyturn_guard._guard.uses.flush()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert "the clock is behind" in said[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"keys": 5}',
        '{"keys": {}}',
        '{"keys": {"a": 5}}',
        '{"keys": {"a": {"last_seen": ""}}}',
        '{"keys": {"a": {"last_seen": 1e15}}}',
        '{"keys": {"a": {"last_seen": 253402300799}}}',
    ],
)
def test_a_broken_file_of_uses_says_nothing_about_the_time(
    ask: Ask, file: Path, time: Time, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    put(file, lab_keyset().with_overlap(OLD, NEW, NOW + 60))
    file.with_name(USES_FILE).write_text(text)
    restart(file, time, monkeypatch)
    assert is_granted(ask(OLD))


@pytest.mark.parametrize("key", [None, "", 5, b"x", "sk-test-wrong", "sk-\xe9\udcff", "x" * 5000])
def test_what_is_no_accepted_key_is_a_401(key: Any, ask: Ask) -> None:
    assert ask(key) == 401


def test_a_granted_key_has_the_least_role_and_no_trace_of_itself(ask: Ask) -> None:
    grant = ask(NEW)
    assert grant == FakeAuth(
        api_key="keyturn-master",
        key_alias="master",
        user_id="keyturn-master",
        user_role="user",
        models=[],
    )


def test_a_scoped_key_hands_its_models_to_litellm_which_filters_the_catalogue(ask: Ask) -> None:
    grant = ask(SCOPED)
    assert (grant.models, grant.api_key) == (["large", "small"], "keyturn-client-scoped")


def test_every_entry_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = rules.parse_keyset(lab_keyset().with_overlap(OLD, NEW, None).to_bytes())
    compared: list[str] = []
    compare = hmac.compare_digest

    def noted(mine: str, theirs: str) -> bool:
        compared.append(mine)
        return bool(compare(mine, theirs))

    monkeypatch.setattr(hmac, "compare_digest", noted)
    key, digest = rules.find(keys, NEW.reveal(), NOW)
    assert key is not None
    assert digest == NEW.digest()
    assert len(compared) == len(keys) == 4


@pytest.mark.parametrize("path", ["/health/liveliness", "/health/liveness", "/health/readiness"])
def test_health_needs_no_key_but_only_to_be_read(path: str, ask: Ask) -> None:
    assert ask(None, "GET", path) == FakeAuth(user_role="viewer")
    assert ask(None, "POST", path) == 401
    assert ask(None, "GET", path + "/") == 401
    assert is_granted(ask(None, "GET", "/gateway" + path, root_path="/gateway/"))


def test_a_path_counts_as_the_server_routes_it_not_as_a_header_says(ask: Ask) -> None:
    forged = [("host", "localhost/health/liveliness?x=")]
    assert ask(None, "GET", "/v1/models", headers=forged) == 401


def test_whatever_goes_wrong_is_a_401(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rules, "route_of", broken)
    assert ask(NEW) == 401


def test_a_request_without_a_path_is_a_401(ask: Ask) -> None:
    request = Request()
    del request.scope["path"]
    with pytest.raises(FakeProxyException) as refused:
        asyncio.run(keyturn_guard.user_api_key_auth(request, NEW.reveal()))
    assert refused.value.code == 401


def test_a_cancelled_request_stays_cancelled(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(rules, "route_of", cancelled)
    with pytest.raises(asyncio.CancelledError):
        ask(NEW)


def test_a_body_that_litellm_cannot_read_gets_its_own_answer(ask: Ask) -> None:
    malformed = FakeProxyException("Invalid JSON payload", "invalid_request_error", None, 400)
    assert ask(SCOPED, *CHAT, body=malformed) == 400


def test_a_body_that_cannot_be_read_at_all_is_a_401(ask: Ask) -> None:
    assert ask(SCOPED, *CHAT, body=ConnectionError()) == 401


def test_a_body_that_is_no_object_is_refused(ask: Ask) -> None:
    assert ask(CLIENT, *CHAT, body=["x"]) == 403


def test_the_master_keys_body_is_not_looked_at(ask: Ask) -> None:
    assert is_granted(ask(NEW, *CHAT, body=ConnectionError()))


def test_a_scoped_key_may_name_its_models_and_no_other(ask: Ask) -> None:
    assert is_granted(ask(SCOPED, *CHAT, body={"model": "small"}))
    assert is_granted(ask(CLIENT, *CHAT, body={"model": "other"}))
    assert ask(SCOPED, *CHAT, body={"model": "other"}) == 403
    assert ask(SCOPED, *CHAT, body={}) == 403
    assert ask(SCOPED, *CHAT, body={"model": "small"}, query=[("model", "other")]) == 403
    twice = [("model", "other"), ("model", "small")]
    assert ask(SCOPED, *CHAT, body={"model": "small"}, query=twice) == 403
    header = [("x-litellm-model", "other")]
    assert ask(SCOPED, *CHAT, body={"model": "small"}, headers=header) == 403
    assert ask(SCOPED, *CHAT, body={"model": "small"}, path_params={"model": "other"}) == 403


def test_a_model_in_the_path_is_judged_too(ask: Ask) -> None:
    path = "/openai/deployments/{}/chat/completions"
    assert is_granted(ask(SCOPED, "POST", path.format("small"), body={}))
    assert ask(SCOPED, "POST", path.format("other"), body={"model": "small"}) == 403
    assert is_granted(ask(SCOPED, "GET", "/v1/models/small"))
    assert ask(SCOPED, "GET", "/v1/models/other") == 403


def test_reserved_fields_of_this_litellm_are_refused_to_client_keys(ask: Ask) -> None:
    body = {"model": "small", "router_secret_knob": 1}
    assert ask(SCOPED, *CHAT, body=body) == 403
    assert ask(CLIENT, *CHAT, body=body) == 403
    assert ask(CLIENT, *CHAT, body={"model": "x"}, query=[("router_secret_knob", "1")]) == 403
    assert is_granted(ask(NEW, *CHAT, body=body))
    assert is_granted(ask(CLIENT, *CHAT, body={"model": "x", "metadata": {}, "caching": True}))


def test_what_litellm_forwards_unread_is_closed_to_client_keys(ask: Ask) -> None:
    assert ask(CLIENT, *CHAT, body={}, path_params={"endpoint": "chat/completions"}) == 403


def test_reading_one_model_needs_the_role_that_litellm_wants_for_it(ask: Ask) -> None:
    assert ask(CLIENT, "GET", "/v1/models/any").user_role == "admin"
    assert ask(NEW, "GET", "/cache/ping").user_role == "admin"
    assert ask(NEW, "GET", "/health").user_role == "user"
    assert ask(CLIENT, "GET", "/cache/ping") == 403


def load(path: Path) -> Callable[[Any, Any], Awaitable[Any]]:
    """Load the module by its path without registering it, as LiteLLM does."""
    spec = importlib.util.spec_from_file_location("keyturn_guard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.user_api_key_auth  # type: ignore[no-any-return]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_it_finds_its_parts_and_the_keyset_beside_itself_or_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    fake_litellm(monkeypatch)
    source = Path(keyturn_guard.__file__).parent
    for name in ("keyturn_guard.py", "keyturn_guard_rules.py", "keyturn_guard_uses.py"):
        shutil.copy(source / name, tmp_path)
    place = tmp_path / "other.json" if elsewhere else tmp_path / KEYSET_FILE
    put(place, Keyset().with_current(NEW))
    if elsewhere:
        monkeypatch.setenv("KEYTURN_KEYSET", str(place))
    hook = load(tmp_path / "keyturn_guard.py")
    assert is_granted(asyncio.run(_call(hook, NEW.reveal())))
    with pytest.raises(FakeProxyException):
        asyncio.run(_call(hook, OLD.reveal()))


async def _call(hook: Callable[[Any, Any], Awaitable[Any]], key: str) -> Any:
    return await hook(Request(), key)
