"""What doctor looks at to judge the stores, the identities and git."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from bootstrap.adapters.age import identity_file, identity_problems
from bootstrap.adapters.gathering import Scene
from bootstrap.adapters.looking import look_at
from bootstrap.adapters.process import run
from bootstrap.adapters.sops_text import kind_of, names_in
from bootstrap.adapters.systemd_session import session_environment
from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.facts_secrets import SecretsFacts, StoreFacts
from bootstrap.domain.errors import LabError, StoreDamagedError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret

_GIT_S = 2.0
_MOST_COMMITS = 20
_OPEN = " is open to other users"
# Every source of a secret, what it holds, and why it holds nothing.
Survey = Callable[[str], Sequence[tuple[SecretRef, Secret | None, str]]]


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
    if lab is None:
        return facts
    root = Path(lab.root)
    in_git = _git(root, "rev-parse", "--is-inside-work-tree").strip() == b"true"
    return SecretsFacts(
        stores=tuple(_store(Path(path), in_git=in_git) for path in _stores(scene)),
        identities=facts.identities,
        identity_problems=facts.identity_problems,
        env_files=facts.env_files,
        attributes=look_at(lab.root / ".gitattributes"),
        in_git=in_git,
        caching=tuple(_caching(root)) if in_git else (),
        disagree=tuple(_disagree(tuple(lab.secrets), survey)),
        session={n: v for n, v in session_environment().items() if n in lab.secrets},
    )


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
    yield from dict.fromkeys(str(root / Path(ref.place).expanduser()) for ref in refs)


def _store(path: Path, *, in_git: bool) -> StoreFacts:
    file = look_at(PurePath(path))
    commits = tuple(_plain_commits(path)) if in_git else ()
    problem, mend = _problem(file)
    return StoreFacts(file, problem, mend, commits)


def _problem(file: FoundFile) -> tuple[str, str]:
    kind = kind_of(file.path.name)
    if file.data is None or kind is None:
        return "", ""
    try:
        names_in(file.data, kind, str(file.path))
    except StoreDamagedError as error:
        return error.why, error.fix
    return "", ""


def _plain_commits(path: Path) -> Iterator[str]:
    """Yield those of the last commits that changed a store in which no name is encrypted."""
    words = ("log", f"--max-count={_MOST_COMMITS}", "--format=%h", "--", path.name)
    for commit in _git(path.parent, *words).decode("ascii", "replace").split():
        data = _git(path.parent, "show", "--no-textconv", f"{commit}:./{path.name}")
        if data.strip() and b"ENC[AES256_GCM," not in data:
            yield commit


def _caching(root: Path) -> Iterator[str]:
    listed = _git(root, "config", "--get-regexp", r"^diff\..*\.cachetextconv$")
    for line in listed.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(" ")
        if value.lower() not in ("false", "no", "off", "0"):
            yield name


def _git(folder: Path, *words: str) -> bytes:
    """Return what git prints; nothing where there is no git, no folder or no answer in time."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    argv = ["git", "--no-pager", "-C", str(folder), *words]
    with suppress(OSError):
        answer = run(argv, env=environment, timeout_s=_GIT_S)
        return answer.stdout if answer.returncode == 0 else b""
    return b""


def _disagree(names: Sequence[str], survey: Survey) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name in names:
        with suppress(LabError):
            held = [(str(ref), value) for ref, value, _ in survey(name) if value is not None]
            if held:
                used, first = held[0]
                others = tuple(ref for ref, value in held[1:] if value != first)
                if others:
                    yield name, used, others
