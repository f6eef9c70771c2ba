"""Look up `server.api_key` in a JSON, TOML or YAML file."""

import json
import tomllib

from bootstrap.domain.yaml_text import load_yaml


def parsed(form: str, data: bytes) -> object:
    """Return what a file holds; None for nothing, or where it does not parse.

    Args:
        form: `json`, `toml` or `yaml`.
        data: The file.
    """
    try:
        if form == "json":
            found: object = json.loads(data)
        elif form == "toml":
            found = tomllib.loads(data.decode())
        else:
            found = load_yaml(data)
    except (ValueError, RecursionError):  # their texts may quote what stands there
        return None
    return found


def value_at(form: str, data: bytes, path: str) -> object:
    """Return what stands at a key path of a file; None for nothing, or where it does not parse.

    Args:
        form: `json`, `toml` or `yaml`.
        data: The file.
        path: Names with dots between them, as `server.api_key`; a number counts in a list.
    """
    found = parsed(form, data)
    for name in path.split("."):
        if isinstance(found, list) and name.isdecimal():
            found = dict(enumerate(found)).get(int(name))
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found
