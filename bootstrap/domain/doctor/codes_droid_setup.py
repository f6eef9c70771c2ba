"""KT120 to KT136: what surrounds droid's settings. Seen with droid 0.215.0 and 0.225.2."""

from bootstrap.domain.doctor.finding import Code

PROJECT = Code(
    "KT120",
    "a project's .factory would send the key to another host",
    "Whoever wrote that repository gets the key with your first prompt.",
    "read that file; then remove the entry, or leave the folder",
    "A project's settings win over the user's for the same model id, base URL included, and may"
    " refer to any variable of your environment. `droid exec` asks for no trust. An org-managed"
    " policy `modelPolicy.allowedBaseUrls` blocks all other addresses: `keyturn doctor --fix "
    "KT120` writes one that allows the gateway and what your own settings use. droid reads it "
    "where FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH names it. `keyturn exec --client droid` "
    "refuses such a project.",
    fixable=True,
)
PROXY = Code(
    "KT121",
    "a proxy is set, and loopback is not excepted",
    "droid sends even what is for this machine to the proxy, key included.",
    "export NO_PROXY=127.0.0.1,localhost",
    "droid honours HTTP_PROXY for loopback, too. `keyturn exec --client droid` sets NO_PROXY.",
)
WHITESPACE = Code(
    "KT122",
    "a key with a space or a line end in it",
    "It can never match; with a line end droid also writes the key into its log and its session.",
    "keyturn apply, or write the key without it",
    "It comes from copying out of a terminal, or from `echo` instead of `printf`. droid trims "
    "one line end at the end, sends leading spaces, and fails on others for a minute and a "
    "half.",
    fixable=True,
)
SESSION = Code(
    "KT123",
    "droid sessions with marks that could keep them from being resumed",
    "Old versions refuse to resume a session of another account or provider.",
    "start it once; droid replaces the marks. If it does not: keyturn doctor --fix KT123",
    "`providerLock` is the provider that the session's model had, `archivedAt` the time it was "
    "put away. The tested versions replace a stale lock at the next message, and resume an "
    "archived session like any other (the interactive droid then takes archivedAt away), so "
    "nothing needs to be done by hand; hence only on request.",
    fixable=True,
)
DESKTOP = Code(
    "KT124",
    "the Factory desktop app, which has no custom models",
    "It cannot be led to the gateway; use droid in a terminal.",
    "droid, in a terminal",
    "The app has its own sign-in and its own way to Factory's servers. Neither settings.json "
    "nor any variable changes that, so keyturn does not support it.",
)
PLACEHOLDER = Code(
    "KT125",
    "a placeholder instead of a key",
    "droid leaves the model out of its list.",
    "keyturn apply, or write the key",
    "`YOUR_API_KEY` and `YOUR_OPENAI_API_KEY` are what droid's own examples hold; entries with "
    "them are skipped without a word.",
    fixable=True,
)
DEFAULT_GONE = Code(
    "KT126",
    "the default model is gone",
    "`droid exec` without -m fails with nothing but 'Exec failed'.",
    "choose another one: /model in droid",
    "`sessionDefaultSettings.model` names an id that no file has any more. Ids hang on the "
    "display name unless an entry has an explicit one; keyturn's entries have: "
    "`custom:keyturn-ALIAS`. Where a model of lab.toml only got another alias, `id` with the "
    "former one keeps its id, and what was chosen is there again after keyturn apply.",
)
HELPER = Code(
    "KT127",
    "an apiKeyHelper where droid does not run it",
    "droid drops it without a word and sends the request with no key.",
    'take that entry out; hand_over = "helper" under [clients.droid] in lab.toml; keyturn apply; '
    "export "
    "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH=~/.config/keyturn/droid-managed.json",
    "The helper works in org-managed settings only: /etc/factory/settings.json, or the file "
    "that FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH names.",
)
MODE = Code(
    "KT128",
    "a file with a key that others can read",
    "Every user of this machine has the key.",
    "chmod 600 FILE",
    "droid makes settings.json and config.json 0600 when it starts interactively, "
    "settings.local.json and a project's files never.",
    fixable=True,
)
WRONG_LIST = Code(
    "KT129",
    "models under a name that droid does not read there",
    "None of them is in the list.",
    "settings.json: customModels; config.json: custom_models",
    "The two formats do not mix: snake_case in settings.json and camelCase in config.json are "
    "ignored, and so is a `customModels` that is no list.",
)
BAD_FIELD = Code(
    "KT130",
    "a field with a value that droid cannot use",
    "droid ignores it, or its requests fail.",
    "correct the field, or take it out",
    "`authMode: bearer` goes with provider `anthropic` only, `extraArgs.stream: false` breaks "
    "droid, and headers and texts must be texts. `droid doctor` flags some of them.",
)
NAMED_FILE = Code(
    "KT131",
    "a settings file that a variable names is not there",
    "A missing runtime file stops droid at once; a missing org-managed file is ignored.",
    "correct or unset the variable",
    "FACTORY_RUNTIME_SETTINGS_PATH and FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH are read by "
    "every droid that is started from this shell.",
)
BAD_ID = Code(
    "KT132",
    "an id that does not start with custom:",
    "The model is listed and cannot be used.",
    "write custom: in front of the id, or take the id out",
    "droid takes an id as it stands. It looks for custom models by that prefix.",
)
NO_MODEL = Code(
    "KT133",
    "droid has no model of the gateway's",
    "Its requests go to Factory or elsewhere, never to the gateway.",
    "keyturn apply",
    "droid learns of the gateway from `customModels` in settings.json only. Variables such as "
    "ANTHROPIC_BASE_URL, ANTHROPIC_MODEL or OPENAI_BASE_URL do nothing for it: it has a client "
    "of its own. A health page that counts no requests while droid answers means just this.",
)
POLICY = Code(
    "KT134",
    "a policy that blocks the gateway",
    "droid says 'Model blocked by organization policy'.",
    "add the gateway's URL to modelPolicy.allowedBaseUrls",
    "`modelPolicy.allowedBaseUrls` lists prefixes of URLs, `allowCustomModels` may forbid all. "
    "It is binding in org-managed settings; in the user's a project can override it.",
)
OTHER_FOLDER = Code(
    "KT135",
    "variables that make droid read another folder",
    "What stands in ~/.factory has no effect then.",
    "unset FACTORY_ENV",
    "With FACTORY_ENV=development the folder is ~/.factory-dev. FACTORY_HOME_OVERRIDE moves it,"
    " too, and keyturn follows that one.",
)
OWN_DOCTOR = Code(
    "KT136",
    "what droid's own doctor says",
    "droid itself does not accept its configuration.",
    "droid doctor --config",
    "Asked with `keyturn doctor --deep` only, since droid writes files when it runs. It checks "
    "types and names; it does not see unset variables, wrong base URLs, stale keys or clashing "
    "ids, and nothing at all in config.json.",
)
UNKNOWN_MODEL = Code(
    "KT137",
    "a model of droid's that the gateway does not have",
    "The gateway answers 400 to every request for it.",
    "take that model out of the file, or describe it in lab.toml",
    "`model` is what droid asks the gateway for: an alias of lab.toml. One that was renamed or "
    "taken out there, or that `keyturn adopt` could not carry over, stays in droid's list where "
    "somebody else wrote the entry.",
)
