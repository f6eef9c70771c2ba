"""Scheme -> provider. Imports next to nothing: `keyturn exec` waits for it.

Our own schemes are looked up without reading package metadata (37 ms); any other scheme is looked
up among the entry points of `keyturn.providers`, where our own stand too.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import PurePath

    from bootstrap.ports import Provider

BUILT_IN = {
    "sops": "bootstrap.adapters.sops:SopsProvider",
    "keyring": "bootstrap.adapters.keyring:KeyringProvider",
    "env": "bootstrap.adapters.environ:EnvironProvider",
    "file": "bootstrap.adapters.credential_file:CredentialFileProvider",
}
GROUP = "keyturn.providers"


class Providers:
    """Makes each provider once per command.

    Args:
        root: The lab's folder, which every provider is given.
        made: Providers by scheme that are there already.
    """

    def __init__(
        self, root: "PurePath | str", made: "Mapping[str, Provider] | None" = None
    ) -> None:
        self._root = root
        self._made: dict[str, Provider] = dict(made or {})

    def __call__(self, scheme: str) -> "Provider":
        """Return the provider of `scheme`.

        Raises:
            ConfigError: No package, or more than one, brings that scheme, or the one that does
                is broken.
        """
        if scheme not in self._made:
            target = BUILT_IN.get(scheme)
            self._made[scheme] = (
                _plug_in(scheme, self._root) if target is None else _built_in(target, self._root)
            )
        return self._made[scheme]


def _built_in(target: str, root: "PurePath | str") -> "Provider":
    module, _, name = target.partition(":")
    __import__(module)  # importlib.import_module would load `warnings` first
    factory: Callable[[PurePath | str], Provider] = getattr(sys.modules[module], name)
    return factory(root)


def complete_import_path() -> None:
    """Make everything installed importable, where `keyturn exec` was started without it (-S)."""
    if sys.flags.no_site:
        import site

        site.main()


def _plug_in(scheme: str, root: "PurePath | str") -> "Provider":
    complete_import_path()
    from importlib.metadata import entry_points

    from bootstrap.domain.errors import ConfigError

    found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        raise ConfigError(
            f"no provider for {scheme}: references",
            why="no installed package brings that scheme",
            fix=f"use one of {', '.join(BUILT_IN)}, or install the package that brings {scheme}",
        )
    if len({entry.value for entry in found}) > 1:
        names = ", ".join(sorted(entry.dist.name for entry in found if entry.dist))
        raise ConfigError(
            f"more than one provider for {scheme}: references",
            why=f"{names} claim it, and the winner would receive the secrets",
            fix="uninstall all but one",
        )
    try:
        provider: Provider = found[0].load()(root)
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything when it is loaded
        raise ConfigError(
            f"the provider for {scheme}: references does not load",
            why=type(error).__name__,
            fix="install its package again",
        ) from None
    return provider
