"""What was rendered in this process: a rotation plans with either key several times over."""

from dataclasses import dataclass, field

from bootstrap.domain.content import Content

# By target name: what it was made from beside the basis, and what came of it.
Made = dict[str, tuple[object, Content]]
_MOST = 4  # two keys of a rotation, what depends on none, and one more


@dataclass(frozen=True)
class Rendered:
    """Rendered and validated targets.

    Attributes:
        known: (what all of them were made from, the targets), the last ones.
    """

    known: list[tuple[object, Made]] = field(default_factory=list)

    def of(self, basis: object) -> Made:
        """Return what was made from an equal `basis`, to look into and to add to."""
        for made_from, made in self.known:
            if made_from == basis:
                return made
        self.known.insert(0, (basis, {}))
        del self.known[_MOST:]
        return self.known[0][1]
