"""Written by keyturn. Caps the length of an answer inside LiteLLM: a real cap, not a default.

LiteLLM's own `max_tokens` of a model is only a default, the client's larger number wins (1.63 to
1.109). This callback lowers the client's number. keyturn puts this file and `keyturn-caps.json`
into the folder of config.yaml, which names it: `callbacks: ["keyturn_output_cap.handler"]`.

It needs LiteLLM and the standard library only. It uses the hook that runs once per attempt, after
LiteLLM has picked the deployment: so retries are capped, and a fallback gets its own, smaller cap
(seen with 1.106.2 on /v1/chat/completions, /v1/messages and /v1/responses).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    from litellm.integrations.custom_logger import CustomLogger
except ImportError:  # read outside LiteLLM, by a linter or a unit test
    CustomLogger = object

CAPS_FILE = "keyturn-caps.json"
_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_LEAST_THINKING = 1024  # Anthropic refuses a smaller thinking budget


class Caps:
    """The caps by alias, as the file holds them now.

    Args:
        file: JSON, `{"caps": {"ALIAS": TOKENS}}`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._caps: dict[str, int] = {}

    def of(self, alias: object) -> int | None:
        """Return the cap of `alias` in tokens, or None.

        A file that is gone or broken leaves the caps as they were last read.
        """
        try:
            stat = self._file.stat()
            state = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if state != self._seen:
                self._caps = _sound(json.loads(self._file.read_text(encoding="utf-8"))["caps"])
                self._seen = state
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass
        return self._caps.get(alias) if isinstance(alias, str) else None


def aliases_of(request: Mapping[str, Any]) -> list[object]:
    """Return the aliases that a call may be for: LiteLLM's own word, and perhaps the client's.

    LiteLLM notes the alias in `metadata` of chat completions, and in `litellm_metadata` of
    messages and responses; the other one of the two is what the client sent.
    """
    places = (request.get(name) for name in ("metadata", "litellm_metadata"))
    return [place.get("model_group") for place in places if isinstance(place, Mapping)]


def capped(request: Mapping[str, Any], cap: int, *, responses: bool) -> dict[str, Any]:
    """Return the request with no answer allowed to be longer than `cap` tokens.

    Args:
        request: LiteLLM's arguments of one call; not changed.
        cap: At least 1.
        responses: The call is to the responses endpoint, whose limit has another name and no
            default from config.yaml.
    """
    changed = dict(request)
    for field in _FIELDS:
        value = changed.get(field)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > cap:
            changed[field] = cap
    if responses and changed.get("max_output_tokens") is None:
        changed["max_output_tokens"] = cap
    thinking = changed.get("thinking")
    if isinstance(thinking, Mapping):
        budget = thinking.get("budget_tokens")
        # The upstream refuses a thinking budget that does not fit into max_tokens.
        if isinstance(budget, int) and budget >= cap:
            if cap > _LEAST_THINKING:
                changed["thinking"] = {**thinking, "budget_tokens": cap - 1}
            else:
                del changed["thinking"]
    return changed


class OutputCap(CustomLogger):  # type: ignore[misc]  # Any where LiteLLM is not installed
    """The callback that LiteLLM calls.

    Args:
        caps: Where it looks the cap up.
    """

    def __init__(self, caps: Caps) -> None:
        super().__init__()
        self._caps = caps

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: Any
    ) -> dict[str, Any] | None:
        """Return the arguments to go on with, or None for unchanged."""
        # The smallest: a client that names another alias in its metadata gains nothing.
        caps = [cap for alias in aliases_of(kwargs) if (cap := self._caps.of(alias))]
        if not caps:
            return None
        responses = getattr(call_type, "value", call_type) == "aresponses"
        return capped(kwargs, min(caps), responses=responses)


def _sound(caps: Any) -> dict[str, int]:
    return {
        alias: cap
        for alias, cap in caps.items()
        if isinstance(cap, int) and not isinstance(cap, bool) and cap > 0
    }


handler = OutputCap(Caps(Path(__file__).absolute().with_name(CAPS_FILE)))
