"""Masking lines with the value in them, written where the CI system reads its commands."""

from collections.abc import Mapping

from bootstrap.adapters.output import write_text
from bootstrap.domain.ci import gitlab_problem, mask_command, parts
from bootstrap.domain.secret import Secret


def write_masks(kind: str, secrets: Mapping[str, Secret]) -> list[str]:
    """Write one command for each value and each of its lines; the system takes them from the log.

    Args:
        kind: `github` or `azure`.
        secrets: By name.

    Returns:
        The names of those too short to be hidden.

    Raises:
        OSError: Standard output cannot be written.
    """
    too_short, commands = [], []
    for name, secret in secrets.items():
        found = parts(secret.reveal())
        if not found:
            too_short.append(name)
        for part in found:
            command = mask_command(kind, part)
            if command is not None:
                commands.append(f"{command}\n")
    write_text("".join(commands))
    return too_short


def gitlab_problems(secrets: Mapping[str, Secret]) -> dict[str, str | None]:
    """Return, by name, why GitLab would not mask a variable with that value, or None."""
    return {name: gitlab_problem(secret.reveal()) for name, secret in secrets.items()}
