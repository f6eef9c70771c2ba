"""Faults of a real Redis, of a provider that wants a key, and of a salt key: found and mended."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.homes import environment
from support.named_labs import PROVIDER, REDIS, NamedLab, named_lab
from support.sops_lab import REAL_SOPS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
WRONG = "wrong-test-password-0123456789abcdef"
SALT = "LITELLM_SALT_KEY"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamedLab]:
    base = tmp_path_factory.mktemp("backends")
    home = base / "home"
    home.mkdir(mode=0o700)
    with named_lab(base, home) as made:
        yield made


def bad(named: NamedLab) -> dict[str, dict[str, Any]]:
    """Return what doctor warns of, by code; that the backend has another model is known."""
    rows = named.lab.call("doctor", "--json").json["findings"]
    said = "".join(named.lab.said)
    assert not [name for name in (PROVIDER, REDIS, SALT) if named.lab.value(name) in said]
    found = {row["code"]: row for row in rows if row["severity"] in ("warning", "error")}
    if "KT503" not in found:
        assert "does not have behind-a-key" in found.pop("KT502")["seen"]
    return found


def redis_cli(named: NamedLab, password: str, *words: str) -> None:
    """Say something to the Redis."""
    argv = ["redis-cli", "-p", str(named.redis), *words]
    done = subprocess.run(
        argv, env={"PATH": "/usr/bin:/bin", "REDISCLI_AUTH": password}, capture_output=True
    )
    assert done.stdout.strip() == b"OK", done


def put(named: NamedLab, name: str, value: str) -> None:
    """Change a value in the store by sops alone."""
    subprocess.run(
        [REAL_SOPS, "set", "--value-stdin", named.lab.store, f'["{name}"]'],
        input=json.dumps(value).encode(),
        env=environment(named.lab.home),
        cwd=named.lab.root,
        check=True,
    )


@contextmanager
def another(named: NamedLab, name: str, value: str) -> Iterator[None]:
    """Have another value in the store in the block."""
    kept = named.lab.value(name)
    put(named, name, value)
    yield
    put(named, name, kept)


def test_a_lab_with_a_redis_and_a_provider_is_green(named: NamedLab) -> None:
    assert bad(named) == {}


def test_a_redis_with_another_password_is_said(named: NamedLab) -> None:
    right = named.lab.value(REDIS)
    redis_cli(named, right, "CONFIG", "SET", "requirepass", WRONG)
    row = bad(named)["KT504"]
    assert row["seen"] == f"127.0.0.1:{named.redis}: it refuses the password"
    assert "[redis] in lab.toml" in row["mend"]
    redis_cli(named, WRONG, "CONFIG", "SET", "requirepass", right)
    assert bad(named) == {}


def test_a_gateway_that_uses_another_redis_is_said_and_led_back(named: NamedLab) -> None:
    config = Path(named.lab.places.litellm, "config.yaml")
    text = config.read_text()
    assert f"port: {named.redis}" in text
    config.write_text(text.replace(f"port: {named.redis}", "port: 9"))
    named.lab.ok("service", "restart")
    row = bad(named)["KT505"]
    assert row["command"] == "keyturn apply --force"
    named.lab.ok("apply", "--force")
    assert bad(named) == {}


def test_a_provider_that_refuses_the_key_is_said(named: NamedLab) -> None:
    kept = named.keys.read_text()
    named.keys.write_text("sk-test-somebody-elses\n")
    row = bad(named)["KT503"]
    assert (row["severity"], PROVIDER in row["seen"]) == ("error", True)
    assert f"keyturn rotate {PROVIDER} --value-stdin" in row["mend"]
    named.keys.write_text(kept)
    assert bad(named) == {}


def test_a_salt_key_that_was_changed_under_a_database_is_an_error(named: NamedLab) -> None:
    lab = named.lab
    text = lab.file.read_text()
    with another(named, SALT, "sk-test-salt-of-nobody-0123456789abcdef"):
        assert "KT322" not in bad(named), "without a database it encrypts nothing"
        lab.file.write_text(f"{text}[secrets.DATABASE_URL]\n")
        row = bad(named)["KT322"]
        assert row["severity"] == "error"
        assert "keyturn rotate LITELLM_SALT_KEY --i-know" in row["mend"]
    assert "KT322" not in bad(named)
    lab.file.write_text(text)
    assert bad(named) == {}


def test_a_database_without_a_salt_key_is_said_and_mended(named: NamedLab) -> None:
    lab, env = named.lab, Path(named.lab.places.gateway_env)
    text = lab.file.read_text()
    lines = env.read_text().splitlines(keepends=True)
    env.write_text("".join(line for line in lines if not line.startswith(SALT)))
    lab.ok("service", "restart")
    lab.file.write_text(f"{text}[secrets.DATABASE_URL]\n")
    assert f"{SALT} is not set for the gateway" in bad(named)["KT315"]["seen"]
    lab.file.write_text(text)
    lab.ok("apply", "--force")
    assert bad(named) == {}
