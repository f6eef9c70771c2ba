"""Which servers Open WebUI asks: read from its database or its env file, without touching them."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bootstrap.adapters import openwebui
from bootstrap.adapters.openwebui import stored_connections
from bootstrap.domain.doctor.facts_others import Connection
from bootstrap.domain.secret import Secret
from support.openwebui import KEY, URL, database, kept

FOUND = (Connection(URL, Secret(KEY)),)


@pytest.fixture
def in_use(tmp_path: Path) -> Iterator[Path]:
    """A database that a program has open, with its newest rows in the log beside it."""
    path = database(tmp_path / "webui.db", kept(key="sk-test-first-0123456789"))
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("UPDATE config SET value = ? WHERE key LIKE '%keys'", (json.dumps([KEY]),))
        base.commit()
        yield path


def test_a_setting_is_a_row(tmp_path: Path) -> None:
    path = database(tmp_path / "my? web #ui.db", kept())
    before = (path.read_bytes(), sorted(tmp_path.iterdir()))
    found = stored_connections(path)
    assert (found.connections, found.enabled, found.problem) == (FOUND, True, "")
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before


OWN = "sk-test-in-a-header-0123456789"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"0": {"enable": False}}, Connection(URL, Secret(KEY), False)),
        ({URL: {"enable": False}}, Connection(URL, Secret(KEY), False)),
        ({"0": {"enable": True}, URL: {"enable": False}}, *FOUND),
        ({"1": {"enable": False}}, *FOUND),
        ({"0": {"auth_type": "bearer", "headers": {"X-Team": "a"}}}, *FOUND),
        ({"0": {"auth_type": None, "headers": {}}}, *FOUND),
        ({"0": {"auth_type": "none"}}, Connection(URL)),
        ({"0": {"auth_type": "session"}}, Connection(URL)),
        (
            {"0": {"auth_type": "none", "headers": {"Authorization": f"Bearer {OWN}"}}},
            Connection(URL, Secret(OWN)),
        ),
        ({"0": {"headers": {"X-API-Key": OWN}}}, Connection(URL, Secret(OWN))),
        ({"0": {"headers": {"authorization": 1}}}, *FOUND),
        ({"0": [1]}, *FOUND),
        ([1], *FOUND),
    ],
)
def test_what_is_set_for_a_single_connection_counts(
    tmp_path: Path, settings: object, expected: Connection
) -> None:
    path = database(tmp_path / "webui.db", kept() | {"openai.api_configs": settings})
    assert stored_connections(path).connections == (expected,)
    file = tmp_path / "openwebui.env"
    given = f"OPENAI_API_BASE_URL={URL}\nOPENAI_API_KEY={KEY}\nOPENAI_API_CONFIGS="
    file.write_text(f"{given}'{json.dumps(settings)}'\n")
    assert stored_connections(file).connections == (expected,)
    file.write_text(f"{given}'{{'\n")
    assert stored_connections(file).connections == FOUND


def test_a_switch_that_is_saved_as_null_is_off(tmp_path: Path) -> None:
    path = database(tmp_path / "webui.db", kept() | {"openai.enable": None})
    assert not stored_connections(path).enabled


def test_what_stands_in_the_log_of_a_database_in_use_counts(in_use: Path) -> None:
    before = sorted(in_use.parent.iterdir())
    assert stored_connections(in_use).connections == FOUND
    assert sorted(in_use.parent.iterdir()) == before


def test_the_log_stands_beside_the_file_that_a_symlink_leads_to(in_use: Path) -> None:
    link = in_use.parent / "elsewhere" / "webui.db"
    link.parent.mkdir()
    link.symlink_to(in_use)
    assert stored_connections(link).connections == FOUND
    assert list(link.parent.iterdir()) == [link]


def test_a_log_without_its_index_is_left_to_open_webui(in_use: Path) -> None:
    copy = in_use.parent / "restored"
    copy.mkdir()
    for name in ("webui.db", "webui.db-wal"):
        (copy / name).write_bytes(in_use.with_name(name).read_bytes())
    assert "its log was left behind" in stored_connections(copy / "webui.db").problem
    assert len(list(copy.iterdir())) == 2


def test_the_modes_on_the_way_to_it_are_told(tmp_path: Path) -> None:
    path = database(tmp_path / "webui.db", kept())
    path.chmod(0o640)
    tmp_path.chmod(0o1755)
    found = stored_connections(path)
    assert (found.mode, found.folders[0]) == (0o640, 0o1755)
    assert len(found.folders) == len(path.parents)


def test_all_settings_are_one_row_in_older_ones(tmp_path: Path) -> None:
    path = tmp_path / "webui.db"
    rows = {"openai": {"enable": False, "api_base_urls": [URL], "api_keys": [KEY]}, "ui": {}}
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE config (id INTEGER PRIMARY KEY, data JSON, version INTEGER)")
        base.execute("INSERT INTO config VALUES (1, '{}', 0)")
        base.execute("INSERT INTO config VALUES (2, ?, 0)", (json.dumps(rows),))
        base.commit()
        found = stored_connections(path)
        assert (found.connections, found.enabled) == (FOUND, False)
        base.execute("UPDATE config SET data = '[]'")
        base.commit()
        assert stored_connections(path).connections == ()
        base.execute("DELETE FROM config")
        base.commit()
        assert stored_connections(path).connections == ()


@pytest.mark.parametrize(
    ("text", "connections"),
    [
        (f"OPENAI_API_BASE_URL={URL}\nOPENAI_API_KEY={KEY}\n", FOUND),
        (
            f"OPENAI_API_BASE_URLS='http://a/v1; {URL}'\nOPENAI_API_KEYS=';{KEY}'\n",
            (Connection("http://a/v1"), *FOUND),
        ),
        (f"OPENAI_API_BASE_URL={URL}\n", (Connection(URL),)),
        (f"OPENAI_API_BASE_URL={URL}/\n", (Connection(URL),)),
        (f"OPENAI_API_BASE_URLS={URL}/\n", (Connection(f"{URL}/"),)),
        ("OTHER=1\n", ()),
    ],
)
def test_an_env_file_gives_the_same(
    tmp_path: Path, text: str, connections: tuple[Connection, ...]
) -> None:
    file = tmp_path / "openwebui.env"
    file.write_text(text)
    assert stored_connections(file).connections == connections
    for value, enabled in (("False", False), ("1", False), ("True", True)):
        file.write_text(f"{text}ENABLE_OPENAI_API={value}\n")
        assert stored_connections(file).enabled is enabled


def test_a_file_that_tells_nothing_is_a_problem_that_quotes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "webui.db"
    assert stored_connections(file).problem == "it is not there"
    assert stored_connections(tmp_path).problem == "is a directory"
    file.write_text(f"{KEY}\n")
    assert stored_connections(file).problem == "line 1 is no assignment NAME=value"
    file.write_bytes(b"SQLite format 3\x00" + KEY.encode())
    assert "DatabaseError" in stored_connections(file).problem
    broken: tuple[dict[str, object], ...] = (
        {"openai.api_keys": KEY},
        {"openai.api_base_urls": {"0": URL}},
    )
    for rows in broken:
        file.unlink()
        found = stored_connections(database(file, rows))
        assert (found.connections, found.problem) == ((), "")
    with closing(sqlite3.connect(file)) as base:
        base.execute("UPDATE config SET value = ?", (f"[{KEY}",))
        base.commit()
    assert stored_connections(file).problem == "it cannot be read as Open WebUI's (JSONDecodeError)"
    with closing(sqlite3.connect(file)) as base:
        base.execute("UPDATE config SET value = NULL")
        base.commit()
    assert stored_connections(file).problem == "it cannot be read as Open WebUI's (TypeError)"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE config AS SELECT 'openai.api_keys' AS key, NULL AS value",
        "CREATE TABLE config AS SELECT 1 AS id, NULL AS data",
        "CREATE TABLE config AS SELECT 'openai.api_keys' AS key, zeroblob(20000000) AS value",
        "CREATE VIEW config AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
        "SELECT 'k' || x AS key, x AS value FROM n",
    ],
)
def test_a_database_that_is_made_to_do_harm_is_a_problem(
    statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openwebui, "_READ_S", 0.0)
    monkeypatch.setattr(openwebui, "_STEPS", 1000)
    path = tmp_path / "webui.db"
    with closing(sqlite3.connect(path)) as base:
        base.execute(statement)
        base.commit()
    assert openwebui.stored_connections(path).problem.startswith("it cannot be read")


def test_no_more_connections_are_taken_in_than_anybody_enters(tmp_path: Path) -> None:
    urls = [URL, URL, *(f"http://h:{port}/v1" for port in range(300))]
    rows: dict[str, object] = {"openai.api_base_urls": urls, "openai.api_keys": [KEY, KEY]}
    found = stored_connections(database(tmp_path / "webui.db", rows))
    assert found.connections[:2] == (*FOUND, Connection("http://h:0/v1"))
    assert len(found.connections) == 100


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert openwebui.stored_connections(tmp_path / "pipe").problem


@pytest.mark.parametrize(
    "line",
    [
        "OPENAI_API_KEY=${LITELLM_MASTER_KEY}",
        "OPENAI_API_KEYS='${LITELLM_MASTER_KEY:-none}'",
        "OPENAI_API_KEY=$LITELLM_MASTER_KEY",
        "OPENAI_API_BASE_URL=http://127.0.0.1:${PORT}/v1",
    ],
)
def test_a_reference_in_an_env_file_is_no_value(tmp_path: Path, line: str) -> None:
    file = tmp_path / "openwebui.env"
    file.write_text(f"ENABLE_OPENAI_API=true\n{line}\n")
    found = stored_connections(file)
    assert found.connections == ()
    assert found.problem.startswith(f"{line.partition('=')[0].removesuffix('S')} refers to")


def test_a_key_with_a_dollar_in_it_is_one(tmp_path: Path) -> None:
    file = tmp_path / "openwebui.env"
    file.write_text(f"OPENAI_API_BASE_URL={URL}\nOPENAI_API_KEY='sk-$test$HOME'\n")
    assert stored_connections(file).connections == (Connection(URL, Secret("sk-$test$HOME")),)
