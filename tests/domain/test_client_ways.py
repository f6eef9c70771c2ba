"""How each client gets the key: chosen, pinned, and said."""

import json
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from bootstrap.domain.client import Setup
from bootstrap.domain.client_ways import chosen_way, settled, template_context, way_of
from bootstrap.domain.clients import PRESETS
from bootstrap.domain.clients.claude import SETUP as CLAUDE
from bootstrap.domain.clients.droid import SETUP as DROID
from bootstrap.domain.clients.openwebui import SETUP as OPENWEBUI
from bootstrap.domain.droid_keys import gateway_keys, loopback_ports
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.lab import Lab
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.secret import Secret
from bootstrap.domain.targets import targets
from support.fakes import make_places


def lab(more: str = "") -> Lab:
    return parse_lab(f"version = 1\n{more}", PurePath("/lab"))


@pytest.mark.parametrize(
    ("name", "setup", "more", "way", "why"),
    [
        ("droid", DROID, "", "literal", "its own settings"),
        ("droid", DROID, "[targets]\ndroid_key_helper = true", "helper", "no key at rest"),
        ("droid", DROID, "[targets]\ndroid_settings = false", "variable", "overlay"),
        ("droid", DROID, '[clients.droid]\nhand_over = "variable"', "variable", "pinned"),
        ("claude", CLAUDE, "", "variable", "keyturn exec"),
        ("claude", CLAUDE, "[targets]\nclaude_settings = true", "helper", "no key at rest"),
        ("claude", CLAUDE, '[clients.claude]\nhand_over = "literal"', "literal", "pinned"),
        ("openwebui", OPENWEBUI, "[targets]\nopenwebui_env = true", "literal", "environment"),
    ],
)
def test_the_way_is_chosen_or_pinned_and_the_reason_is_given(
    name: str, setup: Setup, more: str, way: str, why: str
) -> None:
    found, reason = chosen_way(name, setup, lab(more))
    assert found is not None
    assert found.name == way
    assert why in reason


@pytest.mark.parametrize(
    ("name", "setup", "more"),
    [
        ("openwebui", OPENWEBUI, ""),
        ("droid", DROID, "[targets]\ndroid_settings = false\ndroid_overlay = false"),
    ],
)
def test_a_client_that_is_turned_off_has_no_way(name: str, setup: Setup, more: str) -> None:
    found, why = chosen_way(name, setup, lab(more))
    assert found is None
    assert "is false" in why


@pytest.mark.parametrize(
    ("name", "setup", "more", "version", "way", "why"),
    [
        (
            "claude",
            CLAUDE,
            "[targets]\nclaude_settings = true",
            "2.1.197",
            "helper",
            "Claude Code 2.1.197 is installed and runs apiKeyHelper; no key at rest",
        ),
        (
            "claude",
            CLAUDE,
            "[targets]\nclaude_settings = true",
            "0.2.73",
            "literal",
            "Claude Code 0.2.73 is older than 0.2.74, the first known that runs apiKeyHelper; ",
        ),
        (
            "droid",
            DROID,
            "[targets]\ndroid_key_helper = true",
            "0.20.0",
            "literal",
            "Factory droid 0.20.0 is older than 0.215.0, the first known that runs apiKeyHelper",
        ),
        (
            "droid",
            DROID,
            '[clients.droid]\nhand_over = "helper"',
            "0.20.0",
            "helper",
            "pinned under [clients.droid]; Factory droid 0.20.0 is older than 0.215.0, ",
        ),
        ("claude", CLAUDE, "[clients.claude]\nset_up = true", "nightly", "helper", "no key at"),
        ("droid", DROID, "[clients.droid]\nset_up = true", "0.20.0", "literal", "its own settings"),
    ],
)
def test_the_version_that_is_installed_decides_and_is_said(
    name: str, setup: Setup, more: str, version: str, way: str, why: str
) -> None:
    found, reason = chosen_way(name, setup, lab(more), version)
    assert found is not None
    assert found.name == way
    assert reason.startswith(why) or why in reason
    settled_lab = settled(lab(more), lambda program: version if program == setup.program else "")
    chosen = way_of(name, setup, settled_lab)
    assert chosen is not None
    assert chosen.name == way


