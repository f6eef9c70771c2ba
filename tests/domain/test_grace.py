"""Grace times as people write them."""

import pytest

from bootstrap.domain.grace import Grace, parse_grace


@pytest.mark.parametrize(
    ("text", "grace"),
    [
        ("0", Grace()),
        ("10m", Grace(600.0)),
        ("until-unused", Grace(86400.0, 600.0)),
        ("until-unused:8h", Grace(28800.0, 600.0)),
        ("until-unused:5m", Grace(300.0, 300.0)),
    ],
)
def test_a_time_or_until_unused_with_an_end(text: str, grace: Grace) -> None:
    assert parse_grace(text) == grace


@pytest.mark.parametrize(
    "text", ["", "soon", "until-unused:", "until-unused:0", "unused", "10m:5m"]
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_grace(text) is None
