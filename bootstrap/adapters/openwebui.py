"""Which servers Open WebUI asks, and with which keys: read from the file that the lab names.

Seen in Open WebUI 0.12.4: `webui.db` has a table `config (key, value)`, with the JSON of a list
each in `openai.api_base_urls` and `openai.api_keys`, and in `openai.api_configs` what its page sets
for single ones, by their number in the lists (before, by their address). Before, as its migrations
say, the table was `config (id, data, version)`, one row with all settings as one JSON.
"""

import json
import os
import re
import sqlite3
import stat
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path, PurePath
from urllib.parse import quote

from bootstrap.adapters.dotenv import read_env_file
from bootstrap.adapters.paths import words
from bootstrap.domain.doctor.facts_others import Connection, StoredConnections
from bootstrap.domain.errors import TargetError
from bootstrap.domain.secret import Secret

_MAGIC = b"SQLite format 3\x00"
_WAIT_S = 1.0
# What rows that are not Open WebUI's lead to.
_ODD = (sqlite3.Error, ValueError, TypeError, RecursionError)
_READ_S = 2.0
_STEPS = 100_000
_MOST = 100  # connections, more than anybody enters
_MOST_BYTES = 16 * 2**20  # of one setting
# What docker compose puts a value in for, and systemd and docker itself hand on as it stands.
_REFERENCE = re.compile(r"\$(?:\{[A-Za-z_]\w*(?:[:?+-][^}]*)?\}|[A-Za-z_]\w*)")
_NAMES = ("openai.enable", "openai.api_base_urls", "openai.api_keys", "openai.api_configs")
# Headers in which the gateway takes a key, the first that is there.
_KEY_HEADERS = ("x-litellm-api-key", "authorization", "x-api-key")


def stored_connections(path: PurePath) -> StoredConnections:
    """Return what Open WebUI keeps in its database, or is given by an env file."""
    try:
        rows = _from_database(path) if _is_database(path) else _from_env_file(path)
        real = Path(path).resolve()
        mode, *folders = (each.stat().st_mode & 0o7777 for each in (real, *real.parents))
    except FileNotFoundError:
        return StoredConnections("openwebui", path, problem="it is not there")
    except OSError as error:
        return StoredConnections("openwebui", path, problem=words(error))
    except TargetError as error:
        return StoredConnections("openwebui", path, problem=error.why)
    except _ODD as error:  # its text may quote a row
        problem = f"it cannot be read as Open WebUI's ({type(error).__name__})"
        return StoredConnections("openwebui", path, problem=problem)
    urls, keys = (_texts(rows.get(name)) for name in _NAMES[1:3])
    keys += [""] * len(urls)
    found = (
        _connection(url, key, _settings(rows.get(_NAMES[3]), number, url))
        for number, (url, key) in enumerate(zip(urls, keys, strict=False))
        if url
    )
    single = {(c.url, c.key and c.key.digest(), c.enabled): c for c in found}
    several = tuple(islice(single.values(), _MOST))
    # Saved without it, it is null, which counts as off.
    enabled = bool(rows.get(_NAMES[0], True))
    return StoredConnections("openwebui", path, several, enabled, mode=mode, folders=tuple(folders))


def _settings(every: object, number: int, url: str) -> Mapping[str, object]:
    """Return what is set for one connection."""
    by = every if isinstance(every, dict) else {}
    found = by.get(str(number), by.get(url))
    return found if isinstance(found, dict) else {}


def _connection(url: str, key: str, settings: Mapping[str, object]) -> Connection:
    if settings.get("auth_type", "bearer") not in ("bearer", None):
        key = ""  # none at all, or what its user has signed in with
    headers = settings.get("headers")
    if isinstance(headers, dict):
        named = {str(name).lower(): value for name, value in headers.items()}
        own = (value for name in _KEY_HEADERS if isinstance(value := named.get(name), str))
        key = next(own, key).removeprefix("Bearer ").strip()
    enabled = bool(settings.get("enable", True))
    return Connection(url, Secret(key) if key.isprintable() and key else None, enabled)


def _texts(value: object) -> list[str]:
    items = value if isinstance(value, list) else []
    # Half a character, as JSON can spell one, could be neither shown nor compared.
    return [item if isinstance(item, str) and item.isprintable() else "" for item in items]


def _is_database(path: PurePath) -> bool:
    """Tell whether the file begins like one; a pipe is not waited for, and is none."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(handle).st_mode)
        return not is_pipe and os.read(handle, len(_MAGIC)) == _MAGIC
    finally:
        os.close(handle)


def _from_database(path: PurePath) -> Mapping[str, object]:
    # Without a log beside it nobody has it open, and `immutable` makes no file there either.
    real = Path(path).resolve()
    in_use, indexed = (Path(f"{real}-{end}").exists() for end in ("wal", "shm"))
    if in_use and not indexed:  # reading it would make an index, which its owner may not write
        why = "its log was left behind without an index; Open WebUI reads it when it starts"
        raise TargetError(f"{path} cannot be read as it stands", why=why, fix="start Open WebUI")
    mode = "mode=ro" if in_use else "mode=ro&immutable=1"
    address = f"file:{quote(str(real))}?{mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=_WAIT_S)) as base:
        base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        # `config` may be a view that never ends.
        deadline = time.monotonic() + _READ_S
        base.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        columns = {row[1] for row in base.execute("PRAGMA table_info(config)")}
        if "data" in columns:
            found = base.execute("SELECT data FROM config ORDER BY id DESC LIMIT 1").fetchone()
            return _of_one_row(json.loads(found[0]) if found else {})
        rows = base.execute("SELECT key, value FROM config WHERE key IN (?, ?, ?, ?)", _NAMES)
        return {key: json.loads(value) for key, value in rows}


def _of_one_row(document: object) -> Mapping[str, object]:
    openai = document.get("openai") if isinstance(document, dict) else None
    return {f"openai.{n}": v for n, v in openai.items()} if isinstance(openai, dict) else {}


def _from_env_file(path: PurePath) -> Mapping[str, object]:
    held = read_env_file(path)

    def several(name: str) -> list[str]:
        value = held.get(f"{name}S") or held.get(name) or ""
        text = value.reveal() if isinstance(value, Secret) else value
        if not held.get(f"{name}S") and name.endswith("URL"):
            text = text.removesuffix("/")  # as Open WebUI does with one alone
        if _REFERENCE.search(text) if name.endswith("URL") else _REFERENCE.fullmatch(text):
            why = f"{name} refers to a variable, whose value only the program that reads it knows"
            raise TargetError(f"{path} tells no connection", why=why, fix="write the value")
        return [item.strip() for item in text.split(";")] if text else []

    rows: dict[str, object] = {
        "openai.api_base_urls": several("OPENAI_API_BASE_URL"),
        "openai.api_keys": several("OPENAI_API_KEY"),
    }
    enabled = held.get("ENABLE_OPENAI_API", "")
    if isinstance(enabled, Secret):
        rows["openai.enable"] = enabled.reveal().lower() == "true"
    configs = held.get("OPENAI_API_CONFIGS")
    if isinstance(configs, Secret):
        with suppress(ValueError):  # Open WebUI goes on without them
            rows["openai.api_configs"] = json.loads(configs.reveal())
    return rows
