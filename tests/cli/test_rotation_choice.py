"""Which words `keyturn rotate` takes, and what it says about the others; nothing is run."""

from pathlib import PurePath

import pytest

from bootstrap.cli.rotation_choice import Wish, can_wait, what_next
from bootstrap.domain.errors import UsageError
from bootstrap.domain.labfile import parse_lab

MASTER, INTERNAL, SALT = "LITELLM_MASTER_KEY", "KEYTURN_INTERNAL_KEY", "LITELLM_SALT_KEY"
LAB = parse_lab(
    """
version = 1
[secrets.UP_KEY]
[secrets.TOKEN]
[secrets.REDIS]
[backends.up]
kind = "vllm"
url = "http://127.0.0.1:1"
key = "UP_KEY"
[[models]]
alias = "small"
backend = "up"
[redis]
password = "REDIS"
""",
    PurePath("/lab"),
)


@pytest.mark.parametrize(
    ("wish", "names"),
    [
        (Wish(), (MASTER,)),
        (Wish(value_stdin=True), (MASTER,)),
        (Wish("REDIS"), ("REDIS",)),
        (Wish(INTERNAL), (INTERNAL,)),
        (Wish("UP_KEY", value_stdin=True), ("UP_KEY",)),
        (Wish("TOKEN", value_stdin=True), ("TOKEN",)),
        (Wish("TOKEN", generate=True), ("TOKEN",)),
        (Wish(SALT, i_know=True), (SALT,)),
        (Wish(everything=True), (MASTER, INTERNAL, "REDIS")),
        (Wish(re_encrypt=True), (MASTER, INTERNAL)),
        (Wish(INTERNAL, re_encrypt=True), (INTERNAL,)),
    ],
)
def test_these_words_name_secrets(wish: Wish, names: tuple[str, ...]) -> None:
    assert wish.names(LAB) == names


@pytest.mark.parametrize(
    ("wish", "what"),
    [
        (Wish("NOSUCH"), "no secret called NOSUCH"),
        (Wish(""), "no secret called"),
        (Wish(SALT), "is never rotated"),
        (Wish("UP_KEY"), "from its provider"),
        (Wish("UP_KEY", generate=True), "from its provider"),
        (Wish("TOKEN"), "come from?"),
        (Wish("TOKEN", value_stdin=True, generate=True), "exclude each other"),
        (Wish("TOKEN", everything=True), "every secret whose value keyturn makes"),
        (Wish(everything=True, value_stdin=True), "every secret whose value keyturn makes"),
        (Wish(value_stdin=True, re_encrypt=True), "rotates two"),
    ],
)
def test_these_words_do_not_fit(wish: Wish, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        wish.names(LAB)
    assert what in caught.value.what
    assert caught.value.fix


def test_a_trial_needs_no_value() -> None:
    assert Wish("UP_KEY").names(LAB, trial=True) == ("UP_KEY",)


def test_what_all_leaves_out_comes_with_the_command_to_type() -> None:
    left = Wish(everything=True).left_out(LAB)
    assert left["UP_KEY"] == "keyturn rotate UP_KEY --value-stdin < FILE"
    assert set(left) == {"UP_KEY", "TOKEN"}
    assert Wish().left_out(LAB) == {}


def test_only_what_keyturn_opens_can_wait() -> None:
    waits = [name for name in LAB.secrets if can_wait(LAB, (name,))]
    assert sorted(waits) == sorted([MASTER, "REDIS"])


def test_what_is_left_to_do_depends_on_the_kind() -> None:
    assert "small answered" in what_next(LAB, ("UP_KEY",))[0]
    assert "next start" in what_next(LAB, ("TOKEN",))[0]
    assert what_next(LAB, (MASTER, INTERNAL, "REDIS")) == []
