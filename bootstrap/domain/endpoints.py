"""Where a URL leads, and how it is shown."""

import re
from urllib.parse import urlsplit

from bootstrap.domain.printable import printable
from bootstrap.domain.redact import mask_unknown

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
    return shown(text)


def shown(text: str) -> str:
    """Return a word of somebody else's for people: no control characters, nothing like a key."""
    return mask_unknown(printable(text))[:100]


def is_below(url: str, prefix: str) -> bool:
    """Tell whether `url` has the origin of `prefix` and a path that continues its path.

    As droid compares the addresses of a policy (seen with 0.215.0): `/v12` does not continue `/v1`,
    and a user before the host is another origin.
    """
    theirs, allowed = _origin(url), _origin(prefix)
    if theirs is None or allowed is None or theirs[0] != allowed[0]:
        return False
    return (theirs[1] + "/").startswith(allowed[1] + "/")


def _origin(url: str) -> tuple[tuple[str, str, int | None], str] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or "@" in parts.netloc:
        return None
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return (parts.scheme, parts.hostname, port or usual), parts.path.rstrip("/")
