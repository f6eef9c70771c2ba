"""Look at a gateway that somebody set up by hand: what serves, with which key, from which files."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters.disk import read, resolved
from bootstrap.adapters.entropy import weakness_of
from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.listeners import LocalPorts
from bootstrap.adapters.machine import places
from bootstrap.adapters.old_gateway import (
    OldGateway,
    env_file,
    installed_by_hand,
    option,
    port_in,
    read_unit,
    run_by_keyturn,
    serving,
)
from bootstrap.adapters.scan_forms import too_short
from bootstrap.adapters.shell_keys import assigned, holds, with_reference, without_keys
from bootstrap.adapters.sops import SopsProvider
from bootstrap.adapters.systemd import SystemdService
from bootstrap.domain.droid_keys import gateway_keys, loopback_ports
from bootstrap.domain.errors import ConfigError, GatewayError, TargetError
from bootstrap.domain.found_keys import value_of
from bootstrap.domain.lab import ECHO_ALIAS, LITELLM_VERSION, Lab
from bootstrap.domain.lab_sample import LAB
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.litellm_read import read_catalogue, read_document, section
from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import DATABASE_URL, MASTER_KEY, SALT_KEY, STORE
from bootstrap.domain.targets import ENVRC, targets
from bootstrap.wiring import found_lab, labs
from bootstrap.workflows.adopt import Adoptee, Edit
from bootstrap.workflows.adopt_note import read_note

_HOLDERS = ("systemd/user", "environment.d", "fish")
_OURS = re.compile(rb"[Ww]ritten by `?keyturn")
_SHELL = (".bashrc", ".bash_profile", ".bash_aliases", ".profile", ".zshrc", ".zprofile", ".zshenv")
_USUAL_PORT = 4000
_CLIENT_VARIABLES = (MASTER_KEY, "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY")


class Survey:
    """One look at the machine.

    Args:
        root: The folder of the lab, there already or still to be.
        config: `--config`, or None.
        port: `--port`, or None.

    Raises:
        LabError: What is there cannot be read, or cannot be taken over.
    """

    def __init__(self, root: PurePath, config: Path | None, port: int | None) -> None:
        self.root = root
        self._here = places()
        self._files = LocalFiles()
        self._note = read_note(self._files, self._here.lab_state(root) / "adopted")
        self._lab = found_lab.load(root) if Path(root, "lab.toml").exists() else None
        argv, unit_variables, unit_files = self._unit()
        known = self._lab.gateway.port if self._lab else port_in(argv) or self._droid_port()
        self.port = port or known or _USUAL_PORT
        self.url = f"http://127.0.0.1:{self.port}"
        self._old = self._serving()
        named = os.path.expanduser(config or "")  # noqa: PTH111 - never raises
        given = None if config is None else found_lab.working_directory() / named
        self.config = self._config(given, argv)
        sources: list[Mapping[str, str]] = [self._old.environ if self._old else {}, unit_variables]
        sources += [env_file(path) for path in (*unit_files, self._here.env_file)]
        self._variables = [*sources, os.environ]
        data = self._data(self.config) if self.config else None
        name = str(self.config)
        self._document: dict[str, Any] = read_document(data, name) if data else {}
        self.key, self.key_from, self.accepted = self._key()
        self.keys = {MASTER_KEY: self.key} if self.key is not None else {}
        if salt := self.lookup(SALT_KEY):
            self.keys[SALT_KEY] = Secret(salt)
        self._refuse_database()
        self._refuse_other_key()
        there = self.config is not None and self._document
        self._found = read_catalogue(self._document, name, self.lookup) if there else None
        literals = self._found.literals if self._found else ()
        self._provider_keys = [key for key in literals if not too_short(key)]

    def adoptee(self) -> Adoptee:
        """Return what was found."""
        found = self._found
        version = None if self._lab else installed_by_hand(Path(self._here.venv))
        return Adoptee(
            root=self.root,
            port=self.port,
            keys=self.keys,
            key_from=self.key_from,
            accepted=self.accepted,
            weakness=None if self.key is None else weakness_of(self.key),
            config=self.config,
            found=found,
            old=self._old,
            edits=tuple(self._edits()),
            targets=tuple(path for path in self._targets() if self._is_foreign(path)),
            version=version if version != LITELLM_VERSION else None,
            envrc=self._is_foreign(self.root / ".envrc"),
            claude=self._holds(self._here.claude / "settings.json"),
            unfinished=self._note is not None,
            serves_none=found is not None and found.lost and not _serves(self._lab),
        )

    def lookup(self, name: str) -> str | None:
        """Return a variable as the gateway has it."""
        return next((found[name] for found in self._variables if found.get(name)), None)

    def holders(self) -> list[PurePath]:
        """Return the files of the usual places in which one of the keys stands."""
        here, factory = self._here, self._here.factory
        folders = [here.litellm, here.env_file.parent, factory, factory / "config.d", self.root]
        folders += [here.claude, *(here.config / n for n in _HOLDERS)]
        paths = [PurePath(path) for folder in folders for path in Path(folder).glob("*")]
        paths += [*self._shell_files(), *filter(None, [self.config])]
        return [path for path in dict.fromkeys(paths) if self._holds(path, self._provider_keys)]

    def _unit(self) -> tuple[tuple[str, ...], dict[str, str], list[PurePath]]:
        data = self._data(self._here.config / "systemd" / "user" / labs.UNIT)
        if data is None or _OURS.search(data):
            return (), {}, []
        return read_unit(data.decode("utf-8", "replace"), str(self._here.home))

    def _droid_port(self) -> int | None:
        """Return a port that droid's entries name and somebody listens on, or None."""
        factory = self._here.factory
        files = [self._data(factory / name) or b"" for name in ("settings.json", "config.json")]
        ports = (port for data in files for port in loopback_ports(data))
        return next((port for port in ports if LocalPorts().listener(port)), None)

    def _serving(self) -> OldGateway | None:
        """Return the gateway on the port, unless it is keyturn's."""
        old = serving(self.port)
        if old is None or self._is_ours(old.config) or run_by_keyturn(self.port):
            return None
        alive = HttpGateway(self.url).alive().is_gateway
        if run_by_keyturn(self.port):  # a held socket started it when it was asked
            return None
        if not alive:
            raise GatewayError(
                f"port {self.port} is taken",
                why="what listens there does not answer like LiteLLM",
                fix="name the port of your gateway: --port",
            )
        return old

    def _config(self, given: PurePath | None, argv: tuple[str, ...]) -> PurePath | None:
        """Return the config to read: as named, as used, as the unit says, or at the usual place."""
        if given is not None:
            if self._data(given) is None:
                why = "nothing stands there, or no file, or one that we may not read"
                raise ConfigError(f"there is no file {given}", why=why, fix="correct --config")
            return given
        used = self._old.config if self._old else None
        named = option(argv, "--config")
        noted = self._note.config if self._note else None  # of a process that is gone
        usual = self._here.litellm / "config.yaml"
        candidates = [used, PurePath(named) if named else None, noted, usual]
        there = (path for path in candidates if path is not None and self._data(path) is not None)
        found = next(there, None)
        return None if self._is_ours(found) else found

    def _key(self) -> tuple[Secret | None, str, bool | None]:
        """Return the key in force, where it was found, and whether the gateway accepts it."""
        candidates = self._candidates()
        if self._old is not None:
            gateway = HttpGateway(self.url)
            for where, key in candidates:
                if verdict(gateway.models(key), with_key=True) is Verdict.ACCEPTED:
                    return key, where, True
        stored = self._stored() if self._note and self._old is None else None
        if stored is not None:  # the gateway that told which one counts was stopped
            return stored, STORE, None
        if not candidates:
            return None, "", None
        where, key = candidates[0]
        return key, where, None if self._old is None else False

    def _candidates(self) -> list[tuple[str, Secret]]:
        general = section(self._document, "general_settings")
        key = value_of(general.get("master_key"), self.lookup)
        rows = [] if key is None or key.value is None else [(str(self.config), key.value)]
        if named := self.lookup(MASTER_KEY):
            rows.append((f"the variable {MASTER_KEY}", Secret(named)))
        factory = self._here.factory
        for path in (factory / "settings.json", factory / "config.json"):
            data = self._data(path) or b""
            rows += [(str(path), key) for key in gateway_keys(data, self.url)]
        for path in self._shell_files():
            data = self._data(path) or b""
            rows += [(str(path), key) for key in assigned(data, _CLIENT_VARIABLES[:2])]
        return [*rows, *([(STORE, stored)] if (stored := self._stored()) is not None else [])]

    def _stored(self) -> Secret | None:
        return SopsProvider(self.root).document(STORE).get(MASTER_KEY)

    def _refuse_database(self) -> None:
        named = section(self._document, "general_settings").get("database_url")
        if named or (self._old is not None and self._old.environ.get(DATABASE_URL)):
            raise ConfigError(
                f"the gateway on port {self.port} has a database",
                why="keyturn's has none, so its keys, users and models would be lost",
                fix="take it out of the config if you do not need it, or keep that gateway",
            )

    def _refuse_other_key(self) -> None:
        stored = self._stored()
        if stored is None or self.key is None or stored == self.key:
            return
        raise ConfigError(
            f"two keys claim to be {MASTER_KEY}",
            why=f"{self.key_from} has another one than {self.root / STORE}",
            fix=f"settle which one counts: sops edit {self.root / STORE}, or correct that place",
        )

    def _edits(self) -> list[Edit]:
        """Return what is to be done to the files that are not keyturn's and hold a key."""

        def ask(name: str) -> str:
            return shlex.join([found_lab.keyturn_program(), "get", name, "--lab", str(self.root)])

        commands = {name: (secret, ask(name)) for name, secret in self.keys.items()}
        rows = [
            Edit(path, "a command that asks keyturn for it", lambda d: without_keys(d, commands))
            for path in self._shell_files()
        ]
        droid = {name: (secret, f"${{{name}}}") for name, secret in self.keys.items()}
        overlays = sorted(Path(self._here.factory / "config.d").glob("*.json"))
        local = PurePath(self._here.factory / "settings.local.json")
        rows += [
            Edit(PurePath(p), f"${{{MASTER_KEY}}}", lambda d: with_reference(d, droid))
            for p in (*overlays, local)
        ]
        if self.config is not None:
            rows.append(Edit(self.config, "os.environ/NAME", self._with_names))
        units = Path(self._here.config / "systemd" / "user")
        gone = {name: (secret, "removed-by-keyturn") for name, secret in self.keys.items()}
        rows += [
            Edit(PurePath(p), "removed", lambda d: with_reference(d, gone))
            for p in sorted([*units.glob("*.service"), *units.glob("*.service.d/*.conf")])
        ]
        written = set(self._targets())
        more = {self.config: self._provider_keys}
        there = (row for row in rows if self._holds(row.path, more.get(row.path, ())))
        return [row for row in there if row.path not in written]

    def _with_names(self, data: bytes) -> bytes:
        """Return the config with the names, once they are in the store, of the keys in it."""
        moved = [*self._provider_keys, *self.keys.values()]
        stored = {**SopsProvider(self.root).document(STORE), **self.keys}
        names = {n: (key, f"os.environ/{n}") for n, key in stored.items() if key in moved}
        return with_reference(data, names)

    def _shell_files(self) -> list[PurePath]:
        found = (self._here.home / name for name in (*_SHELL, ".envrc"))
        return list(dict.fromkeys([*found, self.root / ".envrc"]))

    def _targets(self) -> list[PurePath]:
        """Return the files that keyturn will write; an .envrc that is there stays."""
        sample = LAB.format(port=_USUAL_PORT, version=LITELLM_VERSION)
        lab = self._lab or parse_lab(sample, self.root)
        kind = "supervisor" if SystemdService.available() else "systemd"
        keeps = self._is_foreign(self.root / ".envrc")
        rows = targets(lab, self._here, kind)
        return [t.path for t in rows if not (keeps and t.name == ENVRC)]

    def _is_foreign(self, path: PurePath) -> bool:
        return (data := self._data(path)) is not None and not _OURS.search(data)

    def _is_ours(self, path: PurePath | None) -> bool:
        return bool(path and _OURS.search(self._data(path) or b""))

    def _holds(self, path: PurePath, more: Iterable[Secret] = ()) -> bool:
        return holds(self._data(path) or b"", [*self.keys.values(), *more])

    def _data(self, path: PurePath) -> bytes | None:
        """Return the bytes of a regular file; None for anything else, or what cannot be read."""
        try:
            found = read(path, resolved(path))
            return found[0] if found else None
        except (OSError, TargetError):
            return None


def _serves(lab: Lab | None) -> bool:
    """Tell whether the lab has a model of its own."""
    return lab is not None and any(model.alias != ECHO_ALIAS for model in lab.models)
