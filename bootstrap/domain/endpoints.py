"""Where a URL leads, and how it is shown."""

import re
from urllib.parse import urlsplit

LOOPBACK = "loopback"
_LOOPBACK = re.compile(r"localhost|.*\.localhost|127\..*|::1|0\.0\.0\.0|::|::ffff:127\..*")


def endpoint(url: object) -> tuple[str, int] | None:
    """Return (host, port), one host for all names of loopback; None where it is no HTTP URL."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("http", "https") or not host:
        return None
    return (LOOPBACK if _LOOPBACK.fullmatch(host) else host), port


def safe_url(url: str) -> str:
    """Return a URL for people: without user, password, query, fragment and control characters."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(no URL)"
    if not host:
        return "(no URL)"
    text = f"{parts.scheme}://{host}{port}{parts.path}"[:100]
    return "".join(char if char.isprintable() else "?" for char in text)
