"""The variables of this process, without `os`: loading that takes a tenth of `keyturn exec`.

What `exec` needs of the operating system it takes from `posix`, which `os` is made of on every
system that keyturn runs on.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


_decoded: "dict[str, str]" = {}


def variables() -> "Mapping[str, str]":
    """Return the environment by name, as `os.environ` gives it."""
    loaded = sys.modules.get("os")
    if loaded is not None:  # it may have been changed since
        environ: Mapping[str, str] = loaded.environ
        return environ
    if not _decoded:  # without `os` nothing can change them
        code = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
        for name, value in posix.environ.items():
            _decoded[name.decode(*code)] = value.decode(*code)
    return _decoded
