"""Settings that a project brings along and that would send the key to another host.

A cloned repository is a stranger's. droid reads its `.factory/`, Claude Code its `.claude/`, and
both may name another base URL, or any variable of the environment (seen with droid 0.215.0, which
asks for no trust in `droid exec`, and Claude Code 2.1.197, whose `env` block overrides the shell).
"""

import re
from collections.abc import Collection, Iterator

from bootstrap.domain.droid_schema import ID_PREFIX, same_gateway
from bootstrap.domain.jsonc import MalformedJson, parse, plain

_LISTS = ("customModels", "custom_models")
_ADDRESSES = ("baseUrl", "base_url")
# Rules that forbid may name the variable.
_HARMLESS = ("permissions",)


def redirect(
    data: bytes,
    *,
    variables: Collection[str],
    gateway: str,
    aliases: Collection[str],
    redirects: Collection[str],
) -> str | None:
    """Return the key path of the first setting that would lead the key away, or None.

    Args:
        data: The settings file.
        variables: Those that carry the key.
        gateway: The only base URL that may get it.
        aliases: The models of the lab that the client lists.
        redirects: Key paths whose value must be the gateway or nothing.

    A file that cannot be read gives `(it cannot be read)`: the client may read it otherwise.
    """
    if not data.strip():
        return None
    try:
        document = plain(parse(data).root)
    except MalformedJson:
        return "(it cannot be read)"
    names = "|".join(re.escape(name) for name in variables)
    pattern = re.compile(rf"(?<![A-Za-z0-9_])(?:{names})(?![A-Za-z0-9_])")
    found = (
        *_addresses(document, gateway, redirects),
        *_models(document, gateway, aliases),
        *_mentions(document, "", pattern, gateway),
    )
    return next(iter(found), None)


def _addresses(document: object, gateway: str, redirects: Collection[str]) -> Iterator[str]:
    for path in redirects:
        value = document
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value and not same_gateway(value, gateway):
            yield path


def _models(document: object, gateway: str, aliases: Collection[str]) -> Iterator[str]:
    """Yield entries that have the name of one of our models and another address."""
    top = document if isinstance(document, dict) else {}
    for key in _LISTS:
        entries = top.get(key)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            address = _elsewhere(entry, gateway)
            if address is None:
                continue
            identifier = str(entry.get("id", ""))
            if entry.get("model") in aliases or identifier.startswith(ID_PREFIX):
                yield f"{key}[{index}].{address}"


def _elsewhere(node: object, gateway: str) -> str | None:
    """Return the name of the address that leads elsewhere, or None."""
    if not isinstance(node, dict):
        return None
    given = [name for name in _ADDRESSES if name in node]
    return next((name for name in given if not same_gateway(node[name], gateway)), None)


def _mentions(node: object, path: str, pattern: re.Pattern[str], gateway: str) -> Iterator[str]:
    """Yield where a variable that carries the key is named, but for entries of the gateway."""
    if isinstance(node, str):
        if pattern.search(node):
            yield path
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _mentions(item, f"{path}[{index}]", pattern, gateway)
    elif isinstance(node, dict):
        if any(name in node for name in _ADDRESSES) and _elsewhere(node, gateway) is None:
            return
        for key, item in node.items():
            if path or key not in _HARMLESS:
                yield from _mentions(item, f"{path}.{key}" if path else key, pattern, gateway)
