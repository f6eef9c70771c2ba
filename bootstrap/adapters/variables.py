"""The variables of this process, without `os`: loading that takes a tenth of `keyturn exec`.

What `exec` needs of the operating system it takes from `posix`, which `os` is made of on every
system that keyturn runs on.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


# What Python makes of LC_CTYPE, for itself, where the locale is C (PEP 538).
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
_MOST_BYTES = 1 << 24
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


def given_variables() -> "Mapping[str, str]":
    """Return the environment as we got it: without an LC_CTYPE that Python set for itself."""
    found = variables()
    if found.get("LC_CTYPE") not in _COERCED or was_given("LC_CTYPE"):
        return found
    return {name: value for name, value in found.items() if name != "LC_CTYPE"}


def was_given(name: str) -> bool:
    """Tell whether a variable was there when this process started; yes where nobody can tell."""
    try:
        handle = posix.open("/proc/self/environ", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = posix.read(handle, _MOST_BYTES)
        finally:
            posix.close(handle)
    except OSError:
        return True
    return f"\0{name}=".encode() in b"\0" + data
