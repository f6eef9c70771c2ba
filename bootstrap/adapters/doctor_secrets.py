"""What doctor looks at to judge the stores, the identities and the places where keys go astray."""

import shlex
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath

from bootstrap.adapters.age import identity_file, identity_problems, recipients
from bootstrap.adapters.doctor_git import caching, in_work_tree, plain_commits
from bootstrap.adapters.gathering import Scene, gather
from bootstrap.adapters.looking import listed, look_at
from bootstrap.adapters.paths import absolute
from bootstrap.adapters.sops_program import find_sops
from bootstrap.adapters.sops_text import kind_of, names_in
from bootstrap.adapters.systemd_session import session_environment
from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.facts_secrets import SecretsFacts, StoreFacts
from bootstrap.domain.errors import LabError, StoreDamagedError
from bootstrap.domain.lab import Lab
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import SALT_KEY
from bootstrap.domain.sops_rules import wanted_for

_OPEN = " is open to other users"
# Less than doctor has: a keyring that does not answer must not hide what is known without it.
_SOURCES_S = 3.0
# Every source of a secret, what it holds, and why it holds nothing.
Survey = Callable[[str], Sequence[tuple[SecretRef, Secret | None, str]]]
# By secret: (source, value) of those that hold it, in their order.
_Held = dict[str, list[tuple[str, Secret]]]


def observe_secrets(scene: Scene, survey: Survey) -> SecretsFacts:
    """Return what was seen of the secrets.

    Args:
        scene: What there is.
        survey: Asks every source of a secret of the lab.
    """
    places, lab = scene.places, scene.lab
    # What is said with a mend of its own is left out here.
    problems = (p for p in identity_problems(scene.environment) if _OPEN not in p)
    found = tuple(look_at(path) for path in (places.gateway_env, places.env_file))
    facts = SecretsFacts(
        identities=tuple(_identities(scene)),
        identity_problems=tuple(problems),
        env_files=tuple(file for file in found if file.state is not None or file.problem),
    )
    return facts if lab is None else _of_lab(scene, lab, survey, facts)


def _of_lab(scene: Scene, lab: Lab, survey: Survey, known: SecretsFacts) -> SecretsFacts:
    root = Path(lab.root)
    stores = [_store(Path(path), root) for path in _stores(scene)]
    held: _Held = {}
    git = _Git()
    given, _ = gather(
        {
            "session": session_environment,
            "sources": partial(_ask, tuple(lab.secrets), survey, held),
            "git": partial(git.look, root, [Path(store.file.path) for store in stores]),
        },
        _SOURCES_S,
    )
    session = given.get("session")
    known_to_systemd = session if isinstance(session, dict) else {}
    salts = held.get(SALT_KEY, [])
    login = listed(scene.places.config / "environment.d", "*.conf")
    return replace(
        known,
        stores=tuple(
            replace(s, plain_commits=git.plain.get(Path(s.file.path), ())) for s in stores
        ),
        attributes=look_at(lab.root / ".gitattributes"),
        in_git=git.is_there,
        caching=git.caching,
        disagree=tuple(_disagree({name: held.get(name, []) for name in lab.secrets})),
        session={n: v for n, v in known_to_systemd.items() if n in lab.secrets},
        salt=salts[0][1].fingerprint() if salts else "",
        login_files=tuple(look_at(PurePath(path)) for path in login),
        own=_own(scene),
        sops=_sops(scene),
    )


@dataclass
class _Git:
    """What git says of the lab, as far as it has said it: in a big repository it takes its time."""

    is_there: bool = False
    caching: tuple[tuple[str, str], ...] = ()
    plain: dict[Path, tuple[str, ...]] = field(default_factory=dict)

    def look(self, root: Path, stores: Sequence[Path]) -> None:
        """Ask it."""
        self.is_there = in_work_tree(root)
        if self.is_there:
            self.caching = tuple(caching(root))
            for store in stores:
                self.plain[store] = plain_commits(store)


def _own(scene: Scene) -> tuple[str, ...]:
    with suppress(LabError):  # said elsewhere
        return tuple(recipients(scene.environment))
    return ()


def _sops(scene: Scene) -> str:
    if shutil.which("sops", path=scene.environment.get("PATH", "")):
        return "sops"
    with suppress(LabError):
        return shlex.quote(find_sops(scene.environment))
    return "sops"


def _identities(scene: Scene) -> Iterator[tuple[PurePath, int]]:
    named = scene.environment.get("SOPS_AGE_KEY_FILE", "")
    paths = [identity_file(scene.environment), *([Path(named)] if named.startswith("/") else [])]
    for path in dict.fromkeys(paths):
        with suppress(OSError):
            yield PurePath(path), stat.S_IMODE(path.stat().st_mode)


def _stores(scene: Scene) -> Iterator[str]:
    lab = scene.lab
    specs = lab.secrets.values() if lab else ()
    refs = (ref for spec in specs for ref in spec.sources if ref.scheme == "sops")
    root = lab.root if lab else PurePath("/")
    yield from dict.fromkeys(absolute(ref.place, str(root)) for ref in refs)


def _store(path: Path, root: Path) -> StoreFacts:
    file = look_at(PurePath(path))
    problem, mend = _problem(file)
    rules = (look_at(PurePath(place, ".sops.yaml")) for place in (*path.parents, root))
    found = next((file for file in rules if file.state is not None), None)
    if found is None or found.data is None:
        return StoreFacts(file, problem, mend)
    folder = found.path.parent
    place = path.relative_to(folder) if path.is_relative_to(folder) else path
    wanted = wanted_for(found.data, str(place))
    return StoreFacts(file, problem, mend, wanted=wanted, rules=found.path)


def _problem(file: FoundFile) -> tuple[str, str]:
    kind = kind_of(file.path.name)
    if file.data is None or kind is None:
        return "", ""
    try:
        names_in(file.data, kind, str(file.path))
    except StoreDamagedError as error:
        return error.why, error.fix
    return "", ""


def _ask(names: Sequence[str], survey: Survey, held: _Held) -> None:
    """Put what the sources hold into `held`, name by name, since a later one may not answer."""
    for name in names:
        with suppress(LabError):
            held[name] = [(str(ref), value) for ref, value, _ in survey(name) if value is not None]


def _disagree(held: _Held) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name, sources in held.items():
        others = tuple(ref for ref, value in sources if value != sources[0][1])
        if others:
            yield name, sources[0][0], others
