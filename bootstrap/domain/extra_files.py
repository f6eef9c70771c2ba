"""Files of the user's own (`[[files]]`) that are rendered, proven and rotated like every other."""

from dataclasses import dataclass
from pathlib import PurePath

from bootstrap.domain.table import Table

# How a file is checked before it is written, by the end of its name; others are not.
_CHECKS = {".env": "env", ".json": "json"}


@dataclass(frozen=True)
class ExtraFile:
    """One file.

    Attributes:
        path: Where it stands: absolute, or `~/…`.
        template: Its name under the lab's `templates/`.
    """

    path: str
    template: str

    @property
    def check(self) -> str:
        """Which validation it must pass: a key of `bootstrap.domain.validate`."""
        return _CHECKS.get(PurePath(self.path).suffix, "text")

    def place(self, home: PurePath) -> PurePath:
        """Return where it stands for the user whose home is `home`."""
        return home / self.path[2:] if self.path.startswith("~/") else PurePath(self.path)


def parse_files(top: Table) -> tuple[ExtraFile, ...]:
    """Return [[files]] in the file's order; ConfigError names what is wrong."""
    found: dict[str, ExtraFile] = {}
    for table in top.table_list("files"):
        file = ExtraFile(table.text("path"), table.text("template"))
        table.finish()
        if not file.path.startswith(("/", "~/")) or not _plain(file.path):
            why = "it is no absolute path of a file, without '.', '..', '//' or odd characters"
            raise table.error("path", why, 'write "~/.config/tool/tool.env"')
        if file.template.startswith("/") or not _plain(file.template):
            why = "it is no name under the lab's templates/"
            raise table.error("template", why, 'write "tool.env.j2"')
        if file.path in found:
            raise table.error("path", "it stands there twice", "remove one of them")
        found[file.path] = file
    return tuple(found.values())


def _plain(path: str) -> bool:
    """Tell whether a path says where it leads: no `..`, no doubled slash, nothing unprintable."""
    parts = path.removeprefix("/").split("/")
    return all(part not in ("", ".", "..") for part in parts) and path.isprintable()
