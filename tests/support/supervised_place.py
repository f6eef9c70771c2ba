"""A supervised service's folder, for tests of the supervisor with real processes."""

from pathlib import Path

from bootstrap.adapters.supervisor import SupervisorService
from bootstrap.adapters.supervisor_state import STATUS_FILE, Limits, SupervisorState, read_state
from support.service_files import write_env_file

QUICK = Limits(backoff_first_s=0.05, backoff_most_s=0.2, stop_s=20, ready_s=20, start_s=20)


class SupervisedPlace:
    """Where its files are, and short words for what tests do with it.

    Args:
        root: An empty folder.
        port: The gateway's.
        key: The master key in its env file.
    """

    def __init__(self, root: Path, port: int, key: str) -> None:
        self.root = root
        self.port = port
        self.state_dir = root / "state"
        self.spec = root / "service.json"
        self.env_file = write_env_file(root / "secrets" / "litellm.env", LITELLM_MASTER_KEY=key)

    def service(self, limits: Limits = QUICK) -> SupervisorService:
        """Return what starts and stops it."""
        return SupervisorService(self.spec, self.state_dir, limits)

    def state(self) -> SupervisorState:
        """Return what its supervisor has noted."""
        found = read_state(self.state_dir / STATUS_FILE)
        assert found is not None
        return found

    def log(self) -> str:
        """Return its last lines."""
        return "\n".join(self.service().log_lines(1000))
