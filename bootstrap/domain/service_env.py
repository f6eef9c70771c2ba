"""The environment of the gateway's process, and how text is written into a systemd unit.

The names below were looked up in LiteLLM 1.106.2 and in the OpenAI SDK, aiohttp and uvicorn that
it brings: each is read from the process environment without the configuration asking for it.
"""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from bootstrap.domain.errors import ConfigError

# Where provider traffic goes and what it carries. An unset `api_key` or `api_base` of a model
# falls back to these, and an OLLAMA_API_KEY is sent to every Ollama backend, local ones too.
_PROVIDERS = (
    "ANTHROPIC_API_BASE",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "HOSTED_VLLM_API_BASE",
    "HOSTED_VLLM_API_KEY",
    "LITELLM_PROXY_API_BASE",
    "LITELLM_PROXY_API_KEY",
    "OLLAMA_API_BASE",
    "OLLAMA_API_KEY",
    "OPENAI_ADMIN_KEY",
    "OPENAI_API_BASE",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_CUSTOM_HEADERS",
    "OPENAI_LIKE_API_BASE",
    "OPENAI_LIKE_API_KEY",
    "OPENAI_ORGANIZATION",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT",
    "OPENAI_PROJECT_ID",
    "USE_LITELLM_PROXY",
    "VLLM_API_BASE",
)
# The network path: proxies, credentials that aiohttp adds by itself, and a weaker TLS.
_NETWORK = (
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NETRC",
    "NO_PROXY",
    "SSL_SECURITY_LEVEL",
    "SSL_VERIFY",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
# What is served, where, and to whom. HOST and PORT override nothing on our command line, but a
# WEB_CONCURRENCY or SSL_KEYFILE_PATH does; UI_PASSWORD opens the admin pages instead of the key.
_SERVING = (
    "CONFIG_FILE_PATH",
    "FORWARDED_ALLOW_IPS",
    "HOST",
    "LITELLM_CONFIG_BUCKET_NAME",
    "LITELLM_CONFIG_BUCKET_OBJECT_KEY",
    "LITELLM_CONFIG_BUCKET_TYPE",
    "LITELLM_CORS_ALLOW_CREDENTIALS",
    "LITELLM_CORS_ORIGINS",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
    "LITELLM_DEV_ENV_HOT_RELOAD",
    "LITELLM_DISABLE_LOGIN_RATE_LIMIT",
    "LITELLM_WORKER_STARTUP_HOOKS",
    "NUM_WORKERS",
    "PORT",
    "SERVER_ROOT_PATH",
    "SSL_CERTFILE_PATH",
    "SSL_KEYFILE_PATH",
    "UI_PASSWORD",
    "UI_USERNAME",
    "USE_AWS_KMS",
    "WEB_CONCURRENCY",
    "WORKER_CONFIG",
)
# Stores: a database changes who may log in and what a rotation has to do; every REDIS_* that
# the Redis client takes as a keyword beats the cache settings' own defaults.
_STORES = (
    "DATABASE_HOST",
    "DATABASE_NAME",
    "DATABASE_PASSWORD",
    "DATABASE_URL",
    "DATABASE_URL_READ_REPLICA",
    "DATABASE_USERNAME",
    "DIRECT_URL",
    "REDIS_CLUSTER_NODES",
    "REDIS_HOST",
    "REDIS_PASSWORD",
    "REDIS_PORT",
    "REDIS_SENTINEL_NODES",
    "REDIS_SENTINEL_PASSWORD",
    "REDIS_SSL",
    "REDIS_URL",
    "REDIS_USERNAME",
    "STORE_MODEL_IN_DB",
)
# Logs that would hold keys or prompts, and telemetry to somebody else.
_LOGGING = (
    "DEBUG",
    "DETAILED_DEBUG",
    "LITELLM_DISABLE_REDACT_SECRETS",
    "LITELLM_ENABLE_PYROSCOPE",
    "LITELLM_LOG",
    "LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD",
    "OPENAI_LOG",
    "SSLKEYLOGFILE",
    "USE_DDPROFILER",
    "USE_DDTRACE",
)
# Another program's code in the gateway's process.
_CODE = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONINSPECT")
# Keys to every secret of the lab, which the gateway has no use for. DIRENV_DIFF holds whatever
# an .envrc exported, secrets included.
_STORE_KEYS = (
    "DIRENV_DIFF",
    "DIRENV_DIR",
    "DIRENV_FILE",
    "DIRENV_WATCHES",
    "SOPS_AGE_KEY",
    "SOPS_AGE_KEY_CMD",
    "SOPS_AGE_KEY_FILE",
    "SOPS_AGE_RECIPIENTS",
    "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
)

REDIRECTING_VARIABLES: frozenset[str] = frozenset(
    (*_PROVIDERS, *_NETWORK, *_SERVING, *_STORES, *_LOGGING, *_CODE, *_STORE_KEYS)
)

# How long running answers may take to finish when the gateway stops, in seconds. Where the port
# stays open nobody waits for it, so that a long stream may; else requests are refused meanwhile.
DRAIN_S = 120
DRAIN_HELD_S = 600

_SERVICE_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        # Off means a download at each start: the price list, and three more catalogues.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
        "LITELLM_LOCAL_BLOG_POSTS": "True",
        "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
        # Without it the program loads a `.env` from any folder above its own installation.
        "LITELLM_MODE": "PRODUCTION",
        # These pages answer without a key.
        "NO_DOCS": "True",
        "NO_OPENAPI": "True",
        "NO_REDOC": "True",
        # An advertisement in the log at each start.
        "LITELLM_DONT_SHOW_FEEDBACK_BOX": "True",
        # The last lines before a crash must reach the log.
        "PYTHONUNBUFFERED": "1",
    }
)


