"""Which texts are too weak for a key."""

import secrets
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.domain.strength import weakness

STRONG = "sk-Zk3vQ9xT1mB7cR5wY0pLhJ6dNfGs2aUe"


def test_a_random_key_is_strong() -> None:
    assert weakness(STRONG) is None


@pytest.mark.parametrize(
    "key",
    [
        "8f14e45fceea167a5a36dedd4bea2543",
        "sk-8f14e45fceea167a5a36dedd4bea2543",
        "Zk3vQ9xT1mB7cR5wY0p+hJ6dNf/s2aUe0i8o==",
    ],
)
def test_random_hexadecimal_and_base64_are_strong_too(key: str) -> None:
    assert weakness(key) is None


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "shorter than 32"),
        ("sk-short", "shorter than 32 characters after sk-"),
        (STRONG[:-1], "shorter than 32 characters after sk-"),
        (STRONG + "\n", "white space or a line break"),
        (STRONG[:20] + " " + STRONG[20:], "white space"),
        (STRONG + "ü", "outside ASCII"),
        (STRONG + "$", "other characters"),
        (STRONG + "'", "other characters"),
        (STRONG + "\0", "other characters"),
        ("-" + STRONG, "other characters"),
        ("sk-1234", "placeholder"),
        ("sk-litellm-local-your-master-key", "placeholder"),
        ("changeme", "placeholder"),
        ("CHANGE-ME-" + STRONG, "placeholder"),
        ("sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "placeholder"),
        ("your-api-key-here", "placeholder"),
        ("sk-example" + STRONG, "placeholder"),
        ("MyPassword123MyPassword123MyPassword123", "placeholder"),
        ("sk-" + "a" * 40, "repeats itself"),
        ("sk-" + "ab1" * 20, "repeats itself"),
        ("sk-" + STRONG[3:19] * 2, "repeats itself"),
        ("sk-" + string.ascii_letters, "counts up"),
    ],
)
def test_a_weak_key_is_told_why(key: str, problem: str) -> None:
    why = weakness(key)
    assert why is not None
    assert problem in why


@settings(deadline=None, database=None)
@given(st.text(min_size=12))
def test_the_reason_never_quotes_the_key(text: str) -> None:
    assert text not in (weakness(text) or "")


def test_random_keys_are_rarely_called_weak() -> None:
    weak = [key for key in (secrets.token_hex(16) for _ in range(2000)) if weakness(key)]
    assert len(weak) <= 2
