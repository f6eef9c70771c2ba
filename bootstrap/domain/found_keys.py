"""Keys in a LiteLLM config: where they are, and which of them can be one of the lab's."""

from collections.abc import Callable

from bootstrap.domain.envfile import unwritable
from bootstrap.domain.found_models import FoundKey
from bootstrap.domain.ref import is_variable_name
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY, SALT_KEY
from bootstrap.domain.service_env import REDIRECTING_VARIABLES

# Returns the value of an environment variable as the gateway has it, or None.
Lookup = Callable[[str], str | None]

REFERENCE = "os.environ/"
# What stands where a server without a key of its own wants some word.
_NO_KEYS = ("none", "null", "empty", "dummy", "fake", "na", "n/a", "not-needed", "no-key", "unused")
_OWN = (MASTER_KEY, INTERNAL_KEY, SALT_KEY)
# A secret comes into the gateway's environment under its name, where these would do something.
_STEERING = frozenset({"BASH_ENV", "ENV", "HOME", "IFS", "PATH", "SHELL", "TMPDIR", "USER"})
_STARTS = ("DIRENV_", "GIT_", "KEYTURN_", "LD_", "LITELLM_", "PYTHON", "SOPS_", "SSL", "XDG_")
_KEYS_OF_PROVIDERS = ("_KEY", "_PASSWORD", "_TOKEN")


def value_of(raw: object, lookup: Lookup) -> FoundKey | None:
    """Return the key that a config gives literally or as `os.environ/NAME`; None for none."""
    text = plain_text(raw)
    if text is None or text.strip().lower() in _NO_KEYS:
        return None
    name = text.removeprefix(REFERENCE)
    if name == text:
        return FoundKey(None, Secret(text))
    if not is_variable_name(name):
        return None
    known = lookup(name)
    return FoundKey(name, Secret(known) if known else None)


def key_problem(raw: object, lookup: Lookup) -> str | None:
    """Return why such a key cannot be that of a backend (one clause, never its value), or None."""
    text = plain_text(raw)
    if text is None or text.strip().lower() in _NO_KEYS:
        return None
    name = text.removeprefix(REFERENCE)
    if name != text and not is_variable_name(name):
        return "its key is in a variable whose name is none"
    if name in _OWN:
        return f"its key would be the lab's own {name}"
    odd = unwritable(lookup(name) or "" if name != text else text)
    return f"its key holds {odd}" if odd else None


def can_name_a_secret(name: str) -> bool:
    """Tell whether a secret may have the name that a config has for it.

    Not if a program would take it for a setting: `environment_variables` of a config gives it any
    value, such as an `LD_PRELOAD`.
    """
    if name in _STEERING or name.startswith(_STARTS):
        return False
    return name not in REDIRECTING_VARIABLES or name.endswith(_KEYS_OF_PROVIDERS)


def plain_text(value: object) -> str | None:
    """Return a value that is a text and not empty, or None."""
    return value if isinstance(value, str) and value.strip() else None
