"""Ask a server of OpenAI's protocol which models it has, and whether it takes the key."""

from typing import Any

from bootstrap.adapters.gateway import get_json
from bootstrap.domain.backend_read import is_llama_cpp
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret

REFUSED = (401, 403)


def ask_models(base: str, key: Secret | None, timeout_s: float = 5.0) -> tuple[Answer, Any]:
    """Return the answer to GET /v1/models, and its body as JSON, or None where it is none.

    llama.cpp answered that to anybody (b8929; b11549 does not). There /props, which it
    guards like its completions, is asked as well, and where it refuses the key that is the answer.

    Args:
        base: The address, without `/v1`.
        key: What to send, or None.
        timeout_s: For each of the two.
    """
    answer, document = get_json(f"{base}/v1/models", key, timeout_s)
    if answer.status == 200 and is_llama_cpp(document):
        guarded, _ = get_json(f"{base}/props", key, timeout_s)
        if guarded.status in REFUSED:
            return guarded, document
    return answer, document
