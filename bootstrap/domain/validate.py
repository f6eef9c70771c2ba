"""Would its reader take this file? Asked of every rendered file before any is written."""

import ast
import functools
import json
from collections.abc import Callable, Mapping

from bootstrap.domain import litellm_config
from bootstrap.domain.droid import validate_settings
from bootstrap.domain.envfile import problems
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.key_paths import parsed, value_at
from bootstrap.domain.lab import Lab
from bootstrap.domain.targets import Target


def validate(target: Target, data: bytes, lab: Lab, env_names: frozenset[str]) -> None:
    """Refuse rendered bytes that the target's reader would not take.

    Args:
        target: Which file; `target.check` names the validation.
        data: Its rendered bytes.
        lab: The lab it was rendered for.
        env_names: The names that the gateway's env file will hold.

    Raises:
        ConfigError: They would be refused; says what is wrong, never quoting a value.
    """
    why = (
        litellm_config.validate(data, lab, env_names)
        if target.check == "litellm"
        else CHECKS[target.check](data) or _lacks(target.check, data, target.needs)
    )
    if why:
        raise ConfigError(
            f"{target.path} would not work",
            why=why,
            fix=f"edit templates/{target.template} of the lab",
        )


def _json(data: bytes) -> str | None:
    try:
        json.loads(data)
    except ValueError as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "encoding"
        return f"not JSON: {place}"
    return None


def _parses(check: str) -> Callable[[bytes], str | None]:
    """Return the check that a file is TOML, or YAML."""
    return lambda data: None if parsed(check, data) is not None else f"not {check.upper()}"


def _lacks(check: str, data: bytes, needs: tuple[str, ...]) -> str | None:
    """Return what a file lacks that must stand in it."""
    if check == "env":
        return _having(*(f"{name}=" for name in needs))(data)
    missing = [path for path in needs if value_at(check, data, path) in (None, "")]
    return f"it lacks {', '.join(missing)}" if missing else None


@functools.lru_cache(maxsize=16)  # of each rendering of a rotation; there is no secret in them
def _python(data: bytes) -> str | None:
    try:
        ast.parse(data)
    except (SyntaxError, ValueError) as error:
        return f"not Python: line {getattr(error, 'lineno', 0)}"
    return None


def _env(data: bytes) -> str | None:
    found = problems(data.decode("utf-8", "replace"))
    return found[0] if found else None


def _having(*keys: str) -> Callable[[bytes], str | None]:
    """Return the check that a line begins with each of `keys`."""

    def check(data: bytes) -> str | None:
        lines = data.decode("utf-8", "replace").splitlines()
        missing = [key for key in keys if not any(line.startswith(key) for line in lines)]
        return f"it lacks {', '.join(missing)}" if missing else None

    return check


# By name; `litellm` and `none` beside.
CHECKS: Mapping[str, Callable[[bytes], str | None]] = {
    "json": _json,
    "toml": _parses("toml"),
    "yaml": _parses("yaml"),
    "python": _python,
    "env": _env,
    "unit": _having("[Service]", "ExecStart="),
    "socket": _having("[Socket]", "ListenStream="),
    "droid": validate_settings,
    "text": lambda data: None,
    "shell": lambda data: None if data.endswith(b"\n") else "it does not end with a newline",
}
