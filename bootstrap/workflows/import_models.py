"""Add the models of another catalogue to lab.toml, and their keys to the encrypted store."""

from dataclasses import dataclass, field
from pathlib import PurePath

from bootstrap.domain.catalogue import FILE
from bootstrap.domain.content import Content, Write
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.found_models import Found
from bootstrap.domain.lab_additions import Additions, additions, appended
from bootstrap.domain.labfile import parse_toml
from bootstrap.domain.secret_spec import STORE
from bootstrap.ports import Files
from bootstrap.workflows.init import Store


@dataclass(frozen=True)
class Import:
    """An import that is ready to be carried out.

    Attributes:
        root: The lab's folder.
        additions: What is new, for people.
        write: The new lab.toml, or None where nothing is new.
    """

    root: PurePath
    additions: Additions
    write: Write | None = field(repr=False)


def plan_import(
    files: Files, store: Store, root: PurePath, found: Found, *, extra: str = ""
) -> Import:
    """Return what importing a catalogue would add. Changes nothing.

    Args:
        files: The file system.
        store: The encrypted store.
        root: The lab's folder.
        found: The other catalogue.
        extra: Further tables for lab.toml, added once where it does not have them.

    Raises:
        LabError: lab.toml is missing, malformed or cannot be added to; the store cannot be opened.
    """
    path = root / FILE
    state = files.observe(path)
    if state is None:
        why, fix = f"there is no {path}", "make a lab first: keyturn init"
        raise ConfigError("nothing can be imported", why=why, fix=fix)
    try:
        text = state.content.data.decode()
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} is not text", why="it is not UTF-8", fix=f"edit {path}"
        ) from None
    more = additions(text, root, found, store.document(STORE))
    if extra and any(table in parse_toml(text) for table in parse_toml(extra)):
        extra = ""
    both = "\n".join(part for part in (more.text, extra) if part)
    if not both:
        return Import(root, more, None)
    content = Content(appended(text, both, root).encode())
    return Import(root, more, Write(path, content, state.mode, state.content.digest))


def carry_out(files: Files, store: Store, ready: Import) -> None:
    """Store the keys, then write lab.toml: a name in it never stands for nothing.

    Raises:
        LabError: Something could not be written; lab.toml is as before.
    """
    if ready.additions.store:
        store.write_many(STORE, ready.additions.store)
    if ready.write is not None:
        files.replace_all([ready.write])
