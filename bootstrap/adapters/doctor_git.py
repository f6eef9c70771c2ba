"""What git keeps of the stores: plaintext in any branch, and caches of decrypted texts."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bootstrap.adapters.git import LOG, ask_git

_GIT_S = 2.0
_MOST_COMMITS = 200
_ENCRYPTED = b"ENC[AES256_GCM,"


def in_work_tree(root: Path) -> bool:
    """Tell whether a folder is in a git work tree."""
    return _git(root, "rev-parse", "--is-inside-work-tree").strip() == b"true"


def plain_commits(path: Path) -> tuple[str, ...]:
    """Return the short ids of commits in which a store stands with no name encrypted.

    The newest commits of all branches, tags and stashes that changed it are looked at.
    """
    folder = next((place for place in path.parents if place.is_dir()), Path("/"))
    place = path.relative_to(folder)
    words = (*LOG, "--all", f"--max-count={_MOST_COMMITS}", "--format=%h", "--", str(place))
    commits = _git(folder, *words).decode("ascii", "replace").split()
    if not commits:
        return ()
    asked = "".join(f"{commit}:./{place}\n" for commit in commits)
    printed = _git(folder, "cat-file", "--batch", stdin=asked.encode())
    return tuple(
        commit
        for commit, data in zip(commits, _blobs(printed), strict=False)
        if data.strip() and _ENCRYPTED not in data
    )


def caching(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (scope, name) of the settings that make git store decrypted texts."""
    words = ("config", "--show-scope", "--get-regexp", r"^diff\..*\.cachetextconv$")
    for line in _git(root, *words).decode("utf-8", "replace").splitlines():
        scope, _, setting = line.partition("\t")
        name, _, value = setting.partition(" ")
        if value.lower() not in ("false", "no", "off", "0"):
            yield scope, name


def _blobs(printed: bytes) -> Iterator[bytes]:
    """Yield what `git cat-file --batch` printed for each object; nothing for one that is gone."""
    while printed:
        head, _, printed = printed.partition(b"\n")
        size = head.rpartition(b" ")[2]
        length = int(size) if size.isdigit() else -1
        yield printed[: max(length, 0)]
        printed = printed[length + 1 :]


def _git(folder: Path, *words: str, stdin: bytes | None = None) -> bytes:
    """Return what git prints; nothing where there is no git, no folder or no answer in time."""
    with suppress(OSError):
        answer = ask_git(folder, *words, stdin=stdin, timeout_s=_GIT_S)
        return answer.stdout if answer.returncode == 0 else b""
    return b""
