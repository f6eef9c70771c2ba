"""A small JSON file of our own, kept between runs: losing it costs a question or an answer."""

import json
from contextlib import suppress
from pathlib import PurePath

from bootstrap.adapters.files import LocalFiles
from bootstrap.domain.content import Content, Write
from bootstrap.domain.errors import TargetError


class JsonFile:
    """Reads and replaces one.

    Args:
        path: Where it is; the folder is made when something is saved.
    """

    def __init__(self, path: PurePath) -> None:
        self._path = path
        self._files = LocalFiles()

    def load(self) -> object:
        """Return what was saved; None where there is nothing, or it cannot be read."""
        with suppress(TargetError, ValueError, RecursionError):
            found = self._files.observe(self._path)
            return json.loads(found.content.data) if found else None
        return None

    def save(self, document: object) -> None:
        """Replace what was saved, all or nothing; no write where nothing changed.

        Raises:
            TargetError: It cannot be written.
        """
        data = json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
        found = self._files.observe(self._path)
        if found is None or found.content.data != data:
            self._files.replace_all([Write.over(found, self._path, Content(data), 0o600)])
