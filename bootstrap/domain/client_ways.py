"""In which way each client of a lab gets its key: pinned, or chosen by what its version can do."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePath

from bootstrap.domain.client import LITERAL, ClientFile, Preset, Setup, Way
from bootstrap.domain.clients import PRESETS
from bootstrap.domain.lab import ECHO_ALIAS, Lab
from bootstrap.domain.places import Places
from bootstrap.domain.secret import Secret
from bootstrap.domain.switches import Switches
from bootstrap.domain.table import Table
from bootstrap.domain.versions import as_numbers


def parse_hand_over(table: Table, setup: Setup | None) -> tuple[str | None, bool]:
    """Return the way that [clients.NAME] pins, or None, and whether it wants the client set up.

    Raises:
        ConfigError: The client has no such way, or cannot be set up.
    """
    pinned, wanted = table.optional_text("hand_over"), table.flag("set_up", False)
    if setup is None and (pinned is not None or wanted):
        word = "set_up" if pinned is None else "hand_over"
        why = "keyturn writes no files for this client"
        raise table.error(word, why, "remove it, and use keyturn exec --client")
    if setup is not None and pinned is not None:
        pinned = table.choice("hand_over", [way.name for way in setup.ways])
    return pinned, wanted or pinned is not None


def with_hand_over(lab: Lab, presets: Mapping[str, Preset]) -> Lab:
    """Return the lab with the ways that [clients] pins, and with the files that they need.

    Args:
        lab: Without them.
        presets: Every preset by name.
    """
    pinned: dict[str, str] = {}
    brought: dict[str, Setup] = {}
    switches = lab.switches
    for name, preset in presets.items():
        setup, way = preset.setup, preset.hand_over
        if setup is None or not preset.set_up:
            continue
        if way is not None:
            pinned[name] = way
            switches = _switched(switches, setup.way(way).switch)
        else:
            usual = (each.switch for each in setup.ways if each.switch and not each.environment)
            switches = _switched(switches, next(usual, None))
        if name not in PRESETS:
            brought[name] = setup
    stores = {name: preset.config for name, preset in presets.items() if preset.config}
    return replace(lab, hand_over=pinned, switches=switches, brought=brought, stores=stores)


def _switched(switches: Switches, name: str | None) -> Switches:
    return switches if name is None else Switches(**{**vars(switches), name: True})


def setups(lab: Lab) -> dict[str, Setup]:
    """Return how each client is set up: our own, and those that the lab takes from packages."""
    own = {name: preset.setup for name, preset in PRESETS.items() if preset.setup is not None}
    return {**own, **lab.brought}


def settled(lab: Lab, version: Callable[[str], str]) -> Lab:
    """Return the lab with the ways that differ from the usual ones, since a version is too old.

    Args:
        lab: The lab.
        version: Program -> the version that is installed; empty where that is not known. It is
            asked only for a client whose usual way not every version can do.
    """
    ways: dict[str, str] = {}
    for name, setup in setups(lab).items():
        usual, _ = chosen_way(name, setup, lab)
        if usual is None or setup.program is None or not (usual.since or usual.before):
            continue
        way, _ = chosen_way(name, setup, lab, version(setup.program))
        if way is not None and way != usual:
            ways[name] = way.name
    return replace(lab, ways=ways)


def way_of(name: str, setup: Setup, lab: Lab) -> Way | None:
    """Return the way in which the lab hands the key to a client; None where it is not set up."""
    if name in lab.ways:
        return setup.way(lab.ways[name])
    return chosen_way(name, setup, lab)[0]


def chosen_way(name: str, setup: Setup, lab: Lab, version: str = "") -> tuple[Way | None, str]:
    """Return the way in which a client gets the key, and why; no way where it is not set up.

    Args:
        name: The client's.
        setup: How it is set up.
        lab: The lab.
        version: The version that is installed; empty where that is not known: then as if it could
            do everything.
    """
    if name not in PRESETS and name not in lab.brought:
        return None, f"[clients.{name}] set_up is not true"
    pinned = lab.hand_over.get(name)
    if pinned is not None:
        way = setup.way(pinned)
        why = (f"pinned under [clients.{name}]", _cannot(setup, way, version), way.why)
        return way, _clauses(*why)
    wanted = _package_ways(setup) if name in lab.brought else _wanted_ways(setup, lab)
    refused: list[str] = []
    for way in wanted:
        problem = _cannot(setup, way, version)
        if not problem:
            return way, _clauses(*refused, _can(setup, way, version), way.why)
        refused.append(problem)
    return None, f"[targets] {setup.way(setup.default).switch} is false"


def _wanted_ways(setup: Setup, lab: Lab) -> list[Way]:
    """Return the ways that the lab has turned on, those first that it had to ask for."""
    switches, usual = vars(lab.switches), vars(Switches())
    default = setup.way(setup.default)
    asked = [way for way in setup.ways if way.switch and not usual[way.switch]]
    others = [way for way in setup.ways if way.switch and usual[way.switch]]
    ordered = [*asked, default, *others]
    return [way for way in ordered if way.switch is None or switches[way.switch]]


def _package_ways(setup: Setup) -> list[Way]:
    """Return the ways that need nothing which keyturn cannot set for good; the default last."""
    free = [way for way in setup.ways if not way.environment and way.key is None]
    return [*free, setup.way(setup.default)]


def _clauses(*words: str) -> str:
    return "; ".join(dict.fromkeys(word for word in words if word))


def _can(setup: Setup, way: Way, version: str) -> str:
    """Return that the installed version can do it, where not every version can."""
    if not version or not (way.since or way.before):
        return ""
    return f"{setup.title} {version} is installed and {way.does}"


def _cannot(setup: Setup, way: Way, version: str) -> str:
    """Return why the installed version cannot do it; empty where it can, or that is not known."""
    numbers = as_numbers(version)
    if numbers and way.since and numbers < as_numbers(way.since):
        words = f"is older than {way.since}, the first known that {way.does}"
    elif numbers and way.before and numbers >= as_numbers(way.before):
        words = f"is not older than {way.before}, before which it {way.does}"
    else:
        return ""
    return f"{setup.title} {version} {words}"


def client_files(lab: Lab) -> list[tuple[str, ClientFile, bool]]:
    """Return (client, file, whether a key stands in it) for each file that the lab wants."""
    switches = vars(lab.switches)
    found = []
    for name, setup in setups(lab).items():
        way = way_of(name, setup, lab)
        for file in setup.files:
            named = way is not None and way.target == file.name
            if named if file.switch is None else switches[file.switch]:
                found.append((name, file, setup.holds_key(file, way)))
    return found


def client_context(
    lab: Lab, client: str, secrets: Mapping[str, Secret], helper: str
) -> dict[str, object]:
    """Return what the template of a package's client can use: no other secret than its key.

    Args:
        lab: The lab.
        client: The client's name.
        secrets: Those of the lab.
        helper: The command that prints the client's key.
    """
    way = way_of(client, lab.brought[client], lab)
    return {
        "gateway": lab.gateway,
        "models": lab.models,
        "client": client,
        "client_helper": helper,
        "client_key": secrets.get(lab.key_name(client)),
        "client_key_name": lab.key_name(client),
        "client_way": way.name if way else "",
    }


def template_context(lab: Lab, secrets: Mapping[str, Secret]) -> dict[str, object]:
    """Return what the templates of the clients ask for, droid's key apart."""
    aliases = [m.alias for m in lab.models if "claude" in m.clients]
    model = next((alias for alias in aliases if alias != ECHO_ALIAS), (aliases or [""])[0])
    return {
        "droid_literal": (lab.pinned_way("droid") or LITERAL) == LITERAL,
        "claude_literal": lab.pinned_way("claude") == LITERAL,
        "claude_model": model,
        "claude_key": secrets.get(lab.key_name("claude")),
        "openwebui_key": secrets.get(lab.key_name("openwebui")),
    }


def kept_files(lab: Lab, places: Places) -> tuple[PurePath, ...]:
    """Return the files that lab.toml names in which a client keeps its connection by itself.

    As they are named: absolute, from the home, or from the lab's folder.
    """
    named = lab.stores.values()
    return tuple(places.home / t[2:] if t.startswith("~/") else lab.root / t for t in named)
