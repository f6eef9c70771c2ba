"""How a client is set up for good: its files, how it takes the key, how it learns of a new one.

A preset (`bootstrap.domain.client_presets`) says what a program needs for one run; its `Setup`
says what stands in files, as data. What is said here about droid (0.215.0, 0.225.2) and Claude
Code (2.1.197) was seen by running them; Open WebUI was not run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bootstrap.domain import targets as target_names
from bootstrap.domain.lab import ECHO_ALIAS, Lab, Switches
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.table import Table

HELPER, VARIABLE, LITERAL = "helper", "variable", "literal"


@dataclass(frozen=True)
class Way:
    """One way of handing the key to a client.

    Attributes:
        name: HELPER (a command that the client runs), VARIABLE, or LITERAL (in a 0600 file).
        target: The name of the file that keyturn writes for it, or None.
        switch: The word under [targets] that turns that file on, or None.
        learns: How a running client learns of a new key, one clause.
        why: What speaks for it, or against, one clause.
        environment: What a program needs beside the file; `{file}` is its path.
        key: The variable that carries the key, or None.
    """

    name: str
    target: str | None
    switch: str | None
    learns: str
    why: str
    environment: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None


@dataclass(frozen=True)
class Setup:
    """A client as keyturn sets it up.

    Attributes:
        title: What people call it.
        program: The command, or None where there is none to run.
        tested: The versions that were run.
        ways: The best first: no key at rest where that can be.
        default: The way that works without anything else being set.
        probe: Arguments of one question to `{model}`, or none.
    """

    title: str
    program: str | None
    tested: tuple[str, ...]
    ways: tuple[Way, ...]
    default: str
    probe: tuple[str, ...] = ()

    def way(self, name: str) -> Way:
        """Return the way called `name`."""
        return next(way for way in self.ways if way.name == name)


DROID = Setup(
    "Factory droid",
    "droid",
    ("0.215.0", "0.225.2"),
    (
        Way(
            HELPER,
            target_names.DROID_KEY_HELPER,
            "droid_key_helper",
            "runs the command again after a 401",
            "no key at rest; droid takes it only where FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH "
            "names the file",
            {"FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH": "{file}"},
        ),
        Way(
            VARIABLE,
            target_names.DROID_OVERLAY,
            "droid_overlay",
            "at its next start",
            f"no key at rest; droid must be started with the overlay and {MASTER_KEY}",
            {"FACTORY_RUNTIME_SETTINGS_PATH": "{file}"},
            MASTER_KEY,
        ),
        Way(
            LITERAL,
            target_names.DROID_SETTINGS,
            "droid_settings",
            "within a second, from its file watcher",
            "droid takes it from its own settings without anything else being set",
        ),
    ),
    LITERAL,
    ("exec", "-m", "custom:{model}", "hi"),
)

CLAUDE = Setup(
    "Claude Code",
    "claude",
    ("2.1.197",),
    (
        Way(
            HELPER,
            target_names.CLAUDE_SETTINGS,
            "claude_settings",
            "runs the command again after a 401",
            "no key at rest",
        ),
        Way(
            VARIABLE,
            None,
            None,
            "at its next start",
            "its own settings stay untouched: keyturn exec --client claude, or claude-ALIAS",
            {"ANTHROPIC_BASE_URL": "{gateway}"},
            "ANTHROPIC_AUTH_TOKEN",
        ),
        Way(
            LITERAL,
            target_names.CLAUDE_SETTINGS,
            "claude_settings",
            "at its next start",
            "the key stands in its own settings",
        ),
    ),
    VARIABLE,
    ("-p", "hi", "--model", "{model}"),
)

OPENWEBUI = Setup(
    "Open WebUI",
    None,
    (),
    (
        Way(
            LITERAL,
            target_names.OPENWEBUI_ENV,
            "openwebui_env",
            "at its next start, unless it has stored another key itself",
            "it takes a key from its environment only",
        ),
    ),
    LITERAL,
)


def parse_hand_over(table: Table, setup: Setup | None) -> str | None:
    """Return the way that [clients.NAME] pins, or None.

    Raises:
        ConfigError: The client has no such way.
    """
    pinned = table.optional_text("hand_over")
    if pinned is None:
        return None
    if setup is None:
        why = "keyturn writes no files for this client"
        raise table.error("hand_over", why, "remove it, and use keyturn exec --client")
    return table.choice("hand_over", [way.name for way in setup.ways])


def with_hand_over(lab: Lab, presets: Mapping[str, object]) -> Lab:
    """Return the lab with the ways that [clients] pins, and with the files that they need.

    Args:
        lab: Without them.
        presets: Every preset by name.
    """
    pinned: dict[str, str] = {}
    switches = lab.switches
    for name, preset in presets.items():
        way, setup = getattr(preset, "hand_over", None), getattr(preset, "setup", None)
        if way is not None and setup is not None:
            pinned[name] = way
            switches = _switched(switches, setup.way(way).switch)
    return replace(lab, hand_over=pinned, switches=switches)


def _switched(switches: Switches, name: str | None) -> Switches:
    return switches if name is None else Switches(**{**vars(switches), name: True})


def chosen_way(name: str, setup: Setup, lab: Lab) -> tuple[Way | None, str]:
    """Return the way in which a client gets the key, and why; no way where it is not set up.

    Args:
        name: The client's.
        setup: How it is set up.
        lab: The lab.
    """
    pinned = lab.hand_over.get(name)
    if pinned is not None:
        way = setup.way(pinned)
        return way, f"pinned under [clients.{name}]; {way.why}"
    switches = vars(lab.switches)
    for way in setup.ways:
        optional = way.switch is not None and not getattr(Switches(), way.switch)
        if optional and switches[str(way.switch)]:
            return way, way.why
    way = setup.way(setup.default)
    if way.switch is not None and not switches[way.switch]:
        on = [w for w in setup.ways if w.switch is not None and switches[w.switch]]
        if not on:
            return None, f"[targets] {way.switch} is false"
        way = on[0]
    return way, way.why


def template_context(lab: Lab, secrets: Mapping[str, Secret]) -> dict[str, object]:
    """Return what the templates of the clients ask for, droid's key apart."""
    aliases = [m.alias for m in lab.models if "claude" in m.clients]
    model = next((alias for alias in aliases if alias != ECHO_ALIAS), (aliases or [""])[0])
    return {
        "droid_literal": lab.hand_over.get("droid", LITERAL) == LITERAL,
        "claude_literal": lab.hand_over.get("claude") == LITERAL,
        "claude_model": model,
        "claude_key": secrets.get(lab.key_name("claude")),
        "openwebui_key": secrets.get(lab.key_name("openwebui")),
    }
