"""Which sources each secret of a lab has, and in which order they are asked.

Parsed apart from the rest of the lab file so that `keyturn exec` can read it without the
catalogue, jinja2 or any validation of things it does not use.
"""

from bootstrap.domain.base_errors import ConfigError
from bootstrap.domain.ref import SecretRef, is_variable_name, store_name_problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STORE = "secrets/global.enc.env"
KEYRING_SERVICE = "keyturn"
MASTER_KEY = "LITELLM_MASTER_KEY"
SALT_KEY = "LITELLM_SALT_KEY"
# LiteLLM demands a master key of its own at its start; under the guard it opens nothing and no
# client ever holds it.
INTERNAL_KEY = "KEYTURN_INTERNAL_KEY"
# Where LiteLLM has a database, it looks for it here.
DATABASE_URL = "DATABASE_URL"
GENERATED = (MASTER_KEY, SALT_KEY, INTERNAL_KEY)
# With `client_keys = true` each client has a key of its own, kept under such a name.
CLIENT_KEY_PREFIX = "KEYTURN_CLIENT_KEY_"
_CLIENTS = ("claude", "droid", "openai", "openwebui")


class SecretSpec:
    """A secret's name and its sources.

    Attributes:
        name: As the environment variable that carries it.
        sources: References in the order they are asked; the first that holds it wins.
        optional: Whether the lab works without it.
    """

    __slots__ = ("name", "optional", "sources")

    def __init__(self, name: str, sources: "tuple[SecretRef, ...]", optional: bool = False) -> None:
        self.name = name
        self.sources = sources
        self.optional = optional

    def __repr__(self) -> str:
        return f"SecretSpec({self.name}, {[str(s) for s in self.sources]})"


def default_sources(name: str) -> "tuple[SecretRef, ...]":
    """Return the store, the keyring, then the environment: a stale variable never wins."""
    return (
        SecretRef("sops", STORE, name),
        SecretRef("keyring", KEYRING_SERVICE, name),
        SecretRef("env", name),
    )


def parse_secret_specs(document: "Mapping[str, Any]", file: str) -> "dict[str, SecretSpec]":
    """Return the secrets of a parsed lab file by name.

    The generated ones are there even where the file does not mention them.

    Raises:
        ConfigError: The [secrets] table is malformed; names the key path.
    """
    given = document.get("secrets", {})
    if not isinstance(given, dict):
        raise ConfigError(f"{file}: secrets", why="it is not a table", fix="write [secrets.NAME]")
    specs = {name: SecretSpec(name, default_sources(name)) for name in GENERATED}
    for name, table in given.items():
        specs[name] = _spec(name, table, file)
    for name in client_key_names(document, file).values():
        sources = specs[name].sources if name in specs else _beside(specs[MASTER_KEY], name)
        specs[name] = SecretSpec(name, sources, optional=True)
    return specs


def client_key_names(document: "Mapping[str, Any]", file: str) -> "dict[str, str]":
    """Return under which name the key of each client is kept that has one of its own.

    `client_keys = true` at the top of the file gives every client one, under [clients.NAME] that
    client.

    Raises:
        ConfigError: Two clients would share a name.
    """
    usual, tables = document.get("client_keys", False), document.get("clients", {})
    given = tables if isinstance(tables, dict) else {}
    names: dict[str, str] = {}
    for client in dict.fromkeys((*_CLIENTS, *given)):
        table = given.get(client)
        wanted = table.get("client_keys", usual) if isinstance(table, dict) else usual
        if wanted is not True:
            continue
        name = CLIENT_KEY_PREFIX + "".join(c if c.isalnum() else "_" for c in client).upper()
        if name in names.values():
            raise ConfigError(
                f"{file}: clients.{client}",
                why=f"its key and that of another client would both be kept as {name}",
                fix="rename one of them, or write client_keys = false in it",
            )
        names[client] = name
    return names


def _beside(master: SecretSpec, name: str) -> "tuple[SecretRef, ...]":
    """Return the places of a client's key: where the master key is, under another name."""
    refs = [
        SecretRef("env", name) if ref.scheme == "env" else SecretRef(ref.scheme, ref.place, name)
        for ref in master.sources
        if ref.scheme == "env" or ref.name
    ]
    return tuple(refs) or default_sources(name)


def exec_names(document: "Mapping[str, Any]", file: str) -> "tuple[str, ...]":
    """Return the names under [exec] that a program gets by default.

    Raises:
        ConfigError: The table is malformed.
    """
    table = document.get("exec", {})
    names = table.get("secrets", [MASTER_KEY]) if isinstance(table, dict) else None
    if not isinstance(names, list) or not all(
        isinstance(n, str) and is_variable_name(n) for n in names
    ):
        raise ConfigError(
            f"{file}: exec.secrets",
            why="it is not a list of secret names",
            fix=f'write secrets = ["{MASTER_KEY}"] under [exec]',
        )
    return tuple(names)


def _spec(name: str, table: "Any", file: str) -> SecretSpec:
    where = f"{file}: secrets.{name}"
    problem = store_name_problem(name)
    if problem:
        raise ConfigError(where, why=problem, fix="rename it, for example OPENAI_API_KEY")
    if not isinstance(table, dict):
        raise ConfigError(
            where, why="it is not a table", fix=f"write [secrets.{name}] above sources"
        )
    for key in table:
        if key not in ("sources", "optional"):
            raise ConfigError(
                f"{where}.{key}", why="there is no such key", fix="use sources, optional"
            )
    optional = table.get("optional", False)
    sources = table.get("sources")
    if not isinstance(optional, bool):
        raise ConfigError(
            f"{where}.optional", why="it is not true or false", fix="write optional = true"
        )
    if sources is None:
        return SecretSpec(name, default_sources(name), optional)
    if not isinstance(sources, list) or not sources or not all(isinstance(s, str) for s in sources):
        raise ConfigError(
            f"{where}.sources", why="it is not a list of references", fix=f'write ["env:{name}"]'
        )
    try:
        return SecretSpec(name, tuple(SecretRef.parse(s) for s in sources), optional)
    except ConfigError as error:
        raise ConfigError(f"{where}.sources: {error.what}", why=error.why, fix=error.fix) from None
