"""How a person calls keyturn, in the words that messages give to be pasted."""

import shlex
from pathlib import PurePath

from bootstrap.adapters import machine
from bootstrap.adapters.find_lab import registered
from bootstrap.wiring import found_lab


def called(root: PurePath) -> str:
    """Return what calls keyturn for the lab at `root` from any folder, as a shell reads it.

    Where another lab is the registered one, or none is, a bare `keyturn get` would give another
    lab's key, or fail.
    """
    words = [found_lab.keyturn_program()]
    if registered(str(machine.places().default_lab)) != str(root):
        words += ["--lab", str(root)]
    return shlex.join(words)
