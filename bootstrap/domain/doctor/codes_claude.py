"""KT2xx: Claude Code. Seen with 2.1.197."""

from bootstrap.domain.doctor.finding import Code

BOTH_KEYS = Code(
    "KT201",
    "ANTHROPIC_API_KEY beside another way to sign in",
    "Claude Code sends both, so the gateway is handed a key that is none of its business.",
    "unset ANTHROPIC_API_KEY, or start it so: env -u ANTHROPIC_API_KEY claude",
    "With ANTHROPIC_AUTH_TOKEN the key goes out as `x-api-key` beside the `Authorization` "
    "header; with an apiKeyHelper, too. LiteLLM takes the header `Authorization`. `keyturn exec"
    " --client claude` takes the variable away.",
)
BASE_URL = Code(
    "KT202",
    "a base URL that does not lead to the gateway's /v1/messages",
    "Claude Code gets a 404 or no answer, and tries again for three minutes.",
    "export ANTHROPIC_BASE_URL without /v1 at the end",
    "Claude Code appends `/v1/messages` itself, so ANTHROPIC_BASE_URL ends with the port. With "
    "`/v1` it asks for /v1/v1/messages. CLAUDE_CODE_MAX_RETRIES=0 makes it fail at once.",
    fixable=True,
)
OVERRIDE = Code(
    "KT203",
    "the env block of settings.json overrides your shell",
    "What you export has no effect; Claude Code takes what stands in the file.",
    "take it out of the env block of ~/.claude/settings.json, or out of the shell",
    "The order is unusual: a variable of the shell loses against `env` in settings.json. "
    "Nothing is expanded there, so `${NAME}` is sent as it stands.",
)
MODEL = Code(
    "KT204",
    "a model that the gateway does not have",
    "The gateway answers 400 or 404 to every request for it.",
    "use an alias of lab.toml: keyturn shell-init bash defines claude-ALIAS for each",
    "Asked for are ANTHROPIC_MODEL, or `model` in settings.json; the models behind the names "
    "haiku, sonnet and opus (ANTHROPIC_DEFAULT_HAIKU_MODEL and so on), which small tasks use; "
    "and CLAUDE_CODE_SUBAGENT_MODEL. Where ANTHROPIC_MODEL is not set, Claude Code asks for one"
    " of Anthropic's own.",
)
SHELL_KEY = Code(
    "KT205",
    "a key that stands literally in a shell's start file",
    "The next rotation does not reach it, and such files are copied and published.",
    "keyturn doctor --fix KT205, or functions without a key: keyturn shell-init bash",
    "It comes from a guide whose shell function has the key in it. `--fix` puts `keyturn get` "
    "in its place, which asks the store each time. A value inside double quotes, such as in "
    'alias x="…", is left to you, since the shell would ask at the wrong moment.',
    fixable=True,
)
SETTINGS_SYNTAX = Code(
    "KT206",
    "Claude Code's settings.json is not what it reads",
    "Claude Code ignores the whole file without a word.",
    "correct the file at that place; comments are not allowed in it",
    "It must be strict JSON: no comments, no trailing commas, not empty. A value of a wrong "
    "type, such as an apiKeyHelper that is no text, has the same effect. A byte order mark "
    "passes.",
    fixable=True,
)
HELPER_SHADOWED = Code(
    "KT207",
    "ANTHROPIC_AUTH_TOKEN shadows the apiKeyHelper",
    "The helper would always give the key in force; the token goes stale with a rotation.",
    "unset ANTHROPIC_AUTH_TOKEN",
    "The token wins wherever it is set. The helper is asked again after each 401, so a rotation"
    " does not even interrupt a running session.",
)
KEY_DIFFERS = Code(
    "KT208",
    "Claude Code has a key for the gateway that is not in force",
    "The gateway refuses every request with it.",
    'eval "$(keyturn get --shell LITELLM_MASTER_KEY)" and use that, or keyturn exec --client '
    "claude",
    "`--fix` takes the key out of settings.json and has Claude Code ask `keyturn get` instead "
    "(apiKeyHelper), so that the next rotation needs nothing here. What your shell exports only"
    " you can change.",
    fixable=True,
)
LITERAL = Code(
    "KT209",
    "the key stands in Claude Code's settings as plain text",
    "The next rotation does not reach it.",
    "keyturn doctor --fix KT209, which has Claude Code ask keyturn get instead",
    "A helper command in `apiKeyHelper` is run when a key is needed and again after a 401, and "
    "leaves no key on disk. keyturn writes ~/.claude/settings.json only where lab.toml says "
    'claude_settings = true, and keeps a literal current there with hand_over = "literal".',
    fixable=True,
)
MODE = Code(
    "KT210",
    "Claude Code's settings hold a key and others can read them",
    "Every user of this machine has the key.",
    "chmod 600 ~/.claude/settings.json",
    "Claude Code keeps the mode that the file has, and an editor makes it 0644 as a rule.",
    fixable=True,
)
CLOUD = Code(
    "KT211",
    "a switch that leads Claude Code past the gateway",
    "Its requests go to a cloud provider or another socket, whatever the base URL says.",
    "unset it",
    "CLAUDE_CODE_USE_BEDROCK, CLAUDE_CODE_USE_VERTEX, CLAUDE_CODE_USE_FOUNDRY and "
    "ANTHROPIC_UNIX_SOCKET each choose another way out. `keyturn exec --client claude` removes "
    "them.",
)
PROJECT = Code(
    "KT212",
    "a project's .claude would send the key to another host",
    "Whoever wrote that repository gets the key with your first prompt.",
    "read that file; then remove the entry, or leave the folder",
    "The env block of a project's settings overrides your shell: base URL, proxies and all. "
    "`keyturn exec --client claude` refuses such a project.",
)
NO_KEY = Code(
    "KT213",
    "Claude Code is led to the gateway and has no key",
    "It says 'Not logged in', or the gateway refuses it.",
    "start it by: keyturn exec --client claude -- claude",
    "It needs ANTHROPIC_AUTH_TOKEN or an apiKeyHelper. A helper that fails is only a warning, "
    "and an empty key is sent.",
)
KEY_ELSEWHERE = Code(
    "KT214",
    "the gateway's key would go to another host",
    "Whoever runs that host has your key.",
    "export ANTHROPIC_BASE_URL, or unset ANTHROPIC_AUTH_TOKEN",
    "Without ANTHROPIC_BASE_URL the token goes to Anthropic. A typing mistake in the host is "
    "enough to send it to somebody else.",
)
TWO_CLAUDES = Code(
    "KT215",
    "more than one claude on PATH",
    "Another version than you think may run.",
    "remove all but one, or put the right one first on PATH",
    "They share ~/.claude. A shell function or alias called claude comes before all of them.",
)
VERSION = Code(
    "KT216",
    "a Claude Code version that keyturn was not tested with",
    "Its variables and settings may have changed.",
    "see whether it works: keyturn exec --client claude -- claude -p hi",
    "Tested is 2.1.197. The version is that of the package beside the program.",
)
OLD_SESSION = Code(
    "KT217",
    "a running Claude Code still holds an old key",
    "Its requests are refused until it is started anew.",
    "end that session and start it again",
    "What it took from its environment stays as long as it runs. With an apiKeyHelper it would "
    "ask again after the first refusal.",
)
PROXY = Code(
    "KT218",
    "a proxy is set, and loopback is not excepted",
    "Claude Code sends even what is for this machine to the proxy, key included.",
    "export NO_PROXY=127.0.0.1,localhost",
    "Claude Code honours HTTP_PROXY for loopback, too, from the shell and from the env block. "
    "`keyturn exec --client claude` sets NO_PROXY.",
)
REFERENCE = Code(
    "KT219",
    "a reference in the env block of settings.json",
    "It is sent as it stands: nothing is expanded there.",
    "use apiKeyHelper for a key, and plain values for all else",
    "`${NAME}` and `$NAME` work in droid's settings and in shells, not here.",
)
HELPER_GONE = Code(
    "KT220",
    "an apiKeyHelper that runs a program which is not there",
    "Claude Code warns on standard error only, and sends an empty key.",
    "correct apiKeyHelper in ~/.claude/settings.json",
    "It happens when keyturn was installed anew in another place. Where the program was keyturn, "
    "`--fix` writes where it is now.",
    fixable=True,
)
