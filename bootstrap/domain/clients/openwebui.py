"""Open WebUI. What is said here was seen by running 0.12.4."""

from bootstrap.domain import targets as target_names
from bootstrap.domain.client import LITERAL, ClientFile, Preset, Setup, Way

SETUP = Setup(
    "Open WebUI",
    None,
    ("0.12.4",),
    (
        Way(
            LITERAL,
            target_names.OPENWEBUI_ENV,
            "openwebui_env",
            "at its next start, unless it has stored another key itself",
            "it takes a key from its environment only",
        ),
    ),
    LITERAL,
    files=(
        ClientFile(
            target_names.OPENWEBUI_ENV,
            "secrets",
            "openwebui.env",
            "openwebui/openwebui.env.j2",
            "env",
            key_at=("OPENAI_API_KEY",),
            switch="openwebui_env",
        ),
    ),
)

OPENWEBUI = Preset(
    "openwebui",
    key=("OPENAI_API_KEY",),
    environment={"OPENAI_API_BASE_URL": "{gateway}/v1"},
    lists="openwebui",
    setup=SETUP,
    stores=True,
)
