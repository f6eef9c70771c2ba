"""What a client is: one description, as data, that everything else works from.

A description is a `Preset` (what a program needs for one run: `keyturn exec --client`) with,
where keyturn also writes files for it, a `Setup`: the files, the ways in which the client takes a
key, how it learns of a new one, and the question that shows whether it took. Our own stand in
`bootstrap.domain.clients`, one module each; a package brings one through the entry-point group
`keyturn.clients` (docs/clients.md, "A client from a package").

There is nothing but data in a description: what can be printed, compared and remembered.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from bootstrap.domain.places import Places
from bootstrap.domain.targets import Owner

GROUP = "keyturn.clients"
# It becomes part of the name of a key.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
HELPER, VARIABLE, LITERAL = "helper", "variable", "literal"
WAYS = (HELPER, VARIABLE, LITERAL)
# droid's file refers to this one, so that no project's settings know the name of the key.
CLIENT_KEY = "KEYTURN_CLIENT_KEY"
TTL_S = 8 * 3600.0
# Where a client's file can stand, by what `ClientFile.base` says.
BASES: Mapping[str, Callable[[Places], PurePath]] = {
    "home": lambda places: places.home,
    "config": lambda places: places.config,
    "secrets": lambda places: places.env_file.parent,
    "factory": lambda places: places.factory,
    "claude": lambda places: places.claude,
}


@dataclass(frozen=True)
class ClientFile:
    """A file that keyturn writes for a client; 0600, whatever stands in it.

    Attributes:
        name: Its stable name in plans and in the state; it begins with the client's.
        base: Below what: a key of BASES. `config` is `$XDG_CONFIG_HOME`, `secrets` our own folder.
        path: Where below that.
        template: Its name under `templates/`; None where nothing is rendered.
        check: What the rendered file must pass: a key of `bootstrap.domain.validate.CHECKS`.
        needs: Key paths (`server.url`), or variables of an env file, that must stand in it.
        key_at: Those where a literal key can stand; keyturn looks there whether it is current.
        owner: Whose file it is. A package's client has files of KEYTURN only: whole ones.
        switch: The word under [targets] that turns it on. None, as for a package's client: it is
            on where the way in which the client gets its key names it.
    """

    name: str
    base: str
    path: str
    template: str | None
    check: str
    needs: tuple[str, ...] = ()
    key_at: tuple[str, ...] = ()
    owner: Owner = Owner.KEYTURN
    switch: str | None = None

    def place(self, places: Places) -> PurePath:
        """Return its absolute path on this machine."""
        return BASES[self.base](places) / self.path


@dataclass(frozen=True)
class Way:
    """One way of handing the key to a client.

    Attributes:
        name: HELPER (a command that the client runs), VARIABLE, or LITERAL (in a 0600 file).
        target: The name of the file that keyturn writes for it, or None.
        switch: The word under [targets] that turns that file on, or None.
        learns: How a running client learns of a new key, one clause.
        why: What speaks for it, or against, one clause.
        environment: What a program needs beside the file; `{file}` is its path, `{gateway}` the
            base URL. keyturn does not choose such a way unasked: it cannot set them for good.
        key: The variable that carries the key, or None.
        reloads: A running client goes on with a new key by itself.
        since: The first version that can do it, `1.2.3`; empty where every version can.
        before: The first version that can no longer do it; empty where there is none.
        does: What those versions do, as in `it reads apiKeyHelper`, without the `it`.
    """

    name: str
    target: str | None
    switch: str | None
    learns: str
    why: str
    environment: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    reloads: bool = False
    since: str = ""
    before: str = ""
    does: str = ""


@dataclass(frozen=True)
class Setup:
    """A client as keyturn sets it up.

    Attributes:
        title: What people call it.
        program: The command, or None where there is none to run.
        tested: The versions that were run, in order; the first and the last bound the range that
            doctor takes for tested.
        ways: The best first: no key at rest where that can be.
        default: The way that works with every version, and without anything else being set.
        probe: Arguments of one question to `{model}`, or none.
        files: Those that keyturn writes for it.
    """

    title: str
    program: str | None
    tested: tuple[str, ...]
    ways: tuple[Way, ...]
    default: str
    probe: tuple[str, ...] = ()
    files: tuple[ClientFile, ...] = ()

    def way(self, name: str) -> Way:
        """Return the way called `name`."""
        return next(way for way in self.ways if way.name == name)

    def holds_key(self, file: ClientFile, way: Way | None) -> bool:
        """Tell whether a key stands in a file, where the client gets it in that way."""
        names = {each.name for each in self.ways if each.target == file.name}
        return names == {LITERAL} or (way is not None and way.name == LITERAL in names)


@dataclass(frozen=True)
class Preset:
    """How a program finds the gateway.

    Attributes:
        name: As `--client` names it.
        key: The variables that carry the key.
        environment: Variables to set. `{gateway}` stands for the base URL without a path,
            `{model}` for the alias; a value with `{model}` is left out where no model is chosen.
        remove: Variables that would lead the key, or another one, somewhere else.
        agent: It can run commands, and so print its environment: it gets a key of its own.
        lists: The name under `clients` of a model that is for it, or None for every model.
        settings: The variable that names a private settings file in droid's format, or None.
        project_files: Settings that a project can bring, relative to one of its folders.
        redirects: Key paths in those files that would send the key elsewhere.
        user_file: The user's own settings, where these win over the environment: the variable
            that moves their folder, the folder below HOME, the file in it. Else None.
        ttl_s: For how long a key of its own is accepted at most, in seconds.
        setup: How the program is set up without `keyturn exec`, or None.
        hand_over: The way in which the lab says that it gets its key, or None.
        set_up: Whether the lab says that its file is to be written.
        stores: It keeps the connection in a file of its own; the lab can name that one with
            `config`, and doctor then looks whether it still is ours.
        config: What the lab says there, or None.
    """

    name: str
    key: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    agent: bool = False
    lists: str | None = None
    settings: str | None = None
    project_files: tuple[str, ...] = ()
    redirects: tuple[str, ...] = ()
    user_file: tuple[str, str, str] | None = None
    ttl_s: float = TTL_S
    setup: Setup | None = None
    hand_over: str | None = None
    set_up: bool = False
    stores: bool = False
    config: str | None = None


# Returns the client of that name that an installed package brings, or None; ConfigError where the
# package is broken.
Brought = Callable[[str], Preset | None]


def nobody(name: str) -> Preset | None:
    """Return None: no package brings a client."""
    return None
