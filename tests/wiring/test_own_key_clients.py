"""`exec --client` with `client_keys = true`: who is handed which key."""

from pathlib import Path

import pytest

from bootstrap.domain.keyset import Keyset
from bootstrap.domain.secret import Secret
from bootstrap.wiring.clients import ClientOptions, prepare

LAB = 'version = 1\nclient_keys = true\n[clients.tool]\nkey = ["TOOL_KEY"]\n'
OWN = "KEYTURN_CLIENT_KEY_OPENAI"


@pytest.fixture
def lab(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "lab.toml").write_text(LAB)
    keyset = home / ".config" / "litellm" / "keyturn-keyset.json"
    keyset.parent.mkdir(parents=True)
    keyset.write_bytes(Keyset().with_current(Secret("sk-test-master")).to_bytes())
    monkeypatch.chdir(home)
    return str(tmp_path)


def test_a_program_that_is_no_agent_gets_its_clients_key(lab: str) -> None:
    assert prepare("openai", lab, ClientOptions()).names == {"OPENAI_API_KEY": OWN}
    tool = prepare("tool", lab, ClientOptions())
    assert tool.names == {"TOOL_KEY": "KEYTURN_CLIENT_KEY_TOOL"}


def test_the_master_key_is_handed_over_where_that_is_asked_for(lab: str) -> None:
    names = prepare("openai", lab, ClientOptions(key="master")).names
    assert names == {"OPENAI_API_KEY": "LITELLM_MASTER_KEY"}


def test_an_agent_still_gets_a_key_for_its_run_alone_and_sees_none_of_the_others(lab: str) -> None:
    prepared = prepare("claude", lab, ClientOptions())
    assert prepared.names == {}
    assert {OWN, "KEYTURN_CLIENT_KEY_CLAUDE", "LITELLM_MASTER_KEY"} <= set(prepared.remove)


def test_the_key_is_for_the_labs_own_gateway(lab: str) -> None:
    options = ClientOptions(gateway="https://llm.example.com")
    assert prepare("openai", lab, options).names == {"OPENAI_API_KEY": "LITELLM_MASTER_KEY"}
