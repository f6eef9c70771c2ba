"""Read a parsed TOML table; every complaint names the key path, and suggests what was meant.

`Table` hands out values by expected type, remembers which keys were asked for, and `finish()`
refuses what is left over, so a misspelt key is never silently ignored. Values are quoted in no
message: a key pasted into the wrong place must not reach a log.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bootstrap.domain.errors import ConfigError

_NAMES = {
    str: "a text in quotes",
    bool: "true or false",
    int: "a whole number",
    list: "a list in [ ]",
    dict: "a table",
}


class Table:
    """A TOML table with its key path.

    Args:
        values: What tomllib parsed.
        path: Its key path, for example `backends.ollama`; empty for the whole file.
        file: The file's name, for messages.
    """

    def __init__(self, values: Mapping[str, Any], path: str, file: str) -> None:
        self._values = values
        self._path = path
        self._file = file
        self._asked: dict[str, None] = {}

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty."""
        found = self._get(key, str, default)
        if not found or not found.strip():
            raise self.error(key, "it is empty or missing", f"give {key} a text in quotes")
        return str(found)

    def optional_text(self, key: str) -> str | None:
        """Return a text that is not empty, or None where the key is absent."""
        self._asked[key] = None
        return self.text(key) if key in self._values else None

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        return bool(self._get(key, bool, default))

    def number(self, key: str, default: int | None, low: int, high: int) -> int | None:
        """Return a whole number within [low, high], or `default` where the key is absent."""
        found = self._get(key, int, default)
        if found is not None and not low <= found <= high:
            raise self.error(key, f"it is not between {low} and {high}", f"choose {low} to {high}")
        return found if found is None else int(found)

    def choice(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        """Return one of `allowed`."""
        options = tuple(allowed)
        found = self.text(key, default)
        if found not in options:
            raise self.error(
                key, f"it is not one of {', '.join(options)}", did_you_mean(found, options)
            )
        return found

    def texts(self, key: str, default: Iterable[str] = ()) -> tuple[str, ...]:
        """Return a list of texts."""
        found = self._get(key, list, list(default))
        for item in found or ():
            if not isinstance(item, str) or not item:
                raise self.error(key, "its items are not all texts", 'write ["a", "b"]')
        return tuple(found or ())

    def table(self, key: str) -> "Table":
        """Return the table under `key`; an empty one where the key is absent."""
        return Table(self._get(key, dict, {}) or {}, self.path_of(key), self._file)

    def named_tables(self, key: str) -> Iterator[tuple[str, "Table"]]:
        """Yield (name, table) for each table under `key`."""
        outer = self.table(key)
        for name in outer._values:
            yield name, Table(outer._get(name, dict, {}) or {}, outer.path_of(name), self._file)

    def table_list(self, key: str) -> Iterator["Table"]:
        """Yield each table of an array of tables (`[[key]]`)."""
        found = self._get(key, list, [])
        for number, item in enumerate(found or ()):
            path = f"{self.path_of(key)}[{number}]"
            if not isinstance(item, dict):
                raise self.error(key, "its items are not tables", f"write [[{key}]]")
            yield Table(item, path, self._file)

    def rest(self) -> dict[str, Any]:
        """Return every value as parsed, and count all keys as known."""
        self._asked.update(dict.fromkeys(self._values))
        return dict(self._values)

    def keys(self) -> tuple[str, ...]:
        """Return the keys that stand in the table, and count them as known."""
        self._asked.update(dict.fromkeys(self._values))
        return tuple(self._values)

    def finish(self) -> None:
        """Refuse keys that nobody asked for.

        Raises:
            ConfigError: There is one; says which known key it resembles.
        """
        for key in self._values:
            if key not in self._asked:
                raise self.error(key, "there is no such key", did_you_mean(key, self._asked))

    def path_of(self, key: str) -> str:
        """Return the key path of `key` in this table."""
        shown = key if key.replace("_", "").replace("-", "").isalnum() else f'"{key}"'
        return f"{self._path}.{shown}" if self._path else shown

    def error(self, key: str, why: str, fix: str) -> ConfigError:
        """Return a complaint about `key` of this table."""
        return ConfigError(f"{self._file}: {self.path_of(key)}", why=why, fix=fix)

    def _get(self, key: str, kind: type, default: Any) -> Any:
        self._asked[key] = None
        if key not in self._values:
            return default
        found = self._values[key]
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise self.error(key, f"it is not {_NAMES[kind]}", f"give {key} {_NAMES[kind]}")
        return found


def suggestion(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known word that `wrong` most resembles, or None."""
    import difflib

    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a fix that names the resembling word, or all of them."""
    options = tuple(known)
    close = suggestion(wrong, options)
    return f"did you mean {close}?" if close else f"use one of: {', '.join(sorted(options))}"
