"""What Claude Code would read here: its settings, the shells' start files, its processes."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePath

from bootstrap.adapters.gathering import Scene
from bootstrap.adapters.looking import installations, listed, look_at, running
from bootstrap.adapters.project_settings import project_folders
from bootstrap.domain.doctor.claude_settings import settings_of
from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.facts_claude import ClaudeFacts

_SHELL_FILES = (
    ".bashrc",
    ".bash_profile",
    ".bash_aliases",
    ".bash_login",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".kshrc",
)
_PROJECT_FILES = ("settings.local.json", "settings.json")
_PROGRAMS = ("claude", "claude.exe")


def observe_claude(scene: Scene) -> ClaudeFacts:
    """Return what was seen of Claude Code."""
    home = scene.places.home
    config = scene.environment.get("CLAUDE_CONFIG_DIR", "")
    folder = PurePath(scene.cwd, config) if config else home / ".claude"
    settings = look_at(folder / "settings.json")
    return ClaudeFacts(
        settings=settings,
        helper_gone=_helper_gone(settings),
        project=tuple(_project(scene, folder)),
        shell_files=tuple(_shell_files(scene)),
        installations=installations("claude", scene.environment),
        running=tuple(
            program
            for name in _PROGRAMS
            for program in running(name, home, ("ANTHROPIC_AUTH_TOKEN",))
        ),
    )


def _project(scene: Scene, user: PurePath) -> Iterator[FoundFile]:
    for folder in project_folders(scene.cwd, scene.places.home):
        for name in _PROJECT_FILES:
            if folder / ".claude" != user:
                yield look_at(folder / ".claude" / name)


def _shell_files(scene: Scene) -> Iterator[FoundFile]:
    home, config = scene.places.home, scene.places.config
    paths = [*(home / name for name in _SHELL_FILES), config / "fish" / "config.fish"]
    for path in [*paths, *map(PurePath, listed(config / "fish" / "conf.d", "*.fish"))]:
        if Path(path).exists():
            yield look_at(path)


def _helper_gone(settings: FoundFile) -> str:
    """Return the program that apiKeyHelper runs, if it is an absolute path to no program."""
    command = settings_of(settings).get("apiKeyHelper")
    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:  # a quote that does not end: the shell says it
        return ""
    program = words[0] if words else ""
    there = not program.startswith("/") or os.access(program, os.X_OK)
    return "" if there else program
