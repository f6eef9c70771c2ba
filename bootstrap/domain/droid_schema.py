"""What droid takes as a custom model: ids, fields, base URLs, and what makes it drop a whole file.

Every rule was seen by running droid 0.215.0; none of the answers here quotes an API key.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address

from bootstrap.domain.jsonc import Array, MalformedJson, parse, plain
from bootstrap.domain.printable import printable

ID_PREFIX = "custom:keyturn-"
ARRAY_KEY = "customModels"
GENERIC = "generic-chat-completion-api"
PROVIDERS = ("anthropic", "openai", GENERIC)
# droid skips an entry that has one of these as its key.
PLACEHOLDERS = ("YOUR_API_KEY", "YOUR_OPENAI_API_KEY")
_KNOWN_TO_DROID = (*PROVIDERS, "bedrock-converse")
_TEXTS = ("model", "displayName", "baseUrl", "apiKey", "provider")
_LONGEST_NAME = 60
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^\s?#]*)?",
    re.ASCII | re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def entry_id(lasting: str) -> str:
    """Return the id of our entry for a model with that lasting id (`Model.lasting_id`).

    It does not hang on the name that people see: a session that is bound to an id which is gone
    refuses to go on, so a renamed model must keep its id.
    """
    return ID_PREFIX + lasting


def effective_ids(entries: Sequence[object]) -> list[str | None]:
    """Return the id under which droid lists each entry; None for one that it skips.

    Without an explicit `id` that is `custom:`, the trimmed name with `-` for runs of space, `-`
    and the number of earlier entries of the same name, those with an explicit id included.
    """
    seen: dict[str, int] = {}
    ids: list[str | None] = []
    for entry in entries:
        if not isinstance(entry, dict) or not _is_listed(entry):
            ids.append(None)
            continue
        name = entry.get("displayName")
        slug = "-".join((name if isinstance(name, str) else str(entry["model"])).split())
        number = seen.get(slug, 0)
        seen[slug] = number + 1
        explicit = entry.get("id")
        ids.append(explicit if isinstance(explicit, str) else f"custom:{slug}-{number}")
    return ids


def same_gateway(base_url: object, gateway_url: str) -> bool:
    """Tell whether an entry's base URL is the gateway's, with or without `/v1`.

    All spellings of this machine's loopback are one host: `localhost`, `127.0.0.1`, `[::1]`.
    """
    theirs = _URL.fullmatch(base_url) if isinstance(base_url, str) else None
    ours = _URL.fullmatch(gateway_url)
    if theirs is None or ours is None or _port(theirs) != _port(ours):
        return False
    return (theirs["path"] or "").strip("/") in ("", "v1") and _host(theirs) == _host(ours)


def validate_entry(entry: Mapping[str, object], *, managed: bool = False) -> str | None:
    """Return why droid could not use the entry, or None.

    Args:
        entry: One element of `customModels`.
        managed: It stands in an org-managed file, where `apiKeyHelper` takes the key's place.
    """
    needed = [name for name in _TEXTS if not (managed and name == "apiKey")]
    for name in [*needed, *(["apiKeyHelper"] if managed else [])]:
        value = entry.get(name)
        if not isinstance(value, str) or not value.strip():
            return f"{name} is missing or is not a text"
    for name, value in entry.items():
        if isinstance(value, str) and not _is_unicode(value):
            return f"{name} is not valid Unicode"
    return (
        _number_problem(entry)
        or _id_problem(entry)
        or _provider_problem(entry)
        or (_helper_problem(entry) if managed else _key_problem(entry))
    )


def validate_models(models: Sequence[object], *, managed: bool = False) -> str | None:
    """Return why the list cannot be handed to droid, naming the entry, or None."""
    seen: set[object] = set()
    for index, entry in enumerate(models):
        where = f"{ARRAY_KEY}[{index}]"
        if not isinstance(entry, dict):
            return f"{where} is not an object"
        problem = validate_entry(entry, managed=managed)
        if problem is None and not str(entry.get("id")).startswith(ID_PREFIX):
            problem = f"id is not {ID_PREFIX}… followed by the model's"
        if problem is None and entry["id"] in seen:
            problem = "another entry has the same id"
        if problem is not None:
            return f"{where}: {problem}"
        seen.add(entry["id"])
    return None


def foreign_problems(data: bytes) -> tuple[str, ...]:
    """Return what makes droid drop the whole settings file: bad syntax, or an unknown provider.

    A provider may be spelled in any case and with `_` for `-`; one that is missing or is not a
    text costs only its own entry.
    """
    try:
        entries = _entries(data)
    except MalformedJson as error:
        return (str(error),)
    return tuple(
        f"{ARRAY_KEY}[{index}] ({entry_name(entry)}): droid knows no such provider"
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and not _is_provider_known(entry)
    )


def validate_settings(data: bytes) -> str | None:
    """Return why droid would drop the whole file or could not use our entries in it, or None."""
    problems = foreign_problems(data)
    if problems:
        return "; ".join(problems)
    for index, entry in enumerate(_entries(data)):
        if isinstance(entry, dict) and str(entry.get("id")).startswith(ID_PREFIX):
            problem = validate_entry(entry, managed="apiKeyHelper" in entry)
            if problem:
                return f"{ARRAY_KEY}[{index}]: {problem}"
    return None


def entry_name(entry: Mapping[str, object]) -> str:
    """Return a foreign entry's name for people, without control characters, at most 60 long."""
    names = (entry.get(key) for key in ("displayName", "model_display_name", "model", "id"))
    name = next((name for name in names if isinstance(name, str) and name.strip()), "unnamed")
    return printable(name)[:_LONGEST_NAME]


