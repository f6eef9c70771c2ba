"""The variables of a git that only reads, in the repository around the folder it is given."""

from bootstrap.adapters.variables import variables

_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",
}


def git_environment() -> dict[str, str]:
    """Return our variables without those that lead git to another repository, as in its hooks."""
    own = {name: value for name, value in variables().items() if not name.startswith("GIT_")}
    return {**own, **_QUIET}
