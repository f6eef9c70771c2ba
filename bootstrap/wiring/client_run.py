"""One supervised run of a client: its private file, its own key, and their end."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import PurePath

from bootstrap.adapters.aftermath import afterwards
from bootstrap.adapters.entropy import new_key
from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.lock import lab_lock
from bootstrap.adapters.machine import SystemClock, other_labs, places
from bootstrap.adapters.runtime_file import RuntimeFile, runtime_folder
from bootstrap.adapters.supervised import end_like, with_secrets
from bootstrap.adapters.supervised import supervise as run_to_its_end
from bootstrap.domain.claims import highest_claims, way_on
from bootstrap.domain.client import Preset
from bootstrap.domain.droid_run import run_settings
from bootstrap.domain.errors import ConfigError, UsageError
from bootstrap.domain.lab import Lab, Model
from bootstrap.domain.secret import Secret
from bootstrap.domain.targets import KEYSET, targets
from bootstrap.workflows.client_keys import KeyDesk, issue, revoke

Run = Callable[[Sequence[str], Mapping[str, str], tuple[Secret, ...]], int]


def key_desk(lab: Lab, *, wait_s: float) -> KeyDesk:
    """Return what issues and revokes the lab's client keys on this machine.

    Args:
        lab: The lab.
        wait_s: How long to wait for another keyturn, in seconds.

    Raises:
        UsageError: The lab does without the guard, and so without client keys.
        ConfigError: Another lab of this home answers for the keyset.
    """
    here = places()
    path = next((t.path for t in targets(lab, here, "supervisor") if t.name == KEYSET), None)
    if path is None:
        raise UsageError(
            "this lab has no client keys",
            why='auth = "master-key" in lab.toml leaves the check of keys to LiteLLM itself',
            fix='write auth = "guard" under [gateway], then: keyturn apply',
        )
    # The claims of all labs, our own, too.
    claim = highest_claims(other_labs(here.lab_state(lab.root).parent, PurePath("/"))).get(
        str(path)
    )
    if claim is not None and claim.lab != str(lab.root):
        raise ConfigError(
            "this lab's gateway is not the one in this home, so it has no client keys",
            why=f"the lab in {claim.lab} answers for {path}",
            fix=way_on(claim.lab, str(lab.root)),
        )

    def lock() -> AbstractContextManager[None]:
        return lab_lock(here.lab_state(lab.root), wait_s)

    return KeyDesk(path, LocalFiles(), SystemClock(), new_key, lock)


class Supervision:
    """Runs the program with a private file and a key of its own, and takes both away afterwards.

    Args:
        preset: The client's.
        gateway: The base URL.
        models: What the client lists, and its own key is good for.
        model: The one it uses unless told otherwise.
        desk: What issues and what revokes its own key; None where it has the lab's.
    """

    def __init__(
        self,
        preset: Preset,
        gateway: str,
        models: tuple[Model, ...],
        model: str | None,
        desk: tuple[KeyDesk, KeyDesk] | None,
    ) -> None:
        self._preset = preset
        self._gateway = gateway
        self._models = models
        self._model = model
        self._desk = desk

    def __call__(
        self, argv: Sequence[str], environment: Mapping[str, str], run: Run = run_to_its_end
    ) -> int:
        """Run it; see `Prepared.supervise`."""
        file = self._settings()
        key = new_key()
        name = f"{self._preset.name}-{key.fingerprint()}"

        def tidy() -> None:
            if file is not None:
                file.remove()
            if self._desk is not None:
                revoke(self._desk[1], name)

        with afterwards(tidy):
            whole: Mapping[str, str] = environment
            issued: tuple[Secret, ...] = ()
            if file is not None:
                whole = {**whole, self._preset.settings or "": str(file.path)}
            if self._desk is not None:
                aliases = [model.alias for model in self._models]
                issue(self._desk[0], name, aliases, self._preset.ttl_s, secret=key)
                whole = with_secrets(whole, dict.fromkeys(self._preset.key, key))
                issued = (key,)
            status = run(argv, whole, issued)
        return end_like(status)

    def _settings(self) -> RuntimeFile | None:
        if self._preset.settings is None:
            return None
        default = self._model or self._models[0].alias
        content = run_settings(self._models, self._gateway, self._preset.key[0], default)
        folder = runtime_folder(os.environ, places().state)
        return RuntimeFile(folder, self._preset.name, content)