def _entries(data: bytes) -> list[object]:
    """Return the elements of `customModels`; none where it is missing or no list."""
    member = parse(data).root.last(ARRAY_KEY)
    if member is None or not isinstance(member.value, Array):
        return []
    return [plain(item) for item in member.value.items]


def _is_listed(entry: Mapping[str, object]) -> bool:
    """Tell whether droid lists the entry at all, given that it reads the file."""
    return (
        all(isinstance(entry.get(key), str) for key in ("model", "provider"))
        and (isinstance(entry.get("baseUrl"), str) or "bedrock" in entry)
        and entry.get("apiKey") not in PLACEHOLDERS
    )


def _is_provider_known(entry: Mapping[str, object]) -> bool:
    provider = entry.get("provider")
    return not isinstance(provider, str) or provider.lower().replace("_", "-") in _KNOWN_TO_DROID


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number_problem(entry: Mapping[str, object]) -> str | None:
    for name in ("maxOutputTokens", "maxContextLimit"):
        value = entry.get(name)
        absent = value is None and name == "maxContextLimit"
        if not absent and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            return f"{name} is missing or is not a whole number above 0"
    if not isinstance(entry.get("noImageSupport", False), bool):
        return "noImageSupport is not true or false"
    return None


def _id_problem(entry: Mapping[str, object]) -> str | None:
    identifier = entry.get("id", "custom:")
    if not isinstance(identifier, str) or not identifier.startswith("custom:"):
        return "id does not start with custom: and would make the model unusable"
    return None


def _provider_problem(entry: Mapping[str, object]) -> str | None:
    provider, base_url = str(entry["provider"]), str(entry["baseUrl"])
    if provider not in PROVIDERS:
        return f"provider is none of {', '.join(PROVIDERS)}, in exactly this spelling"
    if _URL.fullmatch(base_url) is None:
        return "baseUrl is not an http:// or https:// URL without user, query and fragment"
    ends_in_v1 = base_url.rstrip("/").endswith("/v1")
    if provider == "anthropic" and ends_in_v1:
        return "baseUrl ends in /v1, which droid adds itself for provider anthropic"
    if provider != "anthropic" and not ends_in_v1:
        return f"baseUrl does not end in /v1, which provider {provider} needs"
    return None


def _key_problem(entry: Mapping[str, object]) -> str | None:
    key = str(entry["apiKey"])
    if any(char.isspace() or not char.isprintable() for char in key):
        return "apiKey holds a space, a line end or a control character"
    if key in PLACEHOLDERS:
        return "apiKey is a placeholder, and droid skips the entry"
    if key.startswith("env:") or (key.startswith("$") and not _REFERENCE.fullmatch(key)):
        return "apiKey is a notation that droid sends as it stands; it knows only ${NAME}"
    return None


def _helper_problem(entry: Mapping[str, object]) -> str | None:
    if "\n" in str(entry["apiKeyHelper"]) or "\r" in str(entry["apiKeyHelper"]):
        return "apiKeyHelper holds a line end"
    return None


def _port(url: re.Match[str]) -> int:
    return int(url["port"] or (443 if url["scheme"].lower() == "https" else 80))


def _host(url: re.Match[str]) -> str:
    """Return the host, one name for all that lead to this machine's loopback."""
    host = url["host"].strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return "loopback" if address.is_loopback or address.is_unspecified else str(address)
