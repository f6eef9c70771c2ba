"""Claude Code. What is said here was seen by running 2.1.197, `since` apart."""

from bootstrap.domain import targets as target_names
from bootstrap.domain.client import HELPER, LITERAL, VARIABLE, ClientFile, Preset, Setup, Way
from bootstrap.domain.targets import Owner

SETUP = Setup(
    "Claude Code",
    "claude",
    ("2.1.197",),
    (
        Way(
            HELPER,
            target_names.CLAUDE_SETTINGS,
            "claude_settings",
            "runs the command again after a 401",
            "no key at rest",
            reloads=True,
            since="0.2.74",  # says its own list of changes; that one was not run
            does="runs apiKeyHelper",
        ),
        Way(
            VARIABLE,
            None,
            None,
            "at its next start",
            "its own settings stay untouched: keyturn exec --client claude, or claude-ALIAS",
            {"ANTHROPIC_BASE_URL": "{gateway}"},
            "ANTHROPIC_AUTH_TOKEN",
        ),
        Way(
            LITERAL,
            target_names.CLAUDE_SETTINGS,
            "claude_settings",
            "at its next start",
            "the key stands in its own settings",
        ),
    ),
    VARIABLE,
    ("-p", "hi", "--model", "{model}"),
    (
        ClientFile(
            target_names.CLAUDE_SETTINGS,
            "claude",
            "settings.json",
            "claude/settings.json.j2",
            "json",
            key_at=("env.ANTHROPIC_AUTH_TOKEN", "env.ANTHROPIC_API_KEY"),
            owner=Owner.CLAUDE,
            switch="claude_settings",
        ),
    ),
)

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
CLAUDE = Preset(
    "claude",
    key=("ANTHROPIC_AUTH_TOKEN",),
    environment={
        "ANTHROPIC_BASE_URL": "{gateway}",
        "ANTHROPIC_MODEL": "{model}",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "{model}",
        "ANTHROPIC_DEFAULT_SONNET_MODEL": "{model}",
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "{model}",
        "ANTHROPIC_DEFAULT_FABLE_MODEL": "{model}",
        "CLAUDE_CODE_SUBAGENT_MODEL": "{model}",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    },
    # The first would be sent to the gateway beside the token; the others lead elsewhere.
    remove=(
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_UNIX_SOCKET",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_USE_VERTEX",
    ),
    agent=True,
    lists="claude",
    project_files=(".claude/settings.json", ".claude/settings.local.json", ".mcp.json"),
    # The `env` block of a settings file overrides the environment.
    redirects=tuple(
        f"env.{name}" for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_UNIX_SOCKET", *_PROXIES)
    ),
    user_file=("CLAUDE_CONFIG_DIR", ".claude", "settings.json"),
    setup=SETUP,
)
