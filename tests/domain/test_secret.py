"""A Secret shows itself through no door but reveal()."""

import copy
import json
import pickle
import shlex

import pytest

from bootstrap.domain.secret import MASK, Secret

TEXT = "sk-test-0123456789abcdefghijklmnopqrstuv"


@pytest.fixture
def secret() -> Secret:
    return Secret(TEXT)


def test_printing_formatting_and_logging_show_a_mask(secret: Secret) -> None:
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", str([secret])]
    shown.append("%s %r" % (secret, secret))  # noqa: UP031 - logging does this
    assert all(TEXT not in text for text in shown)
    assert str(secret) == MASK


def test_pickling_is_refused_and_copying_keeps_the_same_value(secret: Secret) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        secret.__getstate__()
    assert copy.copy(secret) is secret
    assert copy.deepcopy(secret) is secret


def test_json_vars_and_shell_quoting_do_not_work_on_it(secret: Secret) -> None:
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        shlex.quote(secret)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        "k=" + secret  # type: ignore[operator]


def test_two_secrets_are_equal_when_their_texts_are(secret: Secret) -> None:
    assert secret == Secret(TEXT)
    assert secret != Secret(TEXT + "x")
    assert secret != TEXT
    with pytest.raises(TypeError):
        hash(secret)


def test_the_fingerprint_is_eight_hex_digits_and_tells_keys_apart(secret: Secret) -> None:
    assert len(secret.fingerprint()) == 8
    assert int(secret.fingerprint(), 16) >= 0
    assert secret.fingerprint() != Secret("sk-test-other").fingerprint()


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Secret("")
