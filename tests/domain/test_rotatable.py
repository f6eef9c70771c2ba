"""What a secret is to a lab, and which of them go together."""

from pathlib import PurePath

import pytest

from bootstrap.domain.lab import Lab
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.reencryption import encryption_key, failure_in
from bootstrap.domain.rotatable import (
    Kind,
    kind_of,
    left_out_by_all,
    makes_itself,
    models_using,
    rotated_by_all,
)
from bootstrap.domain.strength import misfit

LAB = """
version = 1
[gateway]
auth = "{auth}"
[secrets.UP_KEY]
[secrets.IDLE_KEY]
[secrets.TOKEN]
[secrets.REDIS]
[backends.up]
kind = "vllm"
url = "http://127.0.0.1:1"
key = "UP_KEY"
[backends.idle]
kind = "vllm"
url = "http://127.0.0.1:1"
key = "IDLE_KEY"
[[models]]
alias = "small"
backend = "up"
[redis]
password = "REDIS"
"""


def lab(auth: str = "guard") -> Lab:
    return parse_lab(LAB.format(auth=auth), PurePath("/lab"))


@pytest.mark.parametrize(
    ("name", "kind", "ours"),
    [
        ("LITELLM_MASTER_KEY", Kind.MASTER, True),
        ("KEYTURN_INTERNAL_KEY", Kind.INTERNAL, True),
        ("LITELLM_SALT_KEY", Kind.SALT, True),
        ("REDIS", Kind.REDIS, True),
        ("UP_KEY", Kind.PROVIDER, False),
        ("IDLE_KEY", Kind.OTHER, False),
        ("TOKEN", Kind.OTHER, False),
    ],
)
def test_each_secret_is_of_one_kind(name: str, kind: Kind, ours: bool) -> None:
    assert kind_of(lab(), name) is kind
    assert makes_itself(kind) is ours


def test_models_are_found_by_the_key_of_their_backend() -> None:
    assert [model.alias for model in models_using(lab(), "UP_KEY")] == ["small"]
    assert models_using(lab(), "TOKEN") == ()


def test_all_are_those_that_keyturn_makes_but_for_the_salt_key() -> None:
    names = ("LITELLM_MASTER_KEY", "KEYTURN_INTERNAL_KEY", "REDIS")
    assert rotated_by_all(lab()) == names
    assert left_out_by_all(lab()) == ("UP_KEY", "IDLE_KEY", "TOKEN")


def test_without_the_guard_there_is_no_internal_key() -> None:
    plain = lab("master-key")
    assert kind_of(plain, "KEYTURN_INTERNAL_KEY") is Kind.OTHER
    assert rotated_by_all(plain) == ("LITELLM_MASTER_KEY", "REDIS")
    assert encryption_key(plain) == "LITELLM_MASTER_KEY"
    assert encryption_key(lab()) == "KEYTURN_INTERNAL_KEY"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "does not say"),
        (["x Done re-encrypting 2 stored value(s)"], None),
        (["nothing in the database is left to migrate from that key"], None),
        (["Done re-encrypting 2", "Could not migrate stored values from the X key"], "could not"),
        (["Could not migrate stored values", "Done re-encrypting 2 stored"], None),
        (["Re-encrypted 2, but 1 are still encrypted with the previous key"], "changed meanwhile"),
        (["but no database is connected, so nothing"], "not connected"),
        (["but LITELLM_SALT_KEY is what encrypts your stored values"], "salt key"),
    ],
)
def test_what_litellm_logs_last_counts(lines: list[str], why: str | None) -> None:
    found = failure_in(lines)
    assert (why is None) == (found is None)
    assert why is None or why in str(found)


@pytest.mark.parametrize("text", ["a b", "a\n", "\u00e9", "\x07", "YOUR-key", "<placeholder>"])
def test_a_slip_of_a_copy_is_no_secret(text: str) -> None:
    assert misfit(text)


def test_what_a_provider_makes_may_be_short_and_odd() -> None:
    assert misfit("x&y#1") is None
