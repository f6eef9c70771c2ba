"""Which clients' own keys the gateway's guard accepts now: digests, never a key."""

import time
from pathlib import Path

from bootstrap.adapters.gathering import Scene
from bootstrap.domain.errors import StoreDamagedError
from bootstrap.domain.keyset import KEYSET_FILE, MAX_BYTES, Keyset


def observe_issued(scene: Scene) -> frozenset[str]:
    """Return the digests of the clients' keys in force; none where there is no sound keyset."""
    path = Path(scene.places.litellm, KEYSET_FILE)
    try:
        with path.open("rb") as file:
            keyset = Keyset.parse(file.read(MAX_BYTES + 1))
    except (OSError, StoreDamagedError):
        return frozenset()
    now = time.time()
    clients = (entry for entry in keyset.entries if entry.kind == "client")
    return frozenset(entry.sha256 for entry in clients if entry.is_valid(now))
