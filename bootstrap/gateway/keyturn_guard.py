"""Written by keyturn. Decides inside LiteLLM which keys it accepts, and for what.

config.yaml names it: `custom_auth: keyturn_guard.user_api_key_auth`. Which keys count is in
`keyturn-keyset.json` beside this file (or where KEYTURN_KEYSET says) as digests; it is replaced by
rename, and a change is in force at the next request, without a restart. Which key was used when is
in `keyturn-uses.json` beside that. Neither holds a key.

401 says that the key is not accepted, 403 that it is, but not for this request. It never answers
500: whatever goes wrong in here is a 401. It needs LiteLLM, the standard library and
`keyturn_guard_rules.py`, which LiteLLM's loader cannot find by itself.
"""

import asyncio
import atexit
import contextlib
import fcntl
import importlib.util
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootstrap.gateway import keyturn_guard_rules as rules
else:
    _spec = importlib.util.spec_from_file_location(
        "keyturn_guard_rules", Path(__file__).with_name("keyturn_guard_rules.py")
    )
    rules = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(rules)

__all__ = ["Guard", "KeysetFile", "Uses", "read_trusted", "rules", "user_api_key_auth"]

KEYSET_FILE = "keyturn-keyset.json"
USES_FILE = "keyturn-uses.json"
MAX_BYTES = 256 * 1024
FLUSH_S = 2.0
_SETTLED_NS = 50_000_000  # more than one tick of the clock that stamps files
_MAX_KEY = 4096
_UNSOUND = (
    OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
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
            seen = _signature(os.lstat(self._path))
            if seen == self._seen:
                return self._keys
            self._seen = seen
            data, self._seen = read_trusted(self._path)
            self._keys = rules.parse_keyset(data)
            self._say("")
        except (OSError, ValueError, RecursionError) as failure:
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


def read_trusted(path: Path) -> tuple[bytes, tuple[int, ...] | None]:
    """Return what a file holds, and its signature; None where a change could not be seen from it.

    Raises:
        OSError: It cannot be read, or is a symlink.
        ValueError: It is no regular file, not ours, writable by others, or too long.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ValueError("it is no regular file of the user that LiteLLM runs as")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError("others may write it")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError("it is too long")
    recent = 0 <= time.time_ns() - found.st_ctime_ns < _SETTLED_NS
    return data, None if recent else _signature(found)


def _signature(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Uses:
    """How often and when each known key was used, by the first 8 digits of its digest.

    Written at most every FLUSH_S seconds and at exit, by adding to what the file holds, so that
    several workers share it. A process that a signal ends at once (uvicorn's way) can lose the
    counts of its last FLUSH_S seconds. Nothing in here raises.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: rules.Counts = {}
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def note(self, digest: str, now: float, *, accepted: bool) -> None:
        """Count one request with a known key; one that is past its time counts as refused."""
        fields = ("count", "last_seen") if accepted else ("refused", "last_refused")
        rules.add_use(self._counts, digest[:8], dict(zip(fields, (1, int(now)), strict=True)))
        self._arm()

    def flush(self) -> None:
        """Write what was counted since the last time; keep it where that fails."""
        self._timer, self._due = None, time.monotonic() + FLUSH_S
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            with _locked(self._path.parent):
                self._write(counts)
        except (OSError, ValueError):
            self._counts = rules.latest(counts)
            self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            with contextlib.suppress(RuntimeError):  # no event loop: the exit writes it
                wait = max(0.0, self._due - time.monotonic())
                self._timer = asyncio.get_running_loop().call_later(wait, self.flush)

    def _write(self, counts: rules.Counts) -> None:
        total: rules.Counts = {}
        with contextlib.suppress(*_UNSOUND):
            for fingerprint, use in json.loads(read_trusted(self._path)[0])["keys"].items():
                rules.add_use(total, fingerprint, use)
        for fingerprint, use in counts.items():
            rules.add_use(total, fingerprint, use)
        text = json.dumps({"version": 1, "keys": rules.latest(total)}, indent=1)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="ascii") as file:
            file.write(text)
        temporary.replace(self._path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other workers; never waits, since all requests would wait too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def last_use(uses_file: Path) -> float:
    """Return when the last noted use was, so that a clock set back since then is not believed."""
    with contextlib.suppress(*_UNSOUND):
        rows = json.loads(read_trusted(uses_file)[0])["keys"].values()
        times = [int(row.get(name, 0)) for row in rows for name in ("last_seen", "last_refused")]
        seen = 1.0 + max(time for time in times if time < 1e12)
        if seen > time.time() + 60:
            _log.warning("keyturn: the clock is behind %s, whose times count instead", uses_file)
        return seen
    return 0.0


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
        self.uses = Uses(keyset.with_name(USES_FILE))
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
        key = self._accepted(presented)
        master = key.kind == "master"
        route = rules.route_of(method, path, master=master, scoped=key.models is not None)
        if not master:
            await self._check_client(request, key, route)
        return key, route

    def _accepted(self, presented: object) -> rules.Key:
        if not isinstance(presented, str) or not 0 < len(presented) <= _MAX_KEY:
            raise rules.Refusal(401, "Authentication Error, no key given.")
        now = self._clock.now()
        key, digest = rules.find(self._file.read(), presented, now)
        if digest:
            self.uses.note(digest, now, accepted=key is not None)
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
_clock = rules.TrustedClock(time.time, time.monotonic, last_use(_keyset.with_name(USES_FILE)))
_guard = Guard(_keyset, _clock)
atexit.register(_guard.uses.flush)
