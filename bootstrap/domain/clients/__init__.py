"""The clients that keyturn knows by itself, one module each."""

from collections.abc import Mapping

from bootstrap.domain.client import Preset
from bootstrap.domain.clients.claude import CLAUDE
from bootstrap.domain.clients.droid import DROID
from bootstrap.domain.clients.openai import OPENAI
from bootstrap.domain.clients.openwebui import OPENWEBUI

PRESETS: Mapping[str, Preset] = {
    preset.name: preset for preset in (DROID, CLAUDE, OPENAI, OPENWEBUI)
}
