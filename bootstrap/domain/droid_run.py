"""The settings file that one run of droid is handed (`FACTORY_RUNTIME_SETTINGS_PATH`).

It wins over the settings of a project and of the user, is read once and never rewritten (seen with
droid 0.215.0). No key stands in it: droid takes that from the variable that the file refers to.
"""

import json
from collections.abc import Sequence

from bootstrap.domain.content import Content
from bootstrap.domain.droid_schema import ARRAY_KEY, GENERIC, entry_id
from bootstrap.domain.lab import Model


def run_settings(models: Sequence[Model], gateway: str, variable: str, default: str) -> Content:
    """Return the file.

    Args:
        models: What droid lists.
        gateway: The base URL without a path.
        variable: The environment variable that carries the key.
        default: The alias of the model that droid uses unless told otherwise.
    """
    chosen = next((m.lasting_id for m in models if m.alias == default), default)
    document = {
        "sessionDefaultSettings": {"model": entry_id(chosen)},
        ARRAY_KEY: [_entry(model, gateway, variable) for model in models],
    }
    return Content(json.dumps(document, indent=1).encode() + b"\n")


def _entry(model: Model, gateway: str, variable: str) -> dict[str, object]:
    entry: dict[str, object] = {
        "model": model.alias,
        "id": entry_id(model.lasting_id),
        "displayName": model.display_name,
        "baseUrl": f"{gateway}/v1",
        "apiKey": f"${{{variable}}}",
        "provider": GENERIC,
        "maxOutputTokens": model.output_tokens,
    }
    if model.context_tokens is not None:
        entry["maxContextLimit"] = model.context_tokens
    if model.images:
        entry["noImageSupport"] = False
    return entry
