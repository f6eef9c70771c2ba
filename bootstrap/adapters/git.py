"""Ask git about a repository whose configuration somebody else may have written.

Git runs programs that a repository names: for signatures, for textconv, and, since an object that
is missing in a partial clone is fetched, transports of any kind (`ext::`). None of that here.
"""

from pathlib import PurePath

from bootstrap.adapters.process import Finished, run
from bootstrap.adapters.variables import variables

# For `log`: no signature is verified, no differ started, no name looked up in a file.
LOG = ("log", "--no-show-signature", "--no-ext-diff", "--no-textconv", "--no-mailmap")
_SAFE = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",  # git 2.39 does not know it, and asks a remote
    "GIT_ALLOW_PROTOCOL": "none",  # which this forbids, whatever the repository allows
    "GIT_NO_REPLACE_OBJECTS": "1",  # what was replaced is there nevertheless
    "LC_ALL": "C",
}


def ask_git(
    folder: PurePath, *words: str, stdin: bytes | None = None, timeout_s: float
) -> Finished:
    """Return what git answers about the repository around `folder`, and about no other.

    Raises:
        OSError: There is no git.
        TimeoutError: It did not end in time.
    """
    ours = {name: value for name, value in variables().items() if not _leads_astray(name)}
    argv = ["git", "--no-pager", "-C", str(folder), "-c", "core.fsmonitor=false", *words]
    return run(argv, stdin=stdin, env={**ours, **_SAFE}, timeout_s=timeout_s)


def _leads_astray(name: str) -> bool:
    return name.startswith("GIT_") and not name.startswith("GIT_CONFIG_")