def service_environment() -> dict[str, str]:
    """Return the variables that the gateway always gets; none is a secret."""
    return dict(_SERVICE_ENVIRONMENT)


def unset_for(used: Collection[str]) -> tuple[str, ...]:
    """Return the variables to take out of an inherited environment, sorted.

    Args:
        used: Names that the gateway gets on purpose, from its env file or its unit. systemd
            applies UnsetEnvironment= last, so a name in both would arrive nowhere (seen with 252).
    """
    return tuple(sorted(REDIRECTING_VARIABLES.difference(used)))


def systemd_text(text: str) -> str:
    """Return `text` for a setting that systemd reads as it stands, such as Description=.

    Raises:
        ConfigError: It holds a control character, begins or ends with a space, or ends with a
            backslash, none of which such a setting can hold.
    """
    if not text.isprintable() or text != text.strip() or text.endswith("\\"):
        raise ConfigError(
            f"{text!a} cannot be written into a systemd unit",
            why="it holds a control character, an outer space or a final backslash",
            fix="use another path or name",
        )
    return text.replace("%", "%%")


def systemd_env_file(path: str) -> str:
    r"""Return `path` for EnvironmentFile=, which takes no quotes and is a wildcard expression.

    Raises:
        ConfigError: As systemd_text.
    """
    return "".join(f"\\{c}" if c in "*?[\\" else c for c in systemd_text(path))


def systemd_arg(text: str, *, program: bool = False) -> str:
    r"""Return `text` as one quoted word of ExecStart=: or Environment=.

    `$` stays as it is: Environment= does not expand it, and ExecStart= does not after the `:` that
    the template writes. Doubling it would change the program's own path, where `$$` is not undone
    (seen with systemd 252).

    Args:
        text: The word.
        program: Whether it is the path of the program, the first word of ExecStart=.

    Raises:
        ConfigError: The program's path holds a quote, a backslash or a control character: systemd
            takes none of them there, however they are written (seen with 252).
    """
    if program and (not text.isprintable() or any(c in text for c in "\"'\\")):
        raise ConfigError(
            f"systemd cannot run {text!a}",
            why="the program's path holds a quote, a backslash or a control character",
            fix='install it elsewhere, or set service = "supervisor" under [gateway] in lab.toml',
        )
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(character: str) -> str:
    if character in '\\"':
        return f"\\{character}"
    if character == "%":
        return "%%"
    if ord(character) < 32 or ord(character) == 127:
        return f"\\x{ord(character):02x}"
    return character


FILTERS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {
        "systemd_arg": systemd_arg,
        "systemd_env_file": systemd_env_file,
        "systemd_text": systemd_text,
    }
)
