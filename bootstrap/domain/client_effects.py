"""What a rotation of the master key asks of each client, as data."""

from dataclasses import dataclass
from enum import Enum

from bootstrap.domain.lab import Lab
from bootstrap.domain.secret_spec import MASTER_KEY

_OWN = "it has a key of its own, which stays"


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


def effects(lab: Lab, keyturn: str) -> tuple[Effect, ...]:
    """Return what each client of the lab needs after its master key was rotated.

    Args:
        lab: The lab.
        keyturn: How to call keyturn.
    """
    own = {key.client for key in lab.client_keys}
    served = {client for model in lab.models for client in model.clients} - own
    switches = lab.switches
    rows = [
        (
            "droid" in served and switches.droid_settings,
            Effect("droid", Effort.NOTHING, "it reads settings.json again within a second"),
        ),
        (
            "droid" in served and switches.droid_key_helper,
            Effect("droid, key helper", Effort.NOTHING, "it asks again after the first 401"),
        ),
        (
            "droid" in served and switches.droid_overlay,
            Effect("droid --settings", Effort.RESTART, "its key is fixed when it starts"),
        ),
        (
            lab.guarded,
            Effect("exec --client", Effort.NOTHING, "an agent has a key of its own"),
        ),
        (
            "claude" in served,
            Effect("Claude Code", Effort.RESTART, "if its environment holds the master key"),
        ),
        (
            "openwebui" in served,
            Effect("OpenWebUI", Effort.NEW_KEY, f"enter it: {keyturn} get {MASTER_KEY}"),
        ),
        (
            switches.envrc,
            Effect("shell, direnv", Effort.NOTHING, f"the next prompt in {lab.root} reloads"),
        ),
        (
            True,
            Effect("other shells", Effort.NEXT_LOGIN, "or load the env file again"),
        ),
        (
            True,
            Effect("CI", Effort.NEW_KEY, f"{MASTER_KEY} in the pipeline's secret store"),
        ),
    ]
    theirs = [Effect(client, Effort.NOTHING, _OWN) for client in sorted(own)]
    return (*theirs, *(effect for wanted, effect in rows if wanted))
