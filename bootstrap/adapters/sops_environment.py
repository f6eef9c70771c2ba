"""The variables that sops gets: those that it may need, and not the keys that we protect."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# sops has no use for these, and they are, or may hold, what we protect.
_NOT_FOR_SOPS = ("LITELLM_", "KEYTURN_", "DIRENV_")
_PATHS = ("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_CONFIG")


def sops_environment(environ: "Mapping[str, str]", config: str | None = None) -> "dict[str, str]":
    """Return the variables for sops. It may run in another folder, so paths become absolute.

    Args:
        environ: Ours.
        config: The `.sops.yaml` to use where the user names none; None lets sops look for it.
    """
    passed = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_NOT_FOR_SOPS) and not name.endswith("_API_KEY")
    }
    for name in _PATHS:
        if passed.get(name) and not passed[name].startswith("/"):
            passed[name] = f"{posix.getcwd()}/{passed[name]}"
    if config is not None:
        passed.setdefault("SOPS_CONFIG", config)
    # sops makes itself ready for 15 ms and works for one; without collecting garbage it takes 13.
    # The limit makes it collect nevertheless when it really uses memory. It does one thing after
    # the other, so that further threads only take the processor from whoever else is starting.
    if "GOGC" not in passed:
        passed |= {"GOGC": "off", "GOMEMLIMIT": "256MiB"}
    passed.setdefault("GOMAXPROCS", "1")
    return passed | {"SOPS_DISABLE_VERSION_CHECK": "1"}
