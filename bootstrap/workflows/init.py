"""Make a lab: lab file, age identity, encrypted store with fresh keys. Never overwrites."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

from bootstrap.domain.catalogue import FILE
from bootstrap.domain.content import Content, Write
from bootstrap.domain.errors import ConfigError, UsageError
from bootstrap.domain.lab import LITELLM_VERSION, Lab
from bootstrap.domain.lab_sample import ATTRIBUTES, IGNORED, LAB, SOPS_RULES, missing_lines
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.off_limits import RULES
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import GENERATED, INTERNAL_KEY, STORE
from bootstrap.domain.template import render
from bootstrap.ports import Files
from bootstrap.workflows.planning import watched
from bootstrap.workflows.tools import Templates


class Store(Protocol):
    """The encrypted store, as far as making a lab goes."""

    def document(self, place: str) -> Mapping[str, Secret]:
        """Return what the store holds; SecretError where it cannot be opened."""

    def create(self, place: str, secrets: Mapping[str, Secret]) -> None:
        """Encrypt a new store; refuses to overwrite one."""

    def write_many(self, place: str, secrets: Mapping[str, Secret]) -> None:
        """Add or replace values, all or nothing."""


@dataclass(frozen=True)
class Desk:
    """What making a lab needs from outside.

    Attributes:
        root: The lab's folder, absolute.
        files: The file system.
        templates: Template texts.
        store: The encrypted store.
        ensure_identity: Makes an age identity unless there is one: (recipient, created, path).
        new_key: Makes a fresh random key.
        keyturn: The absolute path of the keyturn program.
    """

    root: PurePath
    files: Files
    templates: Templates
    store: Store
    ensure_identity: Callable[[], tuple[str, bool, PurePath]]
    new_key: Callable[[], Secret]
    keyturn: str


@dataclass
class Made:
    """What `init` did, for the summary; never a value.

    Attributes:
        root: The lab's folder.
        created: Paths that are new, with what they are.
        kept: Paths that were there already.
        identity: The new age identity's path if one was made, to say loudly: back it up.
    """

    root: PurePath
    created: list[tuple[PurePath, str]] = field(default_factory=list)
    kept: list[PurePath] = field(default_factory=list)
    identity: PurePath | None = None


def init(
    desk: Desk,
    *,
    port: int | None = None,
    keys: Mapping[str, Secret] | None = None,
    version: str | None = None,
) -> Made:
    """Make what is missing of a lab at `desk.root`.

    Args:
        desk: The folder and what it takes.
        port: The gateway's port for a new lab file; default 4000.
        keys: Values to store instead of fresh ones, by name.
        version: The LiteLLM of a new lab file, where it is not the usual one.

    Raises:
        UsageError: `port` differs from that of a lab file which is there already.
        LabError: Something cannot be made; what was made before it stays, and the next run goes on.
    """
    made = Made(desk.root)
    lab = _lab_in_force(desk, port)
    names = _names_in_store(lab)
    there = desk.files.observe(desk.root / STORE) is not None
    if there and names:
        # Before anything is written: a fresh identity would not open it either.
        desk.store.document(STORE)
    _write_new(desk, made, FILE, _lab_text(port, version), "the lab")
    if names:
        if there and desk.files.observe(desk.root / RULES) is not None:
            made.kept.append(desk.root / RULES)
        else:
            _readers(desk, made)
        _store(desk, made, names, keys or {})
    _add_lines(desk, made, ".gitignore", IGNORED, "keep plaintext out of git")
    _add_lines(desk, made, ".gitattributes", ATTRIBUTES, "keep git from changing line ends in it")
    if lab.switches.envrc:
        _envrc(desk, made, lab)
    return made


def _lab_text(port: int | None, version: str | None = None) -> str:
    text = LAB.format(port=port or 4000, version=version or LITELLM_VERSION)
    return text if version is None else text.replace("# litellm_version", "litellm_version")


def _lab_in_force(desk: Desk, port: int | None) -> Lab:
    """Return the lab that is there, or the one that will be."""
    found = desk.files.observe(desk.root / FILE)
    if found is None:
        return parse_lab(_lab_text(port), desk.root)
    try:
        lab = parse_lab(found.content.data.decode(), desk.root, only="")
    except UnicodeDecodeError:
        raise ConfigError(
            f"{desk.root / FILE} is not text", why="it is not UTF-8", fix=f"edit {desk.root / FILE}"
        ) from None
    if port not in (None, lab.gateway.port):
        raise UsageError(
            f"this lab has port {lab.gateway.port}",
            why=f"{desk.root / FILE} says so, and init never overwrites",
            fix=f"edit gateway.port in {desk.root / FILE}, then: keyturn apply",
        )
    return lab


def _names_in_store(lab: Lab) -> tuple[str, ...]:
    """Return which of the gateway's own keys the lab reads from the encrypted store."""
    needed = [name for name in GENERATED if lab.guarded or name != INTERNAL_KEY]
    places = {
        name: [(ref.scheme, ref.place) for ref in lab.secrets[name].sources] for name in needed
    }
    return tuple(name for name, sources in places.items() if ("sops", STORE) in sources)


