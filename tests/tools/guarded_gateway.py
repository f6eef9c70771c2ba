#!/usr/bin/env python3
"""The mini-gateway with keyturn's real guard inside, in the few names of LiteLLM that it needs.

Same command line; the guard is the `keyturn_guard.py` beside the config, as LiteLLM would load it.
An answer of it that is neither yes nor a refusal with a status gets 500, as LiteLLM would give it.
"""

import asyncio
import importlib.machinery
import importlib.util
import sys
import threading
import types
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class ProxyException(Exception):
    """LiteLLM's exception with a status."""

    def __init__(self, message: str, type: str, param: str | None, code: int) -> None:
        super().__init__(message)
        self.type, self.code = type, int(code)


class Request:
    """What the guard uses of Starlette's request."""

    def __init__(self, handler: Any) -> None:
        path = handler.path.partition("?")[0]
        self.scope = {"method": handler.command, "path": path, "path_params": {}}
        self.headers = self
        self._handler = handler

    def getlist(self, name: str) -> list[str]:
        """Return the values of a header."""
        return list(self._handler.headers.get_all(name) or [])


def load(name: str, path: Path) -> Any:
    """Return the module in a file."""
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def pretend_litellm() -> None:
    """Put LiteLLM's names in place."""
    types_of_proxy = types.ModuleType("litellm.proxy._types")
    vars(types_of_proxy).update(
        LitellmUserRoles=types.SimpleNamespace(
            INTERNAL_USER="user", INTERNAL_USER_VIEW_ONLY="viewer", PROXY_ADMIN="admin"
        ),
        ProxyErrorTypes=types.SimpleNamespace(auth_error="auth_error"),
        ProxyException=ProxyException,
        UserAPIKeyAuth=types.SimpleNamespace,
    )
    for name in ("litellm", "litellm.proxy"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[types_of_proxy.__name__] = types_of_proxy


def main() -> int:
    """Serve until SIGTERM."""
    pretend_litellm()
    mini = load("mini_gateway", HERE / "mini-gateway")
    config = Path(sys.argv[sys.argv.index("--config") + 1])
    guard = load("keyturn_guard", config.absolute().with_name("keyturn_guard.py"))
    loop = asyncio.new_event_loop()  # one thread, as LiteLLM's: the guard has no locks
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def refused(handler: Any) -> bool:
        """Answer and return True when the guard says no."""
        header = handler.headers.get("Authorization") or ""
        asked = guard.user_api_key_auth(Request(handler), header.removeprefix("Bearer "))
        code = 500
        try:
            asyncio.run_coroutine_threadsafe(asked, loop).result()
        except ProxyException as refusal:
            code = refusal.code
        except Exception as failure:  # noqa: BLE001 - none may come, and here is where it shows
            print(f"the guard raised {failure!r}", flush=True)  # noqa: T201 - the gateway's log
        else:
            return False
        handler.answer(code, {"error": {"message": "no", "type": "auth_error", "code": str(code)}})
        return True

    mini.Handler.refused = refused
    return int(mini.main())


if __name__ == "__main__":
    sys.exit(main())
