"""Put LiteLLM into a virtual environment of its own, whole or not at all.

A stamp inside the environment tells ours from one that somebody made by hand, and a finished
installation from one that broke off. The version is read from the package's metadata: running
`litellm --version` takes as long as starting the gateway (8 s, seen with 1.106.2).

A finished environment is never changed, since the gateway may run from it and still has modules
to load: another version goes into a folder beside it, and the gateway is swapped to that.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from bootstrap.adapters.install_process import explain, run_logged, scrubbed
from bootstrap.adapters.paths import without_waiting
from bootstrap.domain.errors import ServiceError
from bootstrap.domain.lab import LITELLM_VERSION
from bootstrap.ports import Progress

STAMP = "keyturn.json"
PINNED = Path(__file__).resolve().parent.parent / "gateway" / f"requirements-{LITELLM_VERSION}.txt"


class LitellmInstaller:
    """The gateway's program in its own virtual environment, or one that the lab names.

    Args:
        venv: The environment's folder, for example `~/.config/litellm/venv`. Where that holds
            another version already: `venv-VERSION-PINS` beside it.
        version: The LiteLLM version that must be in it.
        command: A `litellm` to use instead, by path or by name; None to install one.
        environ: Where PATH, proxies and package settings come from; children get no key of it.
        pinned: The hashed requirements of LITELLM_VERSION.
        python: The interpreter that the environment is made from.
    """

    def __init__(
        self,
        venv: Path,
        version: str,
        command: str | None,
        *,
        environ: Mapping[str, str] = os.environ,
        pinned: Path = PINNED,
        python: str = sys.executable,
    ) -> None:
        self._base = venv
        self._version = version
        self._command = command
        self._environ = environ
        self._pinned = pinned if version == LITELLM_VERSION else None
        self._python = python
        self._log = venv.with_name("install.log")

    def installed(self) -> PurePath | None:
        """Return the path of a complete `litellm` of the right version, or None.

        An environment without our stamp is somebody else's: it is taken as it is where it has
        the right version. The lab's own command is taken whatever its version.
        """
        if self._command is not None:
            found = self._which(os.path.expanduser(self._command))  # noqa: PTH111 - never raises
            return PurePath(Path(found).absolute()) if found else None
        if not self._program_works() or self._version_inside() != self._version:
            return None
        stamp = _stamp_in(self._venv)
        if stamp is None or stamp == self._wanted_stamp():
            return PurePath(self._program)
        return None

    def interpreter(self) -> PurePath | None:
        """Return LiteLLM's own Python, installed or still to be.

        For the lab's own command that is the Python of the environment it lies in, if LiteLLM's
        proxy and uvicorn are in there; None for anything else, such as a script around it.
        """
        if self._command is None:
            return PurePath(self._interpreter)
        found = self.installed()
        if found is None:
            return None
        environment = Path(found).resolve().parent.parent
        parts = ("litellm/proxy/proxy_cli.py", "uvicorn/__init__.py")
        folders = environment.glob("lib/python3*/site-packages")
        python = environment / "bin" / "python"
        whole = any(all((folder / part).is_file() for part in parts) for folder in folders)
        return PurePath(python) if whole and os.access(python, os.X_OK) else None

    def can_reencrypt(self) -> bool:
        """Tell by its files whether it can encrypt its database anew: 1.80 cannot, 1.106.2 can."""
        found = self.installed()
        part = "lib/python3*/site-packages/litellm/proxy/db/master_key_migration.py"
        return found is not None and any(Path(found).resolve().parent.parent.glob(part))

    def install(self, progress: Progress) -> PurePath:
        """Install what is missing, and return the path of `litellm`.

        A run that broke off is taken up again: the environment is kept, and what was already
        downloaded comes out of the package manager's own cache.

        Raises:
            ServiceError: It cannot be installed, or the folder holds something of somebody else.
        """
        found = self.installed()
        if found is not None:
            return found
        self._refuse_foreign()
        uv = self._which("uv")
        try:
            self._venv.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._log.unlink(missing_ok=True)
            self._remove_earlier()
            with progress.step(f"installing LiteLLM {self._version} (600 MB, once)"):
                self._make_venv(uv)
                self._write_stamp({"complete": False})
                self._install_packages(uv)
            if not self._program_works() or self._version_inside() != self._version:
                raise self._failure("the installer ended well, but the program is not there")
            self._write_stamp(self._wanted_stamp())
        except OSError as error:
            raise self._failure(type(error).__name__ + _disk_words(error)) from None
        return PurePath(self._program)

    @property
    def _venv(self) -> Path:
        stamp, wanted = _stamp_in(self._base), self._wanted_stamp()
        other = isinstance(stamp, dict) and stamp.get("complete") is True and stamp != wanted
        return self._beside(wanted) if other else self._base

    def _beside(self, wanted: Mapping[str, object]) -> Path:
        mark = str(wanted["requirements"])[:8]
        words = [self._base.name, self._version, *([mark] if mark else [])]
        return self._base.with_name("-".join(words))

    def _which(self, program: str) -> str | None:
        return shutil.which(program, path=self._environ.get("PATH", os.defpath))

    @property
    def _program(self) -> Path:
        return self._venv / "bin" / "litellm"

    @property
    def _interpreter(self) -> Path:
        return self._venv / "bin" / "python"

    def _program_works(self) -> bool:
        """Tell whether program and interpreter are there; a Python upgrade can take the second."""
        return os.access(self._program, os.X_OK) and os.access(self._interpreter, os.X_OK)

    def _version_inside(self) -> str | None:
        from importlib.metadata import distributions

        folders = [str(path) for path in self._venv.glob("lib/python3*/site-packages")]
        return next((found.version for found in distributions(name="litellm", path=folders)), None)

    def _wanted_stamp(self) -> dict[str, object]:
        digest = hashlib.sha256(self._pinned.read_bytes()).hexdigest() if self._pinned else ""
        return {"complete": True, "requirements": digest, "version": self._version}

    def _write_stamp(self, stamp: Mapping[str, object]) -> None:
        """Write the stamp so that after a power cut it is there whole, or the old one is."""
        temporary = self._venv / f".{STAMP}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(stamp, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._venv / STAMP)
        with _opened_folder(self._venv) as folder:
            os.fsync(folder)

    def _refuse_foreign(self) -> None:
        """Stop where installing would change what somebody else made.

        Raises:
            ServiceError: The lab names a command, or the folder is neither ours nor free.
        """
        if self._command is not None:
            raise ServiceError(
                f"there is no program {self._command}",
                why="gateway.command in lab.toml names it, and it cannot be run",
                fix="correct gateway.command, or remove it and run: keyturn apply",
            )
        if not os.path.lexists(self._venv) or _stamp_in(self._venv) is not None:
            return
        inside = self._version_inside()
        if inside == self._version:
            raise ServiceError(
                f"{self._venv} is broken",
                why="keyturn did not make it, and its Python or its litellm cannot be run",
                fix="move it away and run: keyturn apply",
            )
        if inside is not None:
            raise ServiceError(
                f"{self._venv} is not keyturn's",
                why=f"it holds LiteLLM {inside}, and the lab wants {self._version}",
                fix=f'write litellm_version = "{inside}" under [gateway] in lab.toml, '
                "or move that folder away",
            )
        if not self._venv.is_dir() or (
            any(self._venv.iterdir()) and not (self._venv / "pyvenv.cfg").is_file()
        ):
            raise ServiceError(
                f"{self._venv} is not keyturn's",
                why="something that is not a Python environment stands there",
                fix="move it away and run: keyturn apply",
            )

    def _remove_earlier(self) -> None:
        """Remove what was installed beside the first environment and is not in use any more."""
        for folder in self._base.parent.glob(f"{self._base.name}-*"):
            if folder != self._venv and _stamp_in(folder) is not None and not _is_used(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _make_venv(self, uv: str | None) -> None:
        """Make the environment; one that is there and works is kept."""
        works = os.access(self._interpreter, os.X_OK)
        if uv is not None:
            if not works:
                self._run([uv, "venv", "--python", self._python, str(self._venv)])
        elif not works:
            self._run([self._python, "-m", "venv", "--clear", str(self._venv)])
        elif not (self._venv / "bin" / "pip").exists():  # uv made it, and is gone now
            self._run([self._python, "-m", "venv", str(self._venv)])

    def _install_packages(self, uv: str | None) -> None:
        inside = str(self._interpreter)
        what = (
            ["--require-hashes", "-r", str(self._pinned)]
            if self._pinned
            # prisma: without it 1.106.2 answers 500 instead of 401 to a request with no key.
            else [f"litellm[proxy]=={self._version}", "prisma"]
        )
        if uv is not None:
            # Without compiled bytecode the gateway's first start takes more than twice as long.
            self._run([uv, "pip", "install", "--python", inside, "--compile-bytecode", *what])
            return
        self._run(
            [inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *what]
        )
        # pip may be told not to compile. A file that is for another Python does not compile: fine.
        folders = [str(path) for path in self._venv.glob("lib/python3*/site-packages")]
        run_logged([inside, "-m", "compileall", "-qq", *folders], self._clean(), self._log)

    def _run(self, argv: Sequence[str]) -> None:
        status, output = run_logged(argv, self._clean(), self._log)
        if status != 0:
            why, fix = explain(output, status, self._version)
            raise self._failure(why, fix)

    def _clean(self) -> dict[str, str]:
        return scrubbed(self._environ)

    def _failure(self, why: str, fix: str = "run keyturn apply again") -> ServiceError:
        return ServiceError(
            f"LiteLLM {self._version} is not installed",
            why=why,
            fix=f"{fix}; the installer's own words are in {self._log}",
        )


def _stamp_in(venv: Path) -> object:
    """Return what the stamp says, None where there is none, "damaged" where it says nothing."""
    try:
        with open(venv / STAMP, "rb", opener=without_waiting) as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        return "damaged"


def _is_used(venv: Path) -> bool:
    """Tell whether a process runs from an environment."""
    mark = f"{venv}/".encode()
    # No glob: it ends without a word at the first folder that it may not look into.
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (process / "cmdline").read_bytes().startswith(mark):
                return True
    return False


def _disk_words(error: OSError) -> str:
    place = f" at {error.filename}" if isinstance(error.filename, str) else ""
    return f"{place} ({error.strerror})" if error.strerror else place


@contextlib.contextmanager
def _opened_folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
