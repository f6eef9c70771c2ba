"""What surrounds a rotation: the record of all, who works on one, what is run afterwards."""

from collections.abc import Sequence
from pathlib import PurePath

from bootstrap.adapters import machine
from bootstrap.adapters.audit import FileAudit
from bootstrap.adapters.hook import run_hook
from bootstrap.adapters.lock import is_held
from bootstrap.domain.lab import Lab
from bootstrap.domain.rotation import Part


def is_busy(root: PurePath) -> bool:
    """Tell whether another keyturn works on this lab."""
    return is_held(machine.places().lab_state(root))


def audit(root: PurePath) -> FileAudit:
    """Return the record of the lab's rotations."""
    return FileAudit(machine.places().lab_state(root))


def run_after(lab: Lab, parts: Sequence[Part]) -> None:
    """Run what the lab wants run after a rotation, told names and fingerprints.

    Raises:
        ConfigError: It failed.
    """
    told = {
        "KEYTURN_SECRETS": " ".join(part.name for part in parts),
        "KEYTURN_OLD": " ".join(part.old for part in parts),
        "KEYTURN_NEW": " ".join(part.new for part in parts),
    }
    run_hook(lab.rotate.after, told, str(lab.root))
