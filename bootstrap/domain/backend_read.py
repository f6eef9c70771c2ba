"""What a running backend says that it serves, in the words of lab.toml.

Ollama answers GET /api/tags; llama.cpp, vLLM and everything that speaks OpenAI's protocol answer
GET /v1/models. The first two can be told apart by `owned_by`. Tried on llama.cpp's own server
(b11549, and by hand b8929 and commit 7e4c0a9, which list their models to anybody, also where they
want a key for all the rest), on vLLM 0.32.0 and Ollama 0.32.15; tests/support/backend_answers.py
has what the last two said.
"""

from collections.abc import Collection, Mapping
from typing import Any

from bootstrap.domain.found_keys import REFERENCE
from bootstrap.domain.found_models import Found, FoundKey, FoundModel
from bootstrap.domain.printable import printable

_OWNERS = {"llamacpp": "llama.cpp", "vllm": "vllm"}
_EMBEDDING = ("bert", "nomic-bert")
_LONGEST = 60
_UNUSABLE = "its name has characters that some client cannot send"


def read_tags(document: object, url: str, key: FoundKey | None) -> Found | None:
    """Return Ollama's catalogue from its answer to /api/tags, or None where it is no such answer.

    Args:
        document: The answer.
        url: The API base, without a path.
        key: What opened it, or None.
    """
    rows = document.get("models") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        return None
    models: dict[str, FoundModel] = {}
    left_out: list[str] = []
    for row in rows:
        name = row.get("name") if isinstance(row, dict) else None
        if not isinstance(name, str):
            continue
        can = _capabilities(row)
        problem = _problem(name, name, models)
        if "completion" not in can:
            problem = "it is an embedding model" if "embedding" in can else "it writes no text"
        if problem:
            left_out.append(f"{printable(name)[:_LONGEST]}: {problem}")
        else:
            kind = "ollama-cloud" if key is not None else "ollama"
            models[name] = FoundModel(name, kind, url, name, key, images="vision" in can)
    return Found(url, tuple(models.values()), None, tuple(left_out))


def _capabilities(row: Mapping[str, Any]) -> Collection[str]:
    """Return what Ollama says that a model can; before it said so, what its family tells."""
    said = row.get("capabilities")
    if isinstance(said, list) and said:
        return [can for can in said if isinstance(can, str)]
    details = row.get("details")
    family = details.get("family") if isinstance(details, dict) else None
    return ("embedding",) if family in _EMBEDDING else ("completion",)


def read_models(document: object, url: str, key: FoundKey | None) -> Found | None:
    """Return a catalogue from an answer to /v1/models, or None where it is no such answer.

    Args:
        document: The answer.
        url: The API base, with `/v1`.
        key: What opened it, or None.
    """
    document = document if isinstance(document, dict) else {}
    rows = document.get("data")
    if rows is None and document.get("object") == "list":
        rows = []  # an Ollama that has no model says null
    if not isinstance(rows, list):
        return None
    models: dict[str, FoundModel] = {}
    left_out: list[str] = []
    for row in (row for row in rows if isinstance(row, dict)):
        name = row.get("id")
        if not isinstance(name, str):
            continue
        alias = _alias(name)
        problem = _problem(alias, name, models)
        if problem:
            left_out.append(f"{printable(name)[:_LONGEST]}: {problem}")
            continue
        kind = _OWNERS.get(str(row.get("owned_by")), "openai-compatible")
        context = _context(row)
        models[alias] = FoundModel(alias, kind, url, name, key, context_tokens=context)
    return Found(url, tuple(models.values()), None, tuple(left_out))


def names_in(document: object) -> tuple[str, ...]:
    """Return all names in an answer to /api/tags or /v1/models, as they stand there."""
    answer = document if isinstance(document, dict) else {}
    found: dict[str, None] = {}
    for rows, word in (("models", "name"), ("data", "id")):
        listed = answer.get(rows)
        for row in listed if isinstance(listed, list) else ():
            name = row.get(word) if isinstance(row, dict) else None
            if isinstance(name, str):
                found[name] = None
    return tuple(found)


def is_llama_cpp(document: object) -> bool:
    """Tell whether an answer to /v1/models is that of llama.cpp's own server."""
    rows = document.get("data") if isinstance(document, dict) else None
    named = rows if isinstance(rows, list) else []
    return any(isinstance(row, dict) and row.get("owned_by") == "llamacpp" for row in named)


def _alias(name: str) -> str:
    """Return the name that clients get: llama.cpp calls a model by the path of its file."""
    return name.rpartition("/")[2].removesuffix(".gguf") if name.endswith(".gguf") else name


def _context(row: Mapping[str, Any]) -> int | None:
    """Return how many tokens one request may have: vLLM's `max_model_len`, llama.cpp's `n_ctx`.

    llama.cpp before `n_ctx` said only what the model was trained with, `n_ctx_train`. It refuses
    with 400 what is longer than the context that it was started with, which is often less.
    """
    meta = row.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    found = row.get("max_model_len") or meta.get("n_ctx") or meta.get("n_ctx_train")
    whole = isinstance(found, int) and not isinstance(found, bool) and 0 < found <= 100_000_000
    return found if whole else None


def _problem(alias: str, name: str, known: Collection[str]) -> str | None:
    """Return why a model cannot stand in lab.toml under `alias`, or None."""
    if alias in known:
        return "another model has that name"
    if name.startswith(REFERENCE) or alias.startswith(REFERENCE):
        return "LiteLLM would take its name for that of a variable"
    sound = alias and alias.isascii() and all(c.isalnum() or c in "._:/@+-" for c in alias)
    # The rest of a path goes to the backend only, but has to be text that a file can hold.
    return None if sound and name.isprintable() else _UNUSABLE
