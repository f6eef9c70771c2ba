"""Is what a package brings a client? Asked before anything of it is used."""

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from bootstrap.domain import targets as target_names
from bootstrap.domain.client import BASES, NAME, PLACEHOLDER, WAYS, ClientFile, Preset, Setup
from bootstrap.domain.lab import CLIENTS
from bootstrap.domain.ref import is_variable_name
from bootstrap.domain.targets import Owner
from bootstrap.domain.versions import as_numbers

# What the file of a package's client can be checked as; see `bootstrap.domain.validate`.
CHECKS = ("json", "toml", "yaml", "env", "shell", "text")


def problem_of(name: str, brought: object) -> str:
    """Return what is wrong with a client that a package brings, one clause; empty for nothing.

    Args:
        name: That of the entry point.
        brought: What the entry point leads to.
    """
    if not isinstance(brought, Preset):
        return "it is no bootstrap.domain.client.Preset"
    try:
        return next(_problems(name, brought), "")
    except (TypeError, AttributeError, ValueError, re.error) as error:
        return f"one of its fields is of another type ({type(error).__name__})"


def _problems(name: str, preset: Preset) -> Iterator[str]:
    if preset.name != name or not NAME.fullmatch(name):
        yield "its name is not that of its entry point"
    if not preset.key:
        yield "no variable carries its key"
    for variable in (*preset.key, *preset.environment, *preset.remove):
        if not is_variable_name(variable):
            yield "one of its variables has no name that a variable can have"
    if preset.lists is not None and preset.lists not in CLIENTS:
        yield f"lists is not one of {', '.join(CLIENTS)}"
    if preset.settings is not None or preset.stores:
        yield "settings and stores are for clients of keyturn's own"
    yield from _placeholders("environment", preset.environment.values(), ("gateway", "model"))
    if preset.setup is not None:
        yield from _setup_problems(name, preset.setup)


def _setup_problems(name: str, setup: Setup) -> Iterator[str]:
    names = [way.name for way in setup.ways]
    files = {file.name for file in setup.files}
    if not set(names) <= set(WAYS) or len(set(names)) < len(names) or setup.default not in names:
        yield f"its ways are not {', '.join(WAYS)}, once each and with the default among them"
    for way in setup.ways:
        if way.target is not None and way.target not in files:
            yield f"the way {way.name} names a file that it does not have"
        if way.switch is not None:
            yield f"the way {way.name} has a switch, which is for clients of keyturn's own"
        if not way.learns or not way.why or ((way.since or way.before) and not way.does):
            yield f"the way {way.name} lacks learns, why or does"
        if any(v and not as_numbers(v) for v in (way.since, way.before)):
            yield f"the way {way.name} has a version that is not like 1.2.3"
        if way.name == setup.default and (way.since or way.before):
            yield "its default way is not for every version"
        yield from _placeholders(way.name, way.environment.values(), ("gateway", "file"))
    yield from _placeholders("probe", setup.probe, ("model",))
    for file in setup.files:
        yield from _file_problems(name, file)


def _file_problems(name: str, file: ClientFile) -> Iterator[str]:
    place = PurePath(file.path)
    # Such as `unit-socket`, a file of ours, in a client that is called `unit`.
    ours = {value for key, value in vars(target_names).items() if key.isupper()}
    if not f"{file.name}-".startswith(f"{name}-") or file.name in ours:
        yield f"the name of the file {file.name} does not begin with its own, or is one of ours"
    sound = place.parts and not place.is_absolute() and ".." not in place.parts
    if file.base not in BASES or not sound or not file.path.isprintable():
        yield f"the file {file.name} does not stand below one of {', '.join(BASES)}"
    if file.owner is not Owner.KEYTURN or file.switch is not None:
        yield f"the file {file.name} has an owner or a switch, for clients of keyturn's own"
    if file.check not in CHECKS:
        yield f"the check of the file {file.name} is not one of {', '.join(CHECKS)}"
    template = PurePath(file.template or "")
    if len(template.parts) < 2 or template.parts[0] != name or ".." in template.parts:
        yield f"the template of the file {file.name} does not stand in templates/{name}/"


def _placeholders(where: str, texts: Iterable[str], known: tuple[str, ...]) -> Iterator[str]:
    for text in texts:
        unknown = set(PLACEHOLDER.findall(text)) - set(known)
        if unknown:
            yield f"{where} names {{{min(unknown)}}}, which stands for nothing"
