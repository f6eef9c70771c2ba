"""Which keys droid's own files send to a gateway on this machine."""

from urllib.parse import urlsplit

from bootstrap.domain.droid_legacy import LEGACY_KEY
from bootstrap.domain.droid_schema import ARRAY_KEY, PLACEHOLDERS, same_gateway
from bootstrap.domain.json_edit import entries_of
from bootstrap.domain.jsonc import MalformedJson, parse, plain
from bootstrap.domain.secret import Secret


def gateway_keys(data: bytes, gateway_url: str) -> tuple[Secret, ...]:
    """Return the literal keys of those entries that ask the gateway; none of a malformed file.

    Args:
        data: settings.json, an overlay, or the legacy config.json.
        gateway_url: The gateway's base URL without a path.
    """
    keys = []
    for entry in _entries(data):
        key = entry.get("apiKey", entry.get("api_key"))
        at = same_gateway(entry.get("baseUrl", entry.get("base_url")), gateway_url)
        if at and isinstance(key, str) and is_literal(key):
            keys.append(Secret(key))
    return tuple(keys)


def loopback_ports(data: bytes) -> tuple[int, ...]:
    """Return the ports of this machine that entries of droid's send to; none of a malformed file.

    Args:
        data: settings.json, an overlay, or the legacy config.json.
    """
    ports = []
    for entry in _entries(data):
        url = entry.get("baseUrl", entry.get("base_url"))
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            port, host = parts.port, parts.hostname or ""
        except ValueError:
            continue
        if port and (host in ("localhost", "::1") or host.startswith("127.")):
            ports.append(port)
    return tuple(dict.fromkeys(ports))


def is_literal(key: str) -> bool:
    """Tell a key from a reference, understood or not, and from a placeholder."""
    return bool(key.strip()) and not key.startswith(("env:", "$")) and key not in PLACEHOLDERS


def _entries(data: bytes) -> list[dict[str, object]]:
    try:
        document = parse(data)
        arrays = [entries_of(document, name) for name in (ARRAY_KEY, LEGACY_KEY)]
    except MalformedJson:
        return []
    rows = [plain(item) for array in arrays if array for item in array.items]
    return [row for row in rows if isinstance(row, dict)]
