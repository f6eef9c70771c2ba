"""Template text + values -> Content: the only place where files meet secrets.

A Secret prints as its mask, so a template that forgets the encoding filter would write the mask;
output that contains the mask is refused instead.
"""

import functools
import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bootstrap.domain.content import Content
from bootstrap.domain.droid import entry_id
from bootstrap.domain.envfile import quote
from bootstrap.domain.errors import ConfigError, LabError, UnencodedSecretError
from bootstrap.domain.litellm_config import to_yaml
from bootstrap.domain.secret import MASK, Secret
from bootstrap.domain.service_env import FILTERS


def render(source: str, values: Mapping[str, object], *, name: str) -> Content:
    """Render `source` with `values`.

    Args:
        source: Jinja text.
        values: Plain values and Secrets, by name.
        name: The template's name, for messages.

    Raises:
        UnencodedSecretError: A Secret reached the output without an encoding filter.
        ConfigError: The template is broken, or names a value that there is not.
    """
    try:
        text = _compiled(source).render(values)
    except jinja2.UndefinedError as error:
        # The message names a variable of the template, never a value.
        raise ConfigError(
            f"template {name} cannot be rendered",
            why=str(error.message),
            fix=f"edit templates/{name}",
        ) from None
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(
            f"template {name} is not valid Jinja",
            why=f"line {error.lineno}",
            fix=f"edit templates/{name}",
        ) from None
    except jinja2.TemplateNotFound:
        raise ConfigError(
            f"template {name} cannot be rendered",
            why="it takes in another template, and each has to stand alone",
            fix=f"edit templates/{name}",
        ) from None
    except LabError:
        raise
    except Exception as error:  # noqa: BLE001 - a template may raise anything, quoting a value
        raise ConfigError(
            f"template {name} cannot be rendered",
            why=f"it raises {type(error).__name__}",
            fix=f"edit templates/{name}",
        ) from None
    if MASK in text:
        raise UnencodedSecretError(
            f"template {name} prints a secret without an encoding",
            why="a bare secret could break the file, so it renders as its mask",
            fix="add a filter: {{ master_key | json }} or {{ master_key | dotenv }}",
        )
    return Content(text.encode())


class _Missing(jinja2.StrictUndefined):
    """A value that there is not; says so in the lab's words, where Jinja has Python's."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        owner, name = self._undefined_obj, self._undefined_name
        if isinstance(owner, Secret):
            return f"a secret has no attribute {name!r}; it goes through a filter, such as | dotenv"
        if isinstance(owner, Mapping) and any(isinstance(each, Secret) for each in owner.values()):
            return f"there is no secret {name}: lab.toml has none, or it is optional and unset"
        return super()._undefined_message


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja for templates that may have come with somebody else's lab: no way into Python.

    A Secret has no attributes here, so `{{ key.reveal() }}` is no way around the filters.
    """

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not isinstance(obj, Secret) and super().is_safe_attribute(obj, attr, value)


@functools.cache
def _compiled(source: str) -> jinja2.Template:
    """Return the compiled template: a rotation renders each of them six times."""
    return _environment().from_string(source)


def _environment() -> jinja2.Environment:
    environment = _Environment(
        undefined=_Missing,
        loader=jinja2.FunctionLoader(lambda _: None),
        autoescape=False,  # it writes YAML, JSON, units and env files, not HTML
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    return environment


def _plain(value: object) -> Any:
    """Return `value` with every Secret in it revealed: the border."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises an error that names the variable
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False)


def _yaml(value: object, indent: int = 0, literal: Mapping[str, Secret] | None = None) -> str:
    return to_yaml(_plain(value), indent, _plain(literal) if literal else None)


_FILTERS: dict[str, Callable[..., str]] = {
    "json": _json,
    "yaml": _yaml,
    "dotenv": lambda value: quote(_plain(value)),
    "sh": lambda value: shlex.quote(str(_plain(value))),
    **FILTERS,
    "droid_id": entry_id,
}
