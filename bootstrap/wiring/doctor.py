"""What `keyturn doctor` looks at, and with which adapters."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters import machine, process
from bootstrap.adapters.doctor_backends import observe_backends
from bootstrap.adapters.doctor_claude import observe_claude
from bootstrap.adapters.doctor_droid import observe_droid
from bootstrap.adapters.doctor_gateway import observe_fading, observe_issued, observe_served
from bootstrap.adapters.doctor_keyring import ANSWER_S, observe_keyring
from bootstrap.adapters.doctor_litellm import observe_answers, observe_litellm
from bootstrap.adapters.doctor_others import observe_others
from bootstrap.adapters.doctor_secrets import observe_secrets
from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.fix_log import FolderFixLog, written_out
from bootstrap.adapters.gathering import Late, Observer, Scene, gather, once
from bootstrap.adapters.keyring import KeyringProvider
from bootstrap.adapters.lock import lab_lock
from bootstrap.adapters.machine import JsonState
from bootstrap.adapters.patience import give_up_what_runs, waiting_once
from bootstrap.domain.claims import of_others
from bootstrap.domain.doctor.facts import Problem
from bootstrap.domain.doctor.groups import GROUPS
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.errors import LabError, SecretError
from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.wiring import client_versions, found_lab, labs
from bootstrap.wiring.client_packages import BrokenPackageError, ClientPackages
from bootstrap.wiring.providers import Providers
from bootstrap.workflows.doctor import DoctorTools
from bootstrap.workflows.resolve import Resolver


def _litellm(scene: Scene) -> object:
    if scene.lab is None:
        return None
    root = scene.lab.root
    state, others = JsonState(scene.places.lab_state(root)).load(), _of_others(scene.places, root)
    rows = state.get("targets", {}).items()
    ours = {name: row for name, row in rows if row.get("path") not in others}
    service = labs.service(scene.lab, scene.places)
    return observe_litellm(scene, scene.lab, service, {**state, "targets": ours})


def _secrets(scene: Scene) -> object:
    def survey(name: str) -> Sequence[tuple[SecretRef, Secret | None, str]]:
        return resolver.survey(name) if resolver else ()

    resolver = _resolver(scene.lab) if scene.lab else None
    return observe_secrets(scene, survey)


def _resolver(lab: Lab) -> Resolver:
    """Return what asks the lab's sources, a keyring for no longer than doctor has."""
    keyring = KeyringProvider(lab.root, timeout_s=ANSWER_S)
    return Resolver(lab.secrets, Providers(lab.root, {keyring.scheme: keyring}))


def _backends(scene: Scene) -> object:
    lab = scene.lab
    return None if lab is None else observe_backends(scene, lambda n: _ask(lab, n))


def _ask(lab: Lab, name: str) -> Secret:
    return _resolver(lab).resolve(name).secret


def _others(scene: Scene) -> object:
    asked = client_versions.versions(scene.places, _VERSION_S)
    return observe_others(scene, asked, _broken_packages)


def _broken_packages() -> list[Problem]:
    packages = ClientPackages()
    errors = packages.problems(packages.names())
    return [Problem(f"{error.what}: {error.why}", error.fix) for error in errors]


# Field of Observations -> what looks at it. Each runs in a thread of its own.
OBSERVERS: Mapping[str, Observer] = {
    "issued": observe_issued,
    "fading": observe_fading,
    "served": observe_served,
    "droid": observe_droid,
    "claude": observe_claude,
    "answers": observe_answers,
    "litellm": _litellm,
    "secrets": _secrets,
    "keyring": observe_keyring,
    "backends": _backends,
    "others": _others,
}
# What others answer. No fix changes that, so that one answer holds as long as the key does, and
# lab.toml, which a person may edit meanwhile.
_ASKED_ONCE = ("answers", "served", "backends")
# What depends on the way in which a client gets its key, and so perhaps on its version.
_SETTLED = ("litellm", "others")
_LIMIT_S = 4.2
# Two of them that do not answer leave time for the rest.
_VERSION_S = 1.5
_DEEP_LIMIT_S = 60.0
_COMMAND_S = 20.0


def tools(given: str | None, *, deep: bool = False) -> DoctorTools:
    """Return what doctor works with; a lab that is missing or broken does not stop it.

    Args:
        given: `--lab`, or None.
        deep: Look at what takes more than a moment, too.

    Raises:
        ConfigError: There is no home.
    """
    places = machine.places()
    root = _root(given)
    state = places.state / "keyturn"
    return DoctorTools(
        groups=GROUPS,
        observe=_Looks(given, places, deep=deep),
        files=LocalFiles(),
        log=FolderFixLog(state / "doctor"),
        fill=written_out,
        known=labs.known,
        run=_run,
        lock=partial(_lock, state / "doctor", places.lab_state(root) if root else None),
        of_others=partial(_of_others, places, root),
    )


