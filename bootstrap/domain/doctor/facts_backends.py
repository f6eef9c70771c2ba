"""What was seen of the places that run the models, and of the cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bootstrap.domain.probes import Answer

# The kinds that are asked in Ollama's way.
OLLAMAS = ("ollama", "ollama-cloud")
# The kinds that are sure to say which models they have; whatever speaks OpenAI's protocol need not.
LISTING = (*OLLAMAS, "llama.cpp", "vllm", "openai")


@dataclass(frozen=True)
class BackendFacts:
    """One declared backend.

    Attributes:
        name: As lab.toml has it.
        answer: To the question which models it has.
        models: The names that it knows; None where it does not say.
        asked_with_key: Whether its key was sent.
        contexts: How many tokens a request and its answer may have, by model, where it says so.
    """

    name: str
    answer: Answer
    models: tuple[str, ...] | None = None
    asked_with_key: bool = False
    contexts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BackendsFacts:
    """All of them.

    Attributes:
        backends: Those that a model of the lab uses and that have a URL.
        redis: What is wrong with the cache, one clause; empty where nothing is, or there is none.
        cache: The gateway's answer to whether it reaches the cache; None where it was not asked.
    """

    backends: tuple[BackendFacts, ...] = ()
    redis: str = ""
    cache: Answer | None = None
