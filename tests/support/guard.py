"""Doubles of what the guard gets from LiteLLM, and keysets for it."""

import asyncio
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootstrap.domain.keyset import Keyset
from bootstrap.domain.secret import Secret
from bootstrap.gateway import keyturn_guard
from bootstrap.gateway.keyturn_guard import Guard

rules = keyturn_guard.rules

OLD = Secret("sk-test-old-0123456789abcdef")
NEW = Secret("sk-test-new-0123456789abcdef")
CLIENT = Secret("sk-test-client-0123456789abcdef")
SCOPED = Secret("sk-test-scoped-0123456789abcdef")
NOW = 1_800_000_000.0
CHAT = ("POST", "/v1/chat/completions")


class Time:
    """A machine's two clocks, as a test sets them."""

    def __init__(self) -> None:
        self.wall = NOW
        self.monotonic = 50.0

    def trusted(self, uses: Path | None = None) -> Any:
        """Return the guard's clock that runs on them, started beside a file of uses."""
        seen = keyturn_guard.uses.last_use(uses) if uses else 0.0
        return rules.TrustedClock(lambda: self.wall, lambda: self.monotonic, seen)


class Pairs:
    """Headers or a query: several values under one name."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def multi_items(self) -> list[tuple[str, str]]:
        return self._pairs

    def getlist(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]


class Request:
    """What the guard uses of Starlette's request; `body` is what LiteLLM's reader returns."""

    def __init__(
        self,
        method: str = "GET",
        path: str = "/v1/models",
        body: Any = None,
        query: list[tuple[str, str]] | None = None,
        headers: list[tuple[str, str]] | None = None,
        **scope: Any,
    ) -> None:
        self.scope: dict[str, Any] = {"method": method, "path": path, "path_params": {}} | scope
        self.body = {} if body is None else body
        self.query_params = Pairs(query or [])
        self.headers = Pairs(headers or [])


class FakeProxyException(Exception):
    """LiteLLM's exception with a status."""

    def __init__(self, message: str, type: str, param: str | None, code: int) -> None:
        super().__init__(message)
        self.message, self.type, self.param, self.code = message, type, param, code


class FakeAuth(types.SimpleNamespace):
    """LiteLLM's UserAPIKeyAuth."""


async def read_body(request: Request) -> Any:
    if isinstance(request.body, Exception):
        raise request.body
    return request.body


def put(file: Path, data: bytes | Keyset, mode: int = 0o600) -> None:
    """Replace `file` by rename, as keyturn does."""
    temporary = file.with_name("new")
    temporary.write_bytes(data.to_bytes() if isinstance(data, Keyset) else data)
    temporary.chmod(mode)
    temporary.replace(file)


def lab_keyset() -> Keyset:
    keyset = Keyset().with_current(NEW).with_client("all", CLIENT, None, None)
    return keyset.with_client("scoped", SCOPED, ["small", "large"], None)


Ask = Callable[..., Any]


def is_granted(answer: Any) -> bool:
    return isinstance(answer, FakeAuth)


def fake_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the few names in place that the guard imports from LiteLLM."""
    roles = types.SimpleNamespace(
        INTERNAL_USER="user", INTERNAL_USER_VIEW_ONLY="viewer", PROXY_ADMIN="admin"
    )
    contents: dict[str, dict[str, Any]] = {
        "litellm": {},
        "litellm.proxy": {},
        "litellm.proxy._types": {
            "LitellmUserRoles": roles,
            "ProxyErrorTypes": types.SimpleNamespace(auth_error="auth_error"),
            "ProxyException": FakeProxyException,
            "UserAPIKeyAuth": FakeAuth,
        },
        "litellm.proxy.common_utils": {},
        "litellm.proxy.common_utils.http_parsing_utils": {"_read_request_body": read_body},
        "litellm.types": {},
        "litellm.types.utils": {
            "all_litellm_params": ["metadata", "caching", "router_secret_knob"]
        },
    }
    for name, content in contents.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


def asking(file: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return how LiteLLM asks the hook: it gives the grant, or the status it refuses with."""
    fake_litellm(monkeypatch)
    put(file, lab_keyset())
    monkeypatch.setattr(keyturn_guard, "_guard", Guard(file, time.trusted()))

    def asked(key: Any, method: str = "GET", path: str = "/v1/models", **more: Any) -> Any:
        presented = key.reveal() if isinstance(key, Secret) else key
        request = Request(method, path, **more)
        try:
            return asyncio.run(keyturn_guard.user_api_key_auth(request, presented))
        except FakeProxyException as refusal:
            return int(refusal.code)

    return asked
