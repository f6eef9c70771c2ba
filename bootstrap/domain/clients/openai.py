"""Programs that use one of OpenAI's libraries: they read these variables themselves."""

from bootstrap.domain.client import Preset

OPENAI = Preset(
    "openai",
    key=("OPENAI_API_KEY",),
    environment={
        "OPENAI_BASE_URL": "{gateway}/v1",
        "OPENAI_API_BASE": "{gateway}/v1",
        "OPENAI_MODEL": "{model}",
    },
)