def test_no_program_is_asked_for_its_version_where_every_version_can_do_it() -> None:
    def version(program: str) -> str:
        raise AssertionError(program)

    assert settled(lab(), version).ways == {}


def test_a_version_that_can_no_longer_do_it_is_too_new() -> None:
    way = replace(CLAUDE.way("helper"), before="3.0.0")
    setup = replace(CLAUDE, ways=(way, *CLAUDE.ways[1:]))
    found, why = chosen_way("claude", setup, lab("[targets]\nclaude_settings = true"), "3.0.0")
    assert found is not None
    assert found.name == "literal"
    assert why.startswith("Claude Code 3.0.0 is not older than 3.0.0, before which it runs")


def test_what_is_chosen_by_version_is_what_is_written() -> None:
    old = settled(lab("[targets]\nclaude_settings = true"), lambda _: "0.2.73")
    file = next(t for t in targets(old, make_places(Path("/h")), "systemd") if t.client == "claude")
    assert file.secret
    assert template_context(old, {})["claude_literal"]
    pinned = settled(lab('[clients.claude]\nhand_over = "helper"'), lambda _: "0.2.73")
    assert not template_context(pinned, {})["claude_literal"]


def test_a_pin_turns_the_file_on_that_it_needs() -> None:
    pinned = lab('[clients.droid]\nhand_over = "helper"\n[clients.claude]\nhand_over = "helper"')
    assert pinned.switches.droid_key_helper
    assert pinned.switches.claude_settings
    assert not lab().switches.claude_settings


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ('[clients.droid]\nhand_over = "helpr"', "clients.droid.hand_over"),
        ('[clients.openai]\nhand_over = "literal"', "clients.openai.hand_over"),
        ("[clients.openai]\nset_up = true", "clients.openai.set_up"),
        ("[clients.zed]\nset_up = true", "clients.zed.key"),
        ('[clients.mine]\nlike = "claude"\nhand_over = "literal"', "clients.mine.hand_over"),
    ],
)
def test_a_pin_that_makes_no_sense_is_refused(more: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lab(more)
    assert where in caught.value.what


def test_every_way_is_described_and_every_default_is_a_way() -> None:
    setups = [preset.setup for preset in PRESETS.values() if preset.setup is not None]
    assert len(setups) == 3
    for setup in setups:
        assert setup.way(setup.default)
        assert all(way.learns and way.why for way in setup.ways)


def test_droids_keys_are_those_of_the_gateway_and_literal() -> None:
    url = "http://127.0.0.1:4000"
    entries = [
        {"baseUrl": "http://localhost:4000/v1", "apiKey": "sk-test-a"},
        {"baseUrl": "http://localhost:4000", "apiKey": "${NAME}"},
        {"baseUrl": "http://localhost:4000", "apiKey": "env:NAME"},
        {"baseUrl": "http://localhost:4000", "apiKey": "YOUR_API_KEY"},
        {"baseUrl": "https://elsewhere.example.com", "apiKey": "sk-test-b"},
        {"baseUrl": "http://localhost:4000"},
        "text",
    ]
    legacy = [{"base_url": f"{url}/v1/", "api_key": "sk-test-c"}]
    assert gateway_keys(json.dumps({"customModels": entries}).encode(), url) == (
        Secret("sk-test-a"),
    )
    assert gateway_keys(json.dumps({"custom_models": legacy}).encode(), url) == (
        Secret("sk-test-c"),
    )
    assert gateway_keys(b"{", url) == ()


def test_droids_entries_tell_the_port_of_the_gateway() -> None:
    urls = ("http://localhost:4005", "https://x.example.com:1", "http://[::1]:4006", "http://[", 7)
    data = json.dumps({"customModels": [{"baseUrl": url} for url in urls]}).encode()
    assert loopback_ports(data) == (4005, 4006)
