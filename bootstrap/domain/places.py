"""Where things live on this machine, as paths; the adapters fill in the homes."""

from dataclasses import dataclass
from pathlib import PurePath

# The folder of the env files, in the one for configurations.
SECRETS_FOLDER = "lab-secrets"
_MOST_BYTES = 200


@dataclass(frozen=True)
class Places:
    """The homes that everything else is relative to. All absolute.

    Attributes:
        home: The user's home.
        config: `$XDG_CONFIG_HOME`, else `~/.config`.
        state: `$XDG_STATE_HOME`, else `~/.local/state`.
        cache: `$XDG_CACHE_HOME`, else `~/.cache`.
        factory: droid's folder; moved by `FACTORY_HOME_OVERRIDE`.
        claude_config: Where `CLAUDE_CONFIG_DIR` moves Claude Code's folder to, or None.
    """

    home: PurePath
    config: PurePath
    state: PurePath
    cache: PurePath
    factory: PurePath
    claude_config: PurePath | None = None

    @property
    def claude(self) -> PurePath:
        """Claude Code's folder."""
        return self.claude_config or self.home / ".claude"

    @property
    def litellm(self) -> PurePath:
        """The gateway's folder."""
        return self.config / "litellm"

    @property
    def venv(self) -> PurePath:
        """The gateway's own virtual environment."""
        return self.litellm / "venv"

    @property
    def litellm_serve(self) -> PurePath:
        """The program that serves LiteLLM on a socket of the service manager's."""
        return self.litellm / "keyturn_serve.py"

    @property
    def env_file(self) -> PurePath:
        """The lab's keys for shells and, without the guard, for the service."""
        return self.config / SECRETS_FOLDER / "litellm.env"

    @property
    def gateway_env(self) -> PurePath:
        """What the service reads under the guard: everything but the key that clients hold."""
        return self.config / SECRETS_FOLDER / "gateway.env"

    @property
    def default_lab(self) -> PurePath:
        """The file that names the lab to use from any folder."""
        return self.config / "keyturn" / "default-lab"

    def lab_state(self, root: PurePath) -> PurePath:
        """Return the folder of what keyturn remembers about the lab at `root`."""
        import hashlib

        mark = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        # A folder's name may have 255 bytes; that of the lab is there for people only.
        name = root.name.encode("utf-8", "replace")[:_MOST_BYTES].decode("utf-8", "ignore")
        return self.state / "keyturn" / f"{name or 'root'}-{mark}"
