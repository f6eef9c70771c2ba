"""From which ciphertext a write starts, so that sops runs as seldom as can be.

A rotation writes one file three times, and what it ends with comes by on the way to what it writes
before. So every version that this process has proven is kept while nobody else writes the file:
one that holds what is wanted is put there as it is, and an undone rotation leaves the old bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bootstrap.adapters.sops_commands import Sops
from bootstrap.adapters.sops_store import replace
from bootstrap.adapters.sops_text import names_in
from bootstrap.domain.base_errors import SecretError, StoreDamagedError
from bootstrap.domain.secret import Secret

Document = dict[str, object]
# The two lines that differ though the entries are the same.
_STAMPS = (b"sops_mac=", b"sops_lastmodified=")


class Job(NamedTuple):
    """What is written.

    Attributes:
        sops: The program.
        target: The encrypted file, symlinks resolved.
        kind: See `bootstrap.adapters.sops_text.kind_of`.
        file: Its path as people know it.
    """

    sops: Sops
    target: Path
    kind: str
    file: str


def rewrite(
    job: Job, versions: dict[bytes, Document], original: bytes, after: Document, folder: int
) -> None:
    """Make the file hold `after`, proven, and add what was written to `versions`.

    Args:
        job: What is written.
        versions: Ciphertext -> document, the oldest first, `original` among them: each was made
            from the one before by this process, and nobody else has written the file since.
        original: What the file holds.
        after: What it shall hold. Where it differs from one of `versions`, the value is a text.
        folder: The descriptor of its locked folder.

    Raises:
        SecretError: See `bootstrap.adapters.sops_store.replace`; the file is as it was.
    """
    way, passed = shortest(versions, after), list[bytes]()

    def edit(scratch: str) -> None:
        for name in way.changed:
            job.sops.set(scratch, name, Secret(str(after[name])), job.kind, job.file)
            passed.append(Path(scratch).read_bytes())
        for name in way.gone:
            job.sops.unset(scratch, name, job.kind, job.file)
            passed.append(Path(scratch).read_bytes())

    def prove(data: bytes) -> None:
        if versions.get(data) != after:
            verify(job, data, after)

    data = replace(job.target, original, way.start, edit, prove, folder)
    for earlier in passed[:-1] if job.kind == "dotenv" else ():
        document = proven_by(data, after, earlier, job.file)
        if document is not None:
            versions[earlier] = document
    versions[data] = after


def verify(job: Job, data: bytes, wanted: Document) -> None:
    """Prove by decrypting that a ciphertext holds what it shall.

    Raises:
        SecretError: It does not.
    """
    names_in(data, job.kind, job.file)
    if job.sops.decrypt(data, job.kind, job.file) != wanted:
        raise SecretError(
            f"cannot write {job.file}",
            why="decrypting what sops wrote gave something else, so it was thrown away",
            fix="check that the value is plain text without odd characters, then try again",
        )


class Way(NamedTuple):
    """How to get to a document.

    Attributes:
        start: The ciphertext to begin with.
        changed: The names to set in it, in this order.
        gone: The names to remove.
    """

    start: bytes
    changed: tuple[str, ...]
    gone: tuple[str, ...]


def shortest(versions: Mapping[bytes, Document], wanted: Document) -> Way:
    """Return the way with the fewest runs of sops, of several the one from the oldest version.

    Args:
        versions: Ciphertext -> document, the oldest first.
        wanted: What is to be reached.
    """
    ways = (_way(start, document, wanted) for start, document in versions.items())
    return min(ways, key=lambda way: len(way.changed) + len(way.gone))


def _way(start: bytes, document: Document, wanted: Document) -> Way:
    changed = [n for n, value in wanted.items() if n not in document or document[n] != value]
    # What has a value already comes first: the other key of a rotation is added, and leaves again.
    changed.sort(key=lambda name: name not in document)
    return Way(start, tuple(changed), tuple(name for name in document if name not in wanted))


def proven_by(later: bytes, document: Document, earlier: bytes, file: str) -> Document | None:
    """Return what a ciphertext holds from which sops has made a later one, or None if unsure.

    sops opened every entry of it and its checksum to do that. An entry that stands in both byte by
    byte, under the same data key, has the value that the later one was seen to hold.

    Args:
        later: A dotenv file, decrypted.
        document: What that gave.
        earlier: The dotenv file that sops was given.
        file: Its path, for complaints.
    """
    lines = set(later.split(b"\n"))
    if any(line not in lines and not line.startswith(_STAMPS) for line in earlier.split(b"\n")):
        return None
    try:
        return {name: document[name] for name in names_in(earlier, "dotenv", file)}
    except (StoreDamagedError, KeyError):
        return None
