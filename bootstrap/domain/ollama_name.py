"""Ollama's names of models: which ones mean the same model, and the command that pulls one.

As Ollama 0.32.15 reads them: `QWEN3`, `library/qwen3` and
`https://registry.ollama.ai/library/qwen3:latest` are all `qwen3`; a tag `:local` says where to look
and belongs to no name, `:cloud` and `:TAG-cloud` are answered by ollama.com without being pulled.
"""

import shlex

from bootstrap.domain.endpoints import endpoint, safe_url
from bootstrap.domain.lab import BACKEND_KINDS

_HOST, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"


def full_name(name: str) -> str:
    """Return host/namespace/model:tag in lower case, the same for all spellings of a model."""
    name = name.strip().lower().removesuffix(":local")
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, _TAG
    rest, _, model = path.rpartition("/")
    rest, _, namespace = rest.rpartition("/")
    host = rest.partition("://")[2] or rest
    return f"{host or _HOST}/{namespace or _NAMESPACE}/{model}:{tag}"


def is_in_the_cloud(name: str) -> bool:
    """Tell whether Ollama passes requests for a model on, so that its list need not have it."""
    tag = full_name(name).rpartition(":")[2]
    return tag == "cloud" or tag.endswith("-cloud")


def pull_command(name: str, url: str) -> str:
    """Return the shell command that has the Ollama at `url` pull a model.

    `ollama` asks the default address, whatever the lab says, unless it is told another.
    """
    base = url.rstrip("/").removesuffix("/v1")
    here = endpoint(base) == endpoint(BACKEND_KINDS["ollama"].default_url)
    told = "" if here else f"OLLAMA_HOST={shlex.quote(safe_url(base))} "
    end = "-- " if name.startswith("-") else ""
    return f"{told}ollama pull {end}{shlex.quote(name)}"
