"""What stands in a client's files, what it answers, and what it answered last time."""

import dataclasses
import errno
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any

from bootstrap.adapters.dotenv import read_env_file
from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.json_file import JsonFile
from bootstrap.adapters.process import run
from bootstrap.domain.client import ClientFile
from bootstrap.domain.droid_keys import gateway_keys
from bootstrap.domain.errors import TargetError
from bootstrap.domain.key_paths import value_at
from bootstrap.domain.secret import Secret
from bootstrap.domain.sighting import Sighting

_LIMIT_S = 60.0
# A variable that names another gateway or another key would make the probe prove nothing.
_FOREIGN = ("ANTHROPIC_", "OPENAI_", "FACTORY_", "CLAUDE_CODE_")


def keys_in(file: ClientFile, path: PurePath, gateway_url: str) -> tuple[Secret, ...] | None:
    """Return the literal keys for the gateway in a client's file; None where there is no file.

    Args:
        file: Which file of the client's it is.
        path: Where it stands.
        gateway_url: The gateway's base URL.
    """
    found = LocalFiles().observe(path)
    if found is None:
        return None
    if file.check == "droid":
        return gateway_keys(found.content.data, gateway_url)
    if file.check == "env":
        try:
            values = read_env_file(path)
        except TargetError:
            return ()
        held = (values.get(name) for name in file.key_at)
        return tuple(value for value in held if isinstance(value, Secret))
    texts = (value_at(file.check, found.content.data, place) for place in file.key_at)
    return tuple(Secret(text) for text in texts if isinstance(text, str) and text)


def ask(
    argv: tuple[str, ...],
    variables: Mapping[str, str],
    key: tuple[str, Secret] | None,
    hidden: Collection[str] = (),
) -> tuple[int, str] | str:
    """Run a client in an empty folder; return its status and output, or why it did not run.

    Args:
        argv: The program and its question.
        variables: What it needs in its environment.
        key: The variable that carries the key, and the key; None where a file has it.
        hidden: Variables of ours that are none of its business.
    """
    ours = ((n, v) for n, v in os.environ.items() if n not in hidden)
    environment = {n: v for n, v in ours if not n.startswith(_FOREIGN)}
    environment |= {**variables, "NO_PROXY": "127.0.0.1,localhost,::1"}
    environment["CLAUDE_CODE_MAX_RETRIES"] = "0"
    for name in ("CLAUDE_CONFIG_DIR", "FACTORY_HOME_OVERRIDE"):  # where its files are
        environment |= {name: os.environ[name]} if name in os.environ else {}
    if key is not None:
        environment[key[0]] = key[1].reveal()
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = run(argv, env=environment, cwd=empty, timeout_s=_LIMIT_S)
        except TimeoutError:
            return f"no answer within {_LIMIT_S:.0f} s"
        except OSError as error:
            if error.errno == errno.EFBIG:
                return "it prints without an end"
            return f"it cannot be run ({type(error).__name__})"
    return done.returncode, done.stdout.decode(errors="replace")


class ProbeMemory:
    """What probes saw, in `clients.json` of the lab's state folder.

    Args:
        folder: The lab's state folder.
    """

    def __init__(self, folder: PurePath) -> None:
        self._file = JsonFile(folder / "clients.json")

    def load(self) -> dict[str, Sighting]:
        """Return it by client; empty where there is nothing, or it does not parse."""
        rows: Any = self._file.load() or {}
        try:
            return {name: Sighting(**row) for name, row in rows.items()}
        except (ValueError, TypeError, AttributeError):
            return {}

    def save(self, seen: Mapping[str, Sighting]) -> None:
        """Replace it, all or nothing."""
        self._file.save({name: dataclasses.asdict(row) for name, row in seen.items()})
