"""Factory droid. What is said here was seen by running 0.215.0 and 0.225.2."""

from bootstrap.domain import targets as target_names
from bootstrap.domain.client import (
    CLIENT_KEY,
    HELPER,
    LITERAL,
    VARIABLE,
    ClientFile,
    Preset,
    Setup,
    Way,
)
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import Owner

# The first one that was run. What older ones do is not known.
_FIRST = "0.215.0"

SETUP = Setup(
    "Factory droid",
    "droid",
    (_FIRST, "0.225.2"),
    (
        Way(
            HELPER,
            target_names.DROID_KEY_HELPER,
            "droid_key_helper",
            "runs the command again after a 401",
            "no key at rest; droid takes it only where FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH "
            "names the file",
            {"FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH": "{file}"},
            reloads=True,
            since=_FIRST,
            does="runs apiKeyHelper of a managed file",
        ),
        Way(
            VARIABLE,
            target_names.DROID_OVERLAY,
            "droid_overlay",
            "at its next start",
            f"no key at rest; droid must be started with the overlay and {MASTER_KEY}",
            {"FACTORY_RUNTIME_SETTINGS_PATH": "{file}"},
            MASTER_KEY,
            since=_FIRST,
            does="reads an overlay that FACTORY_RUNTIME_SETTINGS_PATH names",
        ),
        Way(
            LITERAL,
            target_names.DROID_SETTINGS,
            "droid_settings",
            "within a second, from its file watcher",
            "droid takes it from its own settings without anything else being set",
            reloads=True,
        ),
    ),
    LITERAL,
    ("exec", "-m", "custom:{model}", "hi"),
    (
        ClientFile(
            target_names.DROID_SETTINGS,
            "factory",
            "settings.json",
            "factory/settings.json.j2",
            "droid",
            owner=Owner.DROID,
            switch="droid_settings",
        ),
        ClientFile(
            target_names.DROID_OVERLAY,
            "factory",
            "config.d/lab-litellm.json",
            "factory/lab-litellm.json.j2",
            "droid",
            switch="droid_overlay",
        ),
        ClientFile(
            target_names.DROID_LEGACY,
            "factory",
            "config.json",
            None,
            "none",
            owner=Owner.LEGACY,
            switch="droid_legacy",
        ),
        ClientFile(
            target_names.DROID_KEY_HELPER,
            "config",
            "keyturn/droid-managed.json",
            "factory/org-settings.json.j2",
            "droid",
            switch="droid_key_helper",
        ),
    ),
)

DROID = Preset(
    "droid",
    key=(CLIENT_KEY,),
    # Airgap: it starts in a second and contacts the gateway alone, no login needed.
    environment={"FACTORY_AIRGAP_ENABLED": "true", "FACTORY_DROID_AUTO_UPDATE_ENABLED": "false"},
    # An org-managed file wins over the one that is handed over here.
    remove=("FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH",),
    agent=True,
    lists="droid",
    settings="FACTORY_RUNTIME_SETTINGS_PATH",
    project_files=(
        ".factory/settings.json",
        ".factory/settings.local.json",
        ".factory/config.json",
        ".factory/mcp.json",
    ),
    setup=SETUP,
)