def _readers(desk: Desk, made: Made) -> None:
    recipient, created, identity = desk.ensure_identity()
    if created:
        made.identity = identity
        made.created.append((identity, "age identity (private)"))
    rules = SOPS_RULES.format(recipient=recipient, store=STORE)
    _write_new(desk, made, RULES, rules, "who can decrypt")


def _store(desk: Desk, made: Made, names: tuple[str, ...], given: Mapping[str, Secret]) -> None:
    def values(wanted: Sequence[str]) -> dict[str, Secret]:
        return {name: given.get(name) or desk.new_key() for name in wanted}

    path = desk.root / STORE
    if desk.files.observe(path) is None:
        desk.store.create(STORE, values(names))
        what = f"encrypted store with a fresh {_fresh(names, given)}"
        made.created.append((path, what))
        return
    missing = [name for name in names if name not in desk.store.document(STORE)]
    if missing:
        desk.store.write_many(STORE, values(missing))
        made.created.append((path, f"added a fresh {_fresh(missing, given)}"))
    else:
        made.kept.append(path)


def _fresh(names: Sequence[str], given: Mapping[str, Secret]) -> str:
    return " and ".join(f"{name}{' (yours)' if name in given else ''}" for name in names)


def _envrc(desk: Desk, made: Made, lab: Lab) -> None:
    context = {"keyturn": desk.keyturn, "names": lab.exec_names, "watch": watched(lab)}
    text = render(desk.templates.text("direnv/envrc.j2"), context, name="direnv/envrc.j2")
    _write_new(desk, made, ".envrc", text.data.decode(), "direnv: run `direnv allow`")


def _write_new(desk: Desk, made: Made, name: str, text: str, what: str) -> None:
    path = desk.root / name
    if desk.files.observe(path) is not None:
        made.kept.append(path)
        return
    desk.files.replace_all([Write(path, Content(text.encode()), 0o644, None)])
    made.created.append((path, what))


def _add_lines(desk: Desk, made: Made, name: str, wanted: tuple[str, ...], why: str) -> None:
    path = desk.root / name
    found = desk.files.observe(path)
    data = b"" if found is None else found.content.data
    missing = missing_lines(data.decode("utf-8", "replace"), wanted)
    if not missing:
        made.kept.append(path)
        return
    gap = b"" if not data or data.endswith(b"\n") else b"\n"
    content = Content(data + gap + "".join(f"{line}\n" for line in missing).encode())
    expected, mode = (None, 0o644) if found is None else (found.content.digest, found.mode)
    desk.files.replace_all([Write(path, content, mode, expected)])
    lines = "1 line to" if len(missing) == 1 else f"{len(missing)} lines to"
    made.created.append((path, f"{lines} {why}"))