def _of_others(places: Places, root: PurePath | None) -> Mapping[str, str]:
    own = JsonState(places.lab_state(root)).load() if root else {}
    where = root or places.home
    return of_others(machine.other_labs(places.lab_state(where).parent, where), own)


def _root(given: str | None) -> PurePath | None:
    try:
        return found_lab.locate(given)
    except LabError:
        return None


@contextmanager
def _lock(log: PurePath, lab: PurePath | None) -> Iterator[None]:
    """Keep every keyturn away from the lab, and the doctor of any other lab from this home.

    What hangs is waited for once, and not at each look.
    """
    with lab_lock(log), nullcontext() if lab is None else lab_lock(lab), waiting_once():
        yield


def _run(argv: Sequence[str]) -> bool:
    try:
        return process.run(argv, timeout_s=_COMMAND_S).returncode == 0
    except OSError:
        return False


class _Looks:
    """Looks at everything. A further look asks nothing again that no fix can have changed.

    Args:
        given: `--lab`, or None.
        places: The homes.
        deep: Look at what takes more than a moment, too.
    """

    def __init__(self, given: str | None, places: Places, *, deep: bool) -> None:
        self._given, self._places, self._deep = given, places, deep
        self._before: Observations | None = None
        self._late: dict[str, Problem] = {}

    def __call__(self) -> Observations:
        """Look, and go on with what was seen before where that still holds."""
        lab, problem = _lab(self._given)
        key = once(partial(_key, lab, self._late.get("key")))
        scene = Scene(self._places, _cwd(), dict(os.environ), lab, key, self._deep)
        settled = once(partial(_settled, lab, self._places))
        tasks: dict[str, Callable[[], object]] = {
            name: partial(self._look, name, scene, settled)
            for name in OBSERVERS
            if name not in self._late
        }
        limit_s = _DEEP_LIMIT_S if self._deep else _LIMIT_S
        seen, problems = gather({"lab": settled, "key": key, **tasks}, limit_s)
        give_up_what_runs()
        problems.pop("lab", None)  # its version is then as good as unknown
        problems = {**problems, **self._late}
        self._late = {name: late for name, late in problems.items() if isinstance(late, Late)}
        fields: dict[str, Any] = {"lab": lab, **seen}
        self._before = Observations(
            places=self._places,
            cwd=scene.cwd,
            keyturn=found_lab.keyturn_program(),
            environment=scene.environment,
            problems={**({"lab": problem} if problem else {}), **problems},
            **fields,
        )
        return self._before

    def _look(self, name: str, scene: Scene, settled: Callable[[], Lab | None]) -> object:
        before = self._before
        if before is not None and name in _ASKED_ONCE and _same_lab_and_key(scene, before):
            return getattr(before, name)
        here = replace(scene, lab=settled()) if name in _SETTLED else scene
        return OBSERVERS[name](here)


def _same_lab_and_key(scene: Scene, before: Observations) -> bool:
    """Tell whether what was answered before was asked with the lab and the key that count now."""
    if _asked_of(scene.lab) != _asked_of(before.lab):
        return False
    with suppress(LabError):
        return scene.key() == before.key
    return before.key is None


def _asked_of(lab: Lab | None) -> object:
    return lab and (lab.gateway, lab.backends, lab.models, lab.redis)


def _lab(given: str | None) -> tuple[Lab | None, Problem | None]:
    try:
        root = found_lab.require(given)
        try:
            return found_lab.load(root, packages=ClientPackages()), None
        except BrokenPackageError:  # which has a code of its own
            return found_lab.load(root), None
    except LabError as error:
        return None, Problem(f"{error.what}: {error.why}", error.fix)


def _settled(lab: Lab | None, places: Places) -> Lab | None:
    return None if lab is None else client_versions.on_this_machine(lab, places, _VERSION_S)


def _key(lab: Lab | None, late: Problem | None) -> Secret | None:
    """Return the key that the lab's sources hold; None where there is no lab.

    Raises:
        SecretError: No source holds it, or they did not answer in time before.
    """
    if late is not None:
        raise SecretError(f"the sources of {MASTER_KEY} hang", why=late.seen, fix="keyturn doctor")
    return None if lab is None else _ask(lab, MASTER_KEY)


def _cwd() -> PurePath:
    try:
        return PurePath(Path.cwd())
    except FileNotFoundError:  # the folder is gone; nothing of a project can be read there
        return PurePath("/")
