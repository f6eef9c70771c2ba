"""What droid would read here: its files, sessions, installations and processes.

droid itself is not started, since that writes files; its own doctor only with `--deep`.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from bootstrap.adapters import process
from bootstrap.adapters.gathering import Scene
from bootstrap.adapters.looking import (
    installations,
    listed,
    look_at,
    running,
)
from bootstrap.adapters.project_settings import project_folders
from bootstrap.domain.client import CLIENT_KEY
from bootstrap.domain.doctor.facts import Installation
from bootstrap.domain.doctor.facts_droid import DroidFacts, DroidFile, Level, SessionFile
from bootstrap.domain.secret_spec import MASTER_KEY

ETC = PurePath("/etc/factory/settings.json")
LAUNCHERS = (PurePath("/usr/share/applications"), PurePath("/opt"))
_PROJECT_FILES = ("settings.local.json", "settings.json", "config.json")
_MOST_SESSIONS = 100
_OWN_DOCTOR_S = 20.0
# What may be told of droid's own words: a place in the settings, or in the file. Never a value.
_PLACE = re.compile(r"[A-Za-z]\w*(?:\.\w+){0,6}(?=: )|line \d+, col \d+")
_WITHOUT_NETWORK = {
    "FACTORY_AIRGAP_ENABLED": "true",
    "FACTORY_DROID_AUTO_UPDATE_ENABLED": "false",
    "FACTORY_DISABLE_KEYRING": "1",
}


def observe_droid(scene: Scene) -> DroidFacts:
    """Return what was seen of droid."""
    factory = scene.places.factory
    installed = installations("droid", scene.environment)
    return DroidFacts(
        files=tuple(_files(scene)),
        sessions=tuple(_sessions(factory)),
        installations=installed,
        running=running("droid", scene.places.home, (MASTER_KEY, CLIENT_KEY)),
        desktop=tuple(_desktop(scene.places.home)),
        doctor=_own_doctor(installed) if scene.deep and installed else None,
    )


def _files(scene: Scene) -> Iterator[DroidFile]:
    environment, factory = scene.environment, scene.places.factory
    named = environment.get("FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH", "")
    managed = look_at(ETC)
    if managed.state is not None or managed.problem or not named:
        yield DroidFile(Level.MANAGED, managed)
    else:
        yield DroidFile(Level.MANAGED, look_at(PurePath(scene.cwd, named)))
    overlay = environment.get("FACTORY_RUNTIME_SETTINGS_PATH", "")
    if overlay:
        yield DroidFile(Level.RUNTIME, look_at(PurePath(scene.cwd, overlay)))
    for folder in project_folders(scene.cwd, scene.places.home):
        for name in _PROJECT_FILES:
            yield DroidFile(Level.PROJECT, look_at(folder / ".factory" / name))
    yield DroidFile(Level.LOCAL, look_at(factory / "settings.local.json"))
    yield DroidFile(Level.USER, look_at(factory / "settings.json"))
    yield DroidFile(Level.LEGACY, look_at(factory / "config.json"))
    for unread in ("config.d", "settings.d"):
        for path in listed(factory / unread, "*.json"):
            yield DroidFile(Level.UNREAD, look_at(PurePath(path)))


def _sessions(factory: PurePath) -> Iterator[SessionFile]:
    """Yield the settings of the newest sessions."""
    paths = listed(factory / "sessions", "*/*.settings.json")
    for path in sorted(paths, key=_changed, reverse=True)[:_MOST_SESSIONS]:
        yield SessionFile(look_at(PurePath(path)))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _desktop(home: PurePath) -> Iterator[str]:
    for folder in (home / ".local/share/applications", *LAUNCHERS):
        for path in listed(folder, "[Ff]actory*"):
            yield str(path)


def _own_doctor(installed: tuple[Installation, ...]) -> tuple[tuple[str, str], ...]:
    """Return what droid's own doctor flags: (file or check, place in it)."""
    done = process.run(
        [str(installed[0].path), "doctor", "--config", "--json"],
        env={**os.environ, **_WITHOUT_NETWORK},
        timeout_s=_OWN_DOCTOR_S,
    )
    results = json.loads(done.stdout)["results"]
    return tuple(_flag(result) for result in results if result.get("status") in ("fail", "warn"))


def _flag(result: "dict[str, object]") -> tuple[str, str]:
    place = _PLACE.match(str(result.get("detail")))
    label = "".join(char for char in str(result.get("label")) if char.isprintable())[:100]
    return label, place[0] if place else "see droid doctor --config"
