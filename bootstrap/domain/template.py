"""Template text + values -> Content: the only place where files meet secrets.

A Secret prints as its mask, so a template that forgets the encoding filter would write the mask;
output that contains the mask is refused instead.

Jinja is imported where it is used: it takes a tenth of a command that renders nothing.
"""

import functools
import json
import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bootstrap.domain.content import Content
from bootstrap.domain.droid import entry_id
from bootstrap.domain.envfile import quote
from bootstrap.domain.errors import ConfigError, LabError, UnencodedSecretError
from bootstrap.domain.litellm_config import to_yaml
from bootstrap.domain.secret import MASK, Secret
from bootstrap.domain.service_env import FILTERS

if TYPE_CHECKING:
    import jinja2


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
    import jinja2

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


@functools.cache
def _compiled(source: str) -> "jinja2.Template":
    """Return the compiled template: a rotation renders each of them six times."""
    from bootstrap.domain.template_engine import environment

    return environment(_FILTERS).from_string(source)


def _plain(value: object) -> Any:
    """Return `value` with every Secret in it revealed: the border."""
    import jinja2

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
