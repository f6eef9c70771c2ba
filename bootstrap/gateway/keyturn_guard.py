"""Written by keyturn. Decides inside LiteLLM which keys it accepts, and for what.

config.yaml names it: `custom_auth: keyturn_guard.user_api_key_auth`. Which keys count is in
`keyturn-keyset.json` beside this file (or where KEYTURN_KEYSET says) as digests; it is replaced by
rename, and a change is in force at the next request, without a restart. Which key was used when is
in `keyturn-uses.json` beside that. Neither holds a key.

401 says that the key is not accepted, 403 that it is, but not for this request. It never answers
500: whatever goes wrong in here is a 401. It needs LiteLLM, the standard library,
`keyturn_guard_rules.py` and `keyturn_guard_uses.py`, which LiteLLM's loader cannot find by itself.
"""

import atexit
import importlib.util
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootstrap.gateway import keyturn_guard_rules as rules
    from bootstrap.gateway import keyturn_guard_uses as uses
else:

    def _beside(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    rules, uses = _beside("keyturn_guard_rules"), _beside("keyturn_guard_uses")

__all__ = ["Guard", "KeysetFile", "rules", "user_api_key_auth", "uses"]

KEYSET_FILE = "keyturn-keyset.json"
USES_FILE = "keyturn-uses.json"
_MAX_KEY = 4096
_log = logging.getLogger("keyturn.guard")


class KeysetFile:
    """The keyset, as its file holds it now.

    A file that is missing, broken or writable by others leaves the last good list in force; at the
    start that is the empty one, which accepts nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._problem = ""
        self._keys: tuple[rules.Key, ...] = ()

    def read(self) -> tuple[rules.Key, ...]:
        """Return the entries, after one look at the file; it is read only where it changed."""
        try:
            seen = uses.signature(os.lstat(self._path))
            if seen == self._seen:
                return self._keys
            self._seen = seen
            data, self._seen = uses.read_trusted(self._path)
            self._keys = rules.parse_keyset(data)
            self._say("")
        except (OSError, ValueError, RecursionError) as failure:
            if isinstance(failure, OSError):  # such as too many open files: it may pass
                self._seen = None
            # A parser's text could quote what it read; ours and the system's do not.
            foreign = isinstance(failure, (UnicodeError, json.JSONDecodeError, RecursionError))
            own = getattr(failure, "strerror", None) or str(failure)
            self._say("it is not JSON" if foreign else own)
        return self._keys

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            state = f"is not usable, the last good one stays: {problem}" if problem else "is usable"
            _log.warning("keyturn: %s %s", self._path, state)


class Guard:
    """Decides about one request after the other.

    Args:
        keyset: Its file; the uses are written beside it.
        clock: What to judge times by.
    """

    def __init__(self, keyset: Path, clock: rules.TrustedClock) -> None:
        self._file = KeysetFile(keyset)
        self._clock = clock
        self._refused: frozenset[str] | None = None
        self.uses = uses.Uses(keyset.with_name(USES_FILE))
        self._file.read()  # says at the start what is wrong with it

    async def decide(self, request: Any, presented: object) -> tuple[rules.Key, rules.Route] | None:
        """Return the key that a request may go on with and its route; None where it needs none.

        Args:
            request: Starlette's; its body stays readable.
            presented: The key, as LiteLLM took it from one of its headers.

        Raises:
            rules.Refusal: It may not go on.
            Exception: LiteLLM's own, where it cannot read the body (400).
        """
        method, path = str(request.scope["method"]), rules.route_path(request.scope)
        if method == "GET" and path in rules.PUBLIC:
            return None
        key = self._accepted(request, presented)
        master = key.kind == "master"
        route = rules.route_of(method, path, master=master, scoped=key.models is not None)
        if not master:
            await self._check_client(request, key, route)
        return key, route

    def _accepted(self, request: Any, presented: object) -> rules.Key:
        if not isinstance(presented, str) or not 0 < len(presented) <= _MAX_KEY:
            raise rules.Refusal(401, "Authentication Error, no key given.")
        now = self._clock.now()
        key, digest = rules.find(self._file.read(), presented, now)
        if digest:
            program = uses.program_of(request.headers.getlist("user-agent"))
            self.uses.note(digest, now, program, accepted=key is not None)
        if key is None:
            raise rules.Refusal(401, "Authentication Error, this key is not accepted.")
        return key

    async def _check_client(self, request: Any, key: rules.Key, route: rules.Route) -> None:
        parameters = request.scope.get("path_params") or {}
        if "endpoint" in parameters:  # LiteLLM forwards it to a provider unread
            raise rules.Refusal(403, "This key may not use this route.")
        from litellm.proxy.common_utils.http_parsing_utils import _read_request_body

        # LiteLLM's own reader: the guard judges what the handler will get, not another reading.
        body = await _read_request_body(request=request)
        if not isinstance(body, dict):
            raise rules.Refusal(403, "The body of a client key's request must be an object.")
        given = [body, *({name: value} for name, value in request.query_params.multi_items())]
        for fields in given:
            rules.check_fields(fields, self._refused_fields())
        if key.models is None:
            return
        named = [name for fields in (*given, parameters) for name in rules.named_models(fields)]
        named += request.headers.getlist("x-litellm-model")
        named += [route.model] if route.model is not None else []
        rules.check_models(named, key.models, needed=route.calls_model)

    def _refused_fields(self) -> frozenset[str]:
        if self._refused is None:
            from litellm.types.utils import all_litellm_params

            self._refused = rules.refused_fields(all_litellm_params)
        return self._refused


async def user_api_key_auth(request: Any, api_key: Any) -> Any:
    """Answer LiteLLM: return a UserAPIKeyAuth or raise a ProxyException, nothing else."""
    from litellm.proxy._types import LitellmUserRoles as roles
    from litellm.proxy._types import ProxyErrorTypes, ProxyException, UserAPIKeyAuth

    try:
        granted = await _guard.decide(request, api_key)
        if granted is None:
            return UserAPIKeyAuth(user_role=roles.INTERNAL_USER_VIEW_ONLY)
        key, route = granted
        return UserAPIKeyAuth(
            api_key=f"keyturn-{key.id}",
            key_alias=key.name,
            user_id=f"keyturn-{key.name}",
            user_role=roles.PROXY_ADMIN if route.needs_admin else roles.INTERNAL_USER,
            models=sorted(key.models or ()),
        )
    except ProxyException:
        raise
    except rules.Refusal as refusal:
        code, message = refusal.code, refusal.message
    except Exception as failure:  # noqa: BLE001 - a fault in here must not answer 500
        _log.error("keyturn: a request was refused after %s", type(failure).__name__)
        code, message = 401, "Authentication Error, the key could not be checked."
    raise ProxyException(
        message=message, type=ProxyErrorTypes.auth_error, param="None", code=code
    ) from None


_keyset = Path(os.environ.get("KEYTURN_KEYSET") or Path(__file__).absolute().with_name(KEYSET_FILE))
_clock = rules.TrustedClock(time.time, time.monotonic, uses.last_use(_keyset.with_name(USES_FILE)))
_guard = Guard(_keyset, _clock)
atexit.register(_guard.uses.flush)
