"""What was seen of Claude Code."""

from collections.abc import Iterator
from dataclasses import dataclass

from bootstrap.domain.doctor.facts import FoundFile, Installation, RunningProgram
from bootstrap.domain.secret import Secret


@dataclass(frozen=True)
class ClaudeFacts:
    """What was seen of Claude Code.

    Attributes:
        settings: The user's settings.json.
        project: Settings files of the project around the working directory, nearest first.
        shell_files: The start files of shells in the user's home that are there.
        installations: What PATH leads to, in its order.
        running: Processes of Claude Code that belong to this user.
        helper_gone: The program of the user's apiKeyHelper, where it is named by its path and is
            not there; else empty.
    """

    settings: FoundFile
    project: tuple[FoundFile, ...] = ()
    shell_files: tuple[FoundFile, ...] = ()
    installations: tuple[Installation, ...] = ()
    running: tuple[RunningProgram, ...] = ()
    helper_gone: str = ""

    def secret_texts(self) -> Iterator[tuple[str, Secret]]:
        """Yield (name, value) of the keys in the settings and in the shells' files."""
        from bootstrap.domain.doctor.claude_settings import keys_in

        yield from keys_in(self)
