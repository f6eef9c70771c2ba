"""What the gateway's answers mean: accepted, refused, open, or not known.

LiteLLM without a database does not say 401 to everything that it refuses: a wrong key gets 400
with type `no_db_connection` (1.80 to 1.109), a missing one 500 where `prisma` is not importable
(1.106.2). Seen by running it; source: the tables of LiteLLM's answers in docs/litellm.md.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, without anything that could quote a key.

    Attributes:
        status: The HTTP status; None where nothing answered in time.
        error_type: `error.type` of a JSON body in LiteLLM's form, else empty.
        model_ids: The ids of a model list, else empty.
        text: The assistant's text of a chat completion, else empty.
        completed: Whether it is a chat completion, or the beginning of one; a model that thinks
            first may have no text within few tokens.
        is_gateway: Whether the answer has the marks of LiteLLM (or a compatible stand-in).
        problem: The kind of failure where nothing answered, for example `connection refused`.
    """

    status: int | None
    error_type: str = ""
    model_ids: tuple[str, ...] = ()
    text: str = ""
    is_gateway: bool = True
    problem: str = ""
    completed: bool = False


class Verdict(Enum):
    """What an answer to GET /v1/models proves about the key that it was asked with."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def verdict(answer: Answer, *, with_key: bool) -> Verdict:
    """Return what `answer` proves.

    Args:
        answer: The answer to GET /v1/models.
        with_key: Whether a key was sent; a 500 means `refused` only without one.
    """
    if answer.status == 200:
        return Verdict.ACCEPTED if answer.is_gateway else Verdict.UNKNOWN
    if answer.status in (401, 403):
        return Verdict.REFUSED
    if answer.status == 400 and answer.error_type == "no_db_connection":
        return Verdict.REFUSED
    if answer.status == 500 and not with_key and answer.is_gateway:
        return Verdict.REFUSED
    return Verdict.UNKNOWN


def is_not_ready(answer: Answer) -> bool:
    """Tell whether somebody answers who cannot yet: llama.cpp does while it loads its model."""
    return answer.status is not None and answer.status >= 500


def describe(answer: Answer) -> str:
    """Return the answer in a few words for people."""
    if answer.status is None:
        return answer.problem or "no answer"
    kind = f" ({answer.error_type})" if answer.error_type else ""
    return f"HTTP {answer.status}{kind}"
