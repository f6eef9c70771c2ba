"""Where a file of the user's own (`[[files]]`) must not stand: on what keyturn works with."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath

from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places
from bootstrap.domain.targets import targets

RULES = ".sops.yaml"


@dataclass(frozen=True)
class Kept:
    """A path that keyturn does not let a lab file overwrite.

    Attributes:
        path: Absolute.
        what: What stands there, for people. All below it is meant, too: below a file can be none.
    """

    path: PurePath
    what: str


class Taken:
    """Places that are taken; a thousand files are looked up in the time of one.

    Args:
        kept: What is kept there.
    """

    def __init__(self, kept: Iterable[Kept]) -> None:
        self._at: dict[PurePath, str] = {}
        self._above: dict[PurePath, str] = {}
        for each in kept:
            self.add(each)

    def add(self, kept: Kept) -> None:
        """Take one more place."""
        self._at.setdefault(kept.path, kept.what)
        for folder in kept.path.parents:
            self._above.setdefault(folder, kept.what)

    def hindered_by(self, path: PurePath) -> str | None:
        """Return what a file at `path` would stand on, stand in, or need a folder of; or None."""
        found = self._at.get(path) or self._above.get(path)
        return found or next((what for p in path.parents if (what := self._at.get(p))), None)


def off_limits(lab: Lab, places: Places) -> Iterator[Kept]:
    """Yield what the lab and keyturn work with, but for the age identities.

    Args:
        lab: The lab; its own [[files]] are not among them.
        places: This machine's homes.
    """
    yield Kept(lab.file, "the lab file itself")
    yield Kept(lab.root / RULES, "what says who can decrypt")
    yield Kept(lab.root / "templates", "where the lab's templates are")
    for spec in lab.secrets.values():
        for ref in spec.sources:
            if ref.scheme in ("sops", "file"):
                place = ref.place.replace("~", str(places.home), ref.place.startswith("~/"))
                yield Kept(lab.root / place, f"where {spec.name} is read from")
    for folder in (places.state, places.cache):
        yield Kept(folder / "keyturn", "where keyturn keeps its own files")
    yield Kept(places.default_lab, "what names the default lab")
    yield Kept(places.venv, "the gateway's own environment")
    for kind in ("systemd", "supervisor"):
        for target in targets(replace(lab, files=()), places, kind):
            yield Kept(target.path, f"a file that keyturn writes anyway ({target.name})")
