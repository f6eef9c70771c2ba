"""Keys in Claude Code's settings."""

from collections.abc import Iterator

from bootstrap.domain.doctor.facts_claude import ClaudeFacts
from bootstrap.domain.secret import Secret


def keys_in(claude: ClaudeFacts) -> Iterator[tuple[str, Secret]]:
    """Yield nothing yet."""
    yield from ()
