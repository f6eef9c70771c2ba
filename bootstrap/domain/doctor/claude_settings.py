"""Claude Code's settings, and the variables as it would see them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.facts_claude import ClaudeFacts
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.doctor.shell_keys import literals_in
from bootstrap.domain.endpoints import endpoint
from bootstrap.domain.secret import Secret

TOKEN, API_KEY, URL = "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"
KEYS = (TOKEN, API_KEY)
REFERENCE = re.compile(r"\$\{?[A-Za-z_]\w*\}?")


@dataclass(frozen=True)
class Value:
    """A variable as Claude Code sees it.

    Attributes:
        name: The variable.
        text: Its value; may be a key.
        in_file: Whether it stands in the env block of settings.json, which overrides the shell.
    """

    name: str
    text: str = field(repr=False)
    in_file: bool

    @property
    def key(self) -> Secret:
        """The value as a key."""
        return Secret(self.text)

    @property
    def where(self) -> str:
        """Where it is set, for people."""
        return "settings.json sets" if self.in_file else "the environment sets"


def claude_of(seen: Observations) -> ClaudeFacts:
    """Return what was seen of Claude Code, for checks that need it."""
    if seen.claude is None:
        raise ValueError("Claude Code was not looked at")
    return seen.claude


def settings_of(file: FoundFile) -> Mapping[str, object]:
    """Return the members of a settings file; empty where Claude Code would ignore it."""
    if file.data is None or problem_in(file.data):
        return {}
    document = json.loads(file.data)
    return document if isinstance(document, dict) else {}


def problem_in(data: bytes) -> str:
    """Return why Claude Code ignores a settings file, or an empty text. Quotes nothing of it."""
    try:
        document = json.loads(data, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: it is not strict JSON there"
    except (ValueError, RecursionError):
        return "it is not UTF-8, holds a number that is none, or is nested too deeply"
    if not isinstance(document, dict):
        return "its root is not an object"
    env, helper = document.get("env", {}), document.get("apiKeyHelper", "")
    if not isinstance(env, dict):
        return "env is not an object"
    return "" if isinstance(helper, str) else "apiKeyHelper is no text"


def in_file(seen: Observations) -> dict[str, str]:
    """Return the variables of the env block."""
    block = settings_of(claude_of(seen).settings).get("env")
    items = block.items() if isinstance(block, dict) else ()
    return {str(name): _text(value) for name, value in items}


def value_of(seen: Observations, name: str) -> Value | None:
    """Return a variable as Claude Code sees it; None where it is unset or empty."""
    block = in_file(seen)
    if name in block:
        return Value(name, block[name], in_file=True) if block[name] else None
    text = seen.variable(name)
    return Value(name, text, in_file=False) if text else None


def helper_of(seen: Observations) -> str:
    """Return the command that gives the key, or an empty text."""
    return _text(settings_of(claude_of(seen).settings).get("apiKeyHelper", ""))


def is_led_to_gateway(seen: Observations) -> bool:
    """Tell whether Claude Code's requests go to the gateway's host and port."""
    url = value_of(seen, URL)
    return url is not None and endpoint(url.text) == endpoint(seen.gateway_url)


def keys_in(claude: ClaudeFacts) -> Iterator[tuple[str, Secret]]:
    """Yield (name, value) of the keys in the settings and in the shells' files."""
    for file in (claude.settings, *claude.project):
        block = settings_of(file).get("env")
        for name in KEYS:
            text = _text(block.get(name, "")) if isinstance(block, dict) else ""
            if text:
                yield name, Secret(text)
    for file in claude.shell_files:
        for literal in literals_in(file.data or b""):
            yield literal.name, literal.key
    for program in claude.running:
        yield from program.keys.items()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ("" if value is None else str(value))


def _no_constant(_: str) -> object:
    """Refuse NaN and Infinity, which only Python's reader takes."""
    raise ValueError
