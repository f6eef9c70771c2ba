"""The variables that sops gets: those that it may need, and not the keys that we protect."""

import posix

from bootstrap.adapters.paths import is_regular, is_void, working_folder, xdg_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# sops has no use for these, and they are, or may hold, what we protect.
_NOT_FOR_SOPS = ("LITELLM_", "KEYTURN_", "DIRENV_")
_IDENTITIES = ("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE")
_PATHS = ("SOPS_CONFIG", *_IDENTITIES)


def sops_environment(environ: "Mapping[str, str]", config: str | None = None) -> "dict[str, str]":
    """Return the variables for sops. It may run in another folder, so paths become absolute.

    Args:
        environ: Ours.
        config: The `.sops.yaml` to use where the user names none; None lets sops look for it.
    """
    passed = {
        name: value
        for name, value in environ.items()
        if not (name.startswith(_NOT_FOR_SOPS) or name.endswith("_API_KEY") or is_void(name, value))
    }
    for name in _PATHS:
        if passed.get(name):
            passed[name] = from_here(passed[name])
    if config is not None:
        passed.setdefault("SOPS_CONFIG", config)
    # sops makes itself ready for 15 ms and works for one; without collecting garbage it takes 13.
    # The limit makes it collect nevertheless when it really uses memory. It does one thing after
    # the other, so that further threads only take the processor from whoever else is starting.
    if "GOGC" not in passed:
        passed |= {"GOGC": "off", "GOMEMLIMIT": "256MiB"}
    passed.setdefault("GOMAXPROCS", "1")
    return passed | {"SOPS_DISABLE_VERSION_CHECK": "1"}


def from_here(path: str) -> str:
    """Return `path` absolute as sops would understand it here: no `~`."""
    return path if path.startswith("/") else f"{working_folder()}/{path}"


def default_identity(environ: "Mapping[str, str]") -> str:
    """Return where sops looks for age identities by default, for the HOME in `environ`."""
    config = xdg_folder(environ, "XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    return f"{config}/sops/age/keys.txt"


def shown_identity(environ: "Mapping[str, str]") -> str:
    """Return the same for people: below the home with `~`."""
    home, path = environ.get("HOME", ""), default_identity(environ)
    return f"~{path.removeprefix(home)}" if path.startswith(f"{home}/") else path


def odd_identity(environ: "Mapping[str, str]") -> str | None:
    """Return the path of an identity that sops would read here and that is no regular file.

    A pipe would make it wait for ever, and a device could give it data without end.
    """
    home = environ.get("HOME", "")
    named = [from_here(environ[name]) for name in _IDENTITIES if environ.get(name)]
    ssh = (f"{home}/.ssh/id_ed25519", f"{home}/.ssh/id_rsa")
    for path in (default_identity(environ), *named, *ssh):
        try:
            if not is_regular(posix.stat(path)):
                return path
        except (OSError, ValueError):  # sops knows what to say of it
            continue
    return None
