"""A lab whose gateway is a unit of a real `systemd --user`, in whose session its commands run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.forked import CopiesInSession, run
from support.homes import environment
from support.labs import CliLab, Ran
from support.sessions import UserSystemd

UNIT = "litellm.service"


@dataclass
class UnitLab(CliLab):
    """A lab in a session.

    Attributes:
        session: The session; its processes have numbers of their own.
        copies: What starts keyturn in it.
    """

    session: UserSystemd | None = None
    copies: CopiesInSession | None = None

    @property
    def systemd(self) -> UserSystemd:
        """The session."""
        assert self.session is not None
        return self.session

    @property
    def pid(self) -> int | None:
        """The process of its gateway, as the session numbers it."""
        return int(self.systemd.show(UNIT, "MainPID")) or None

    def write(self, *, top: str = "", gateway: str = "", more: str = "") -> None:
        """Write lab.toml."""
        super().write(top=top, gateway=gateway, more=more)
        text = self.file.read_text().replace('service = "supervisor"', 'service = "systemd"')
        self.file.write_text(text)

    def call(self, *words: str, **_: Any) -> Ran:
        """Run keyturn inside the session."""
        if self.copies is None:
            self.copies = CopiesInSession(self.systemd)
        variables = environment(self.home) | self.systemd.inner
        ran = Ran(*run(self.copies, words, cwd=self.root, env=variables, limit_s=300))
        self.said += [ran.out, ran.err]
        return ran

    def run(self, *words: str, **options: Any) -> Ran:
        """Run keyturn inside the session."""
        return self.call(*words, **options)


@contextmanager
def in_session(lab: CliLab) -> Iterator[UnitLab]:
    """Give the same lab in a session of its own."""
    session = UserSystemd(lab.home)
    session.start()
    try:
        yield UnitLab(lab.root, lab.home, lab.port, lab.wrapper, session=session)
    finally:
        session.stop()
