"""What `keyturn exec` needs, and no more: the same resolver and providers as everywhere."""

import os

from bootstrap.adapters.become import become, child_environment
from bootstrap.adapters.find_lab import find_lab, read_lab
from bootstrap.domain.errors import ConfigError, UsageError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret_spec import SecretSpec, default_sources
from bootstrap.wiring.providers import Providers
from bootstrap.workflows.resolve import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def run_program(
    argv: "Sequence[str]",
    *,
    lab: str | None,
    pairs: "Sequence[str]",
    source: str | None,
    keep: "Sequence[str]",
) -> "NoReturn":
    """Resolve the secrets asked for and become the program.

    Args:
        argv: The program and its arguments.
        lab: `--lab`, or None.
        pairs: `NAME` or `NAME=REF` each; none means the names under [exec] in lab.toml.
        source: Ask only sources of this scheme.
        keep: Variables that pass although they would be withheld.

    Raises:
        LabError: A secret cannot be had, or the program cannot be run.
    """
    root = find_lab(lab, _default_file())
    specs, names = _lab_secrets(root)
    asked: list[str] = []
    for pair in pairs:
        name, equals, ref = pair.partition("=")
        if not name.isidentifier():
            raise UsageError(
                "bad --secret",
                why="it is not NAME or NAME=REF",
                fix="write --secret LITELLM_MASTER_KEY=env:CI_KEY",
            )
        if equals:
            specs[name] = SecretSpec(name, (SecretRef.parse(ref),))
        elif root is None:
            specs[name] = SecretSpec(name, default_sources(name))
        asked.append(name)
    if root is None and not pairs:
        raise ConfigError(
            "there is no lab here",
            why="no lab.toml here or above, and none registered",
            fix="name the secret: --secret LITELLM_MASTER_KEY=env:LITELLM_MASTER_KEY",
        )
    resolver = Resolver(specs, Providers(root or os.getcwd()), source)  # noqa: PTH109
    secrets = {name: resolver.resolve(name).secret for name in asked or names}
    read_from = [
        ref.place for spec in specs.values() for ref in spec.sources if ref.scheme == "env"
    ]
    become(argv, child_environment(os.environ, secrets, withheld=read_from, keep=keep))


def _lab_secrets(root: str | None) -> "tuple[dict[str, SecretSpec], tuple[str, ...]]":
    if root is None:
        return {}, ()
    import tomllib

    from bootstrap.domain.secret_spec import exec_names, parse_secret_specs

    try:
        document = tomllib.loads(read_lab(root))
    except tomllib.TOMLDecodeError:
        raise ConfigError(
            f"{root}/lab.toml is not valid TOML",
            why="it does not parse",
            fix="keyturn plan says where",
        ) from None
    return parse_secret_specs(document, "lab.toml"), exec_names(document, "lab.toml")


def _default_file() -> str:
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if not config.startswith("/"):
        config = f"{os.environ.get('HOME', '')}/.config"
    return f"{config}/keyturn/default-lab"
