"""Variables in files of environment.d(5), which systemd gives to every program of a login."""

import re
from collections.abc import Collection, Iterator

from bootstrap.domain.secret import Secret

_LINE = re.compile(
    r"""\s*(?P<name>[A-Za-z_]\w*)=(?P<quote>["']?)(?P<value>[^$]{8,}?)(?P=quote)\s*"""
)


def variables_in(data: bytes) -> Iterator[tuple[str, Secret]]:
    """Yield (name, value) of the variables that are set literally, to more than a few letters."""
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        match = _LINE.fullmatch(line)
        if match:
            yield match["name"], Secret(match["value"])


def without(data: bytes, names: Collection[str]) -> bytes:
    """Return the file without the lines that set these variables literally."""
    lines = data.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    matches = [(line, _LINE.fullmatch(line)) for line in lines]
    kept = [line for line, match in matches if match is None or match["name"] not in names]
    return "".join(kept).encode("utf-8", "surrogateescape")
