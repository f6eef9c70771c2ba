"""The real PostgreSQL, in an empty folder of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.waiting import until

PASSWORD = "test-password-of-the-database-0123456789"
_NAME = "litellm"
# It refuses to run as root.
_USER = "postgres" if os.geteuid() == 0 else None
_MAKE = (
    f"--username={_NAME}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync",
)


class Database:
    """A running PostgreSQL.

    Attributes:
        url: What a program is told that uses it.
    """

    def __init__(self, programs: Path, port: int) -> None:
        self.url = f"postgresql://{_NAME}:{PASSWORD}@127.0.0.1:{port}/postgres"
        self._psql = [str(programs / "psql"), "--no-psqlrc", "-qAt", "--set=ON_ERROR_STOP=1"]
        self._environment = os.environ | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": _NAME,
            "PGDATABASE": "postgres",
            "PGPASSWORD": PASSWORD,
            "PGOPTIONS": "-c client_min_messages=warning",
        }

    def ask(self, statements: str) -> str:
        """Return what SQL statements say."""
        done = self._ask(statements)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        return self._ask("").returncode == 0

    def _ask(self, statements: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._psql, env=self._environment, input=statements, capture_output=True, text=True
        )


@contextmanager
def running_postgresql(port: int) -> Iterator[Database]:
    """Run an empty one at `port` of the loopback address until the block ends."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "there is no PostgreSQL: scripts/test-packages.sh installs it"
    programs = found[-1].parent
    # Not below pytest's folders, which its user cannot look into.
    with tempfile.TemporaryDirectory(prefix="keyturn-postgresql-") as name:
        folder = Path(name)
        data, log, password = folder / "data", folder / "log", folder / "password"
        password.write_text(PASSWORD)
        if _USER:
            for path in (folder, password):
                shutil.chown(path, _USER, _USER)
        made = _start([programs / "initdb", *_MAKE, f"--pwfile={password}", "-D", data], log)
        assert made.wait() == 0, log.read_text()
        settings = {
            "fsync": "off",
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
        }
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        server = _start([programs / "postgres", "-D", data, *words], log)
        try:
            database = Database(programs, port)
            until(database.answers, "PostgreSQL")
            yield database
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def _start(argv: Sequence[object], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        return subprocess.Popen(
            [str(word) for word in argv],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            user=_USER,
            group=_USER,
            extra_groups=[] if _USER else None,
        )
