"""Which optional targets a lab has: its table `[targets]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Switches:
    """Each is on or off; the name is its key in lab.toml."""

    droid_settings: bool = True
    droid_overlay: bool = True
    droid_legacy: bool = True
    droid_key_helper: bool = False
    envrc: bool = True
    claude_settings: bool = False
    openwebui_env: bool = False
