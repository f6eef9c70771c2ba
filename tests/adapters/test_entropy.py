"""New keys."""

import re
import secrets

import pytest

from bootstrap.adapters.entropy import new_key
from bootstrap.domain.envfile import quote
from bootstrap.domain.strength import weakness


def test_a_new_key_carries_256_bits_in_characters_that_need_no_quotes() -> None:
    text = new_key().reveal()
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", text)
    assert quote(text) == text


def test_no_two_new_keys_are_alike_and_none_is_weak() -> None:
    texts = {new_key().reveal() for _ in range(500)}
    assert len(texts) == 500
    assert {weakness(text) for text in texts} == {None}


def test_a_key_that_looks_weak_by_accident_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    strong = secrets.token_urlsafe(32)
    draws = iter(["xxxx" + strong, "Zk3vQ9xT1mB7cR5wY0pLhJ6dNfGs2aUe8i4"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: next(draws))
    assert new_key().reveal() == "sk-Zk3vQ9xT1mB7cR5wY0pLhJ6dNfGs2aUe8i4"
