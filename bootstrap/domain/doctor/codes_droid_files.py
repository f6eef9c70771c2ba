"""KT101 to KT119: droid's files, and the models in them. Seen with droid 0.215.0 and 0.225.2."""

from bootstrap.domain.doctor.finding import Code

SYNTAX = Code(
    "KT101",
    "a settings file of droid's does not parse",
    "droid ignores the whole file without a word: none of its models is there.",
    "correct the file at that place",
    "`droid exec` says nothing but that no custom models are configured; the interactive droid "
    "shows '1 config issue - /diagnostics'. Comments and CRLF are fine. An org-managed or a "
    "runtime file that is broken is ignored in the same way, and droid goes on with the user's "
    "models.",
)
TRIVIAL_SYNTAX = Code(
    "KT102",
    "a trailing comma, a byte order mark or an empty file of droid's",
    "droid ignores the whole file without a word: none of its models is there.",
    "take out the comma or the mark; an empty file should hold {}",
    "Editors and JavaScript accept trailing commas, droid's reader does not. Some Windows "
    "editors put a byte order mark in front. An empty file is what a full disk leaves behind.",
    fixable=True,
)
REQUIRED = Code(
    "KT103",
    "a model lacks a field that droid needs",
    "droid leaves such a model out of its list, or sends its requests without a key.",
    "keyturn apply, or add the field",
    "`model`, `provider` and `baseUrl` are required: an entry without one of them is skipped "
    "without a word. Without `apiKey` the request goes out with no key and the gateway refuses "
    "it.",
)
OUTPUT_TOKENS = Code(
    "KT104",
    "a model without a usable maxOutputTokens",
    "droid then asks for 32000 tokens, which many models and gateways refuse with a 400.",
    'write "maxOutputTokens": 16384',
    'The field must be a number: a text such as "16384" is ignored. For provider `openai` droid'
    " sends no limit at all. The legacy format calls it `max_tokens`.",
    fixable=True,
)
PROVIDER = Code(
    "KT105",
    "a provider that droid does not know, or in another spelling",
    "With an unknown provider droid drops the whole file without a word, not only that model.",
    'write "provider": "generic-chat-completion-api"',
    "Known are `anthropic`, `openai`, `generic-chat-completion-api` and `bedrock-converse`. In "
    "the user's files upper case and `_` pass, in org-managed files and for `droid doctor` they"
    " do not. For LiteLLM use `generic-chat-completion-api`.",
    fixable=True,
)
BASE_URL = Code(
    "KT106",
    "a base URL that does not lead to the gateway's paths",
    "droid's requests reach nothing, or get a 404.",
    "keyturn apply, or correct the base URL",
    "droid appends to `baseUrl`: `/chat/completions` for `generic-chat-completion-api`, "
    "`/responses` for `openai`, so these two need `/v1` at the end; `/v1/messages` for "
    "`anthropic`, which must not have it. LiteLLM alone answers the first two without `/v1`, too: "
    "that is a warning. Host and port must be the gateway's. A health page that counts no "
    "requests means the same.",
    fixable=True,
)
KEY_DIFFERS = Code(
    "KT107",
    "a model of the gateway's holds a key that is not in force",
    "The gateway refuses every request with it.",
    "keyturn apply",
    "The store is what counts. A key goes stale when it was rotated without keyturn, when the "
    "file was copied from another machine, or when droid copied the model from another file. A "
    "key that `keyturn key issue` made is fine here.",
    fixable=True,
)
LITERAL = Code(
    "KT108",
    "the key stands in droid's settings as plain text",
    "Whoever can read the file has the key; droid could ask for it each time instead.",
    'hand_over = "helper" under [clients.droid] in lab.toml; keyturn apply; export '
    "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH=~/.config/keyturn/droid-managed.json",
    "It is 0600, and `keyturn rotate` replaces it, so this is a note. droid takes a helper "
    "command in an org-managed file only (`FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH`), where it "
    "is run again after a 401. A reference such as ${LITELLM_MASTER_KEY} is replaced by its "
    "value at the first interactive start. For one run: keyturn exec --client droid -- droid.",
)
LEGACY = Code(
    "KT109",
    "the legacy config.json has models of the gateway's",
    "droid copies them into settings.json, keys included; from then on this file changes nothing.",
    "keyturn apply, which moves them and keeps a backup",
    "droid still reads `~/.factory/config.json`, but settings.json wins for the same model. It "
    "expands nothing in it: `env:NAME` and `${NAME}` are sent as they stand.",
    fixable=True,
)
OVERLAY = Code(
    "KT110",
    "an overlay in config.d that droid does not read",
    "What stands in it has no effect, and a key in it goes stale unseen.",
    "remove it, or hand it over: droid --settings FILE",
    "No version of droid reads `~/.factory/config.d/` or `settings.d/` by itself. keyturn's own"
    " `lab-litellm.json` is there to be handed over, holds no key and is not meant here.",
)
CLASH = Code(
    "KT111",
    "two models have the same id",
    "droid takes the first one; the other cannot be chosen.",
    "give one of them another id or displayName",
    "Without `id` droid makes one from the display name and a number. An explicit id that "
    "equals another is not noticed. The first entry wins, also for `droid exec -m`.",
)
OVERRIDDEN = Code(
    "KT112",
    "settings of another level hide our models",
    "droid uses the other entry, with its address and its key.",
    "remove the model from that file, or start droid elsewhere",
    "Precedence, highest first: org-managed, runtime (`--settings`), the project's folders, "
    "`settings.local.json`, `settings.json`, `config.json`. An entry of the same id hides the "
    "lower ones; `customModels` in settings.local.json replaces the whole list of "
    "settings.json.",
)
TWO_DROIDS = Code(
    "KT113",
    "more than one droid on PATH",
    "Another version than you think may run, with other rules for its settings.",
    "remove all but one, or put the right one first on PATH",
    "They share `~/.factory`, so each rewrites the settings in its own way.",
)
VERSION = Code(
    "KT114",
    "a droid version that keyturn was not tested with",
    "Its settings may have changed; keyturn writes what the tested versions read.",
    "see whether it works: keyturn exec --client droid -- droid exec hi",
    "Tested are 0.215.0 to 0.225.2. The version is that of the package beside the program.",
)
OLD_SESSION = Code(
    "KT115",
    "a running droid still holds an old key",
    "Its requests with that key are refused until it is started anew.",
    "end that session and start it again",
    "A running droid reads settings.json again within a second, so a literal key there is no "
    "problem. What it took from its environment or from a `--settings` file stays as long as it"
    " runs. Its shell tool hands that environment to the commands of the agent.",
)
NOTATION = Code(
    "KT116",
    "env:NAME or $NAME as a key, which droid sends as it stands",
    "The gateway gets the words instead of the key and refuses them.",
    "keyturn apply, or write ${NAME} in settings.json",
    "Only `${NAME}` is a reference, and only in `apiKey` of settings files, never in the legacy"
    " config.json. The `env:` form comes from a guide; no version tested knows it.",
    fixable=True,
)
UNSET = Code(
    "KT117",
    "a ${NAME} that droid cannot put in",
    "It is sent literally, or, where the variable is empty, no key is sent at all.",
    "start it by: keyturn exec -- droid; or export the variable",
    "An unset variable leaves the words `${NAME}` in the request. droid expands references in "
    "`apiKey` only: not in `baseUrl`, `model` or `extraHeaders`, and not in config.json. "
    "Interactive sessions started from a desktop do not see what your shell exports.",
)
EXPANDED = Code(
    "KT118",
    "a ${NAME} that an interactive start replaces by the key itself",
    "The key then stands in the file as plain text, and the next rotation does not reach it.",
    "keyturn apply, which keeps the key there current, or start it by: "
    "keyturn exec --client droid -- droid",
    "The interactive droid rewrites settings.json at its first start, when a folder is trusted "
    "and when a favourite is added: references are expanded, comments go. `droid exec` never "
    "does.",
)
COPIES = Code(
    "KT119",
    "stale copies of our models",
    "They look the same in /model and are refused, since their key is not in force.",
    "keyturn apply, which removes them",
    "droid makes them when it rewrites settings.json: it copies the models of config.json and "
    "of settings.local.json into it, with the keys of that day.",
    fixable=True,
)
