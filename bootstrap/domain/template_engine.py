"""Jinja as templates get it. Loaded only by what renders."""

from collections.abc import Callable, Mapping
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bootstrap.domain.secret import Secret


def environment(filters: Mapping[str, Callable[..., str]]) -> jinja2.Environment:
    """Return Jinja with these filters beside its own."""
    made = _Environment(
        undefined=_Missing,
        loader=jinja2.FunctionLoader(lambda _: None),
        autoescape=False,  # it writes YAML, JSON, units and env files, not HTML
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= filters
    return made


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

    A Secret has no attributes and no methods here: only the filters let its text out.
    """

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not isinstance(obj, Secret) and super().is_safe_attribute(obj, attr, value)
