"""What a rotation asks of each client, as data."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from bootstrap.domain.client_ways import way_of
from bootstrap.domain.clients.openwebui import SETUP
from bootstrap.domain.lab import ClientKey, Lab
from bootstrap.domain.places import SECRETS_FOLDER
from bootstrap.domain.secret_spec import MASTER_KEY


class Effort(Enum):
    """What somebody has to do."""

    NOTHING = "nothing"
    RESTART = "restart"
    NEXT_LOGIN = "next login"
    NEW_KEY = "new key"


@dataclass(frozen=True)
class Effect:
    """One client after a rotation.

    Attributes:
        client: As people call it.
        effort: What has to be done.
        words: How, or why not, in one clause.
    """

    client: str
    effort: Effort
    words: str


_READS = "it reads settings.json again within a second"
_FIXED = "its key is fixed when it starts"


def effects(lab: Lab, keyturn: str, names: Collection[str] = (MASTER_KEY,)) -> tuple[Effect, ...]:
    """Return what each client of the lab needs after these secrets were rotated.

    Args:
        lab: The lab.
        keyturn: How to call keyturn.
        names: What was rotated; secrets that no client holds ask nothing of anybody.
    """
    own = [effect for key in lab.client_keys for effect in _own(lab, keyturn, key, names)]
    if MASTER_KEY not in names:
        return tuple(own)
    return (*own, *_master(lab, keyturn))


def _own(lab: Lab, keyturn: str, key: ClientKey, names: Collection[str]) -> Iterator[Effect]:
    if not lab.scope(key):
        return
    if key.secret not in names:
        if MASTER_KEY in names:
            words = "it has a key of its own, which stays"
            yield Effect(key.client, Effort.NOTHING, words)
        return
    if key.client in lab.brought:
        yield from _brought(lab, key.client)
    elif key.client == "droid":
        yield from _droid(lab)
    elif key.client == "openwebui":
        yield _openwebui(lab, keyturn, key.secret)
    else:
        yield Effect(key.client, Effort.RESTART, "where its environment holds its own key")


def _brought(lab: Lab, client: str) -> Iterator[Effect]:
    setup = lab.brought[client]
    way = way_of(client, setup, lab)
    if way is not None:
        effort = Effort.NOTHING if way.reloads else Effort.RESTART
        yield Effect(setup.title, effort, f"how it learns of a new key: {way.learns}")


def _openwebui(lab: Lab, keyturn: str, name: str) -> Effect:
    """Return what it needs: it takes a new key by itself only from the env file that it obeys.

    A file of that name elsewhere is somebody's copy, which keeps the old key.
    """
    named = PurePath(lab.stores.get("openwebui", ""))
    ours = {(SECRETS_FOLDER, file.path) for file in SETUP.files}
    if lab.switches.openwebui_env and named.parts[-2:] in ours:
        return Effect("Open WebUI", Effort.RESTART, f"it reads {named.name} when it starts")
    return Effect("Open WebUI", Effort.NEW_KEY, f"enter it: {keyturn} get {name}")


def _droid(lab: Lab) -> Iterator[Effect]:
    if lab.switches.droid_settings:
        yield Effect("droid", Effort.NOTHING, _READS)
    if lab.switches.droid_key_helper:
        yield Effect("droid, key helper", Effort.NOTHING, "it asks again after the first 401")
    if lab.switches.droid_overlay:
        yield Effect("droid --settings", Effort.RESTART, _FIXED)


def _master(lab: Lab, keyturn: str) -> Iterator[Effect]:
    own = {key.client for key in lab.client_keys}
    served = {client for model in lab.models for client in model.clients} - own
    if "droid" in served:
        yield from _droid(lab)
    if lab.guarded:
        yield Effect("exec --client", Effort.NOTHING, "an agent has a key for its run alone")
    if "claude" in served:
        words = "where its environment holds the master key"
        yield Effect("Claude Code", Effort.RESTART, words)
    if "openwebui" in served:
        yield _openwebui(lab, keyturn, MASTER_KEY)
    for client in lab.brought:
        if client not in own:
            yield from _brought(lab, client)
    if lab.switches.envrc:
        yield Effect("shell, direnv", Effort.NOTHING, f"the next prompt in {lab.root} reloads")
    if lab.files:
        words = "one that reads its file again needs nothing"
        yield Effect("[[files]]", Effort.RESTART, words)
    yield Effect("other shells", Effort.NEXT_LOGIN, "or load the env file again")
    yield Effect("CI", Effort.NEW_KEY, f"{MASTER_KEY} in the pipeline's secret store")
