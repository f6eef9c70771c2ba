"""Open WebUI's database, as 0.12.4 writes it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

URL = "http://127.0.0.1:4000/v1"
KEY = "sk-test-in-open-webui-0123456789"


def database(path: Path, rows: dict[str, object]) -> Path:
    """Write what Open WebUI 0.12.4 does."""
    with closing(sqlite3.connect(path)) as base:
        base.execute('CREATE TABLE config ("key" TEXT PRIMARY KEY, value JSON, updated_at BIGINT)')
        values = [(key, json.dumps(value)) for key, value in rows.items()]
        base.executemany("INSERT INTO config VALUES (?, ?, 0)", values)
        base.commit()
    return path


def kept(url: str = URL, key: str = KEY, **more: object) -> dict[str, object]:
    return {"openai.api_base_urls": [url], "openai.api_keys": [key], **more}
