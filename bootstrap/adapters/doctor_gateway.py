"""What several checks want to know of the gateway: the keys that it accepts, and its models."""

import time
from pathlib import Path

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.gathering import Scene
from bootstrap.adapters.paths import without_waiting
from bootstrap.domain.errors import LabError, StoreDamagedError
from bootstrap.domain.keyset import KEYSET_FILE, MAX_BYTES, KeyEntry, Keyset

_ANSWER_S = 3.0


def observe_served(scene: Scene) -> tuple[str, ...] | None:
    """Return the models that the gateway lists, or None where it does not answer so."""
    try:
        key = scene.key()
    except LabError:  # said elsewhere
        return None
    if scene.lab is None or key is None:
        return None
    answer = HttpGateway(scene.lab.gateway.url, _ANSWER_S).models(key)
    return answer.model_ids if answer.status == 200 else None


def observe_issued(scene: Scene) -> frozenset[str]:
    """Return the digests of the clients' keys in force; none where there is no sound keyset."""
    return frozenset(entry.sha256 for entry in _accepted(scene) if entry.kind == "client")


def observe_fading(scene: Scene) -> frozenset[str]:
    """Return the digests of replaced keys that are accepted for a while yet."""
    return frozenset(entry.sha256 for entry in _accepted(scene) if entry.is_replaced)


def _accepted(scene: Scene) -> list[KeyEntry]:
    path = Path(scene.places.litellm, KEYSET_FILE)
    try:
        with open(path, "rb", opener=without_waiting) as file:
            keyset = Keyset.parse(file.read(MAX_BYTES + 1))
    except (OSError, StoreDamagedError):
        return []
    now = time.time()
    return [entry for entry in keyset.entries if entry.is_valid(now)]
