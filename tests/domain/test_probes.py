"""What each answer of a gateway proves about the key it was asked with."""

import pytest

from bootstrap.domain.probes import Answer, Verdict, describe, verdict

ACCEPTED, REFUSED, UNKNOWN = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "with_a_key", "without"),
    [
        (Answer(200), ACCEPTED, ACCEPTED),
        (Answer(200, is_gateway=False), UNKNOWN, UNKNOWN),
        (Answer(401, "auth_error"), REFUSED, REFUSED),
        (Answer(403), REFUSED, REFUSED),
        (Answer(400, "no_db_connection"), REFUSED, REFUSED),
        (Answer(400, "invalid_request_error"), UNKNOWN, UNKNOWN),
        (Answer(400), UNKNOWN, UNKNOWN),
        (Answer(500), UNKNOWN, REFUSED),
        (Answer(500, is_gateway=False), UNKNOWN, UNKNOWN),
        (Answer(502), UNKNOWN, UNKNOWN),
        (Answer(503), UNKNOWN, UNKNOWN),
        (Answer(302), UNKNOWN, UNKNOWN),
        (Answer(404), UNKNOWN, UNKNOWN),
        (Answer(None, problem="connection refused"), UNKNOWN, UNKNOWN),
    ],
    ids=str,
)
def test_an_answer_proves_no_more_than_it_does(
    answer: Answer, with_a_key: Verdict, without: Verdict
) -> None:
    assert verdict(answer, with_key=True) is with_a_key
    assert verdict(answer, with_key=False) is without


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(200), "HTTP 200"),
        (Answer(400, "no_db_connection"), "HTTP 400 (no_db_connection)"),
        (Answer(None, problem="connection refused"), "connection refused"),
        (Answer(None), "no answer"),
    ],
)
def test_an_answer_is_described_in_a_few_words(answer: Answer, words: str) -> None:
    assert describe(answer) == words
