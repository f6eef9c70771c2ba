"""Where the installed command begins for `keyturn exec`; see scripts/keyturn.

Half of what exec takes beyond Python's own start is importing twenty small modules, and most of
that is looking for them. So they are read straight from their compiled files here, as long as
those fit their sources; everything else is left to Python.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType
    from typing import NoReturn

_HARMLESS = ("--clean", "--mask", "-q", "--quiet")
# In an order in which none needs a later one: what starts sops early, and what every run needs.
# What a signal raises comes first: it can arrive as soon as sops is started.
NEEDED_FIRST = (
    "bootstrap",
    "bootstrap.domain",
    "bootstrap.domain.base_errors",
    "bootstrap.main",
    "bootstrap.adapters",
    "bootstrap.adapters.variables",
    "bootstrap.adapters.exec_cache",
    "bootstrap.adapters.paths",
    "bootstrap.adapters.find_lab",
    "bootstrap.adapters.ending",
    "bootstrap.adapters.sops_environment",
    "bootstrap.adapters.spawn",
    "bootstrap.adapters.ahead",
)
NEEDED = (
    "bootstrap",
    "bootstrap.domain",
    "bootstrap.domain.base_errors",
    "bootstrap.main",
    "bootstrap.cli",
    "bootstrap.cli.exec_command",
    "bootstrap.adapters",
    "bootstrap.adapters.ending",
    "bootstrap.adapters.become",
    "bootstrap.adapters.variables",
    "bootstrap.adapters.paths",
    "bootstrap.adapters.find_lab",
    "bootstrap.domain.ref",
    "bootstrap.domain.secret_spec",
    "bootstrap.domain.exec_settings",
    "bootstrap.workflows",
    "bootstrap.workflows.resolve",
    "bootstrap.wiring",
    "bootstrap.wiring.providers",
    "bootstrap.wiring.execution",
    "bootstrap.domain.secret",
)
_HEADER = 16
_COMPILED = f".{sys.implementation.cache_tag}.pyc"


class _Loader(SourceFileLoader):
    """Python's own loader, with the code at hand."""

    def __init__(self, name: str, path: str, code: "CodeType") -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> "CodeType | None":
        """Return the code that was read when the module was found."""
        return self.code


class Finder:
    """Finds this package and its modules by their compiled files.

    Args:
        root: The folder of the package's folder.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: object = None
    ) -> ModuleSpec | None:
        """Return how to load `name`; None leaves it to Python's other finders."""
        if name != "bootstrap" and not name.startswith("bootstrap."):
            return None
        place = f"{self._root}/{name.replace('.', '/')}"
        folder, _, last = place.rpartition("/")
        source, is_package = f"{place}.py", False
        try:
            try:
                found = posix.stat(source)
            except FileNotFoundError:
                folder, last, source, is_package = place, "__init__", f"{place}/__init__.py", True
                found = posix.stat(source)
            data = _read(f"{folder}/__pycache__/{last}{_COMPILED}")
            state = int(found.st_mtime).to_bytes(4, "little") + found.st_size.to_bytes(4, "little")
            # Four zero bytes: to be checked by time and size (PEP 552).
            if data[4:_HEADER] != b"\0\0\0\0" + state or data[:4] != MAGIC_NUMBER:
                return None
            code = marshal.loads(memoryview(data)[_HEADER:])  # noqa: S302 - as Python itself does
        except (OSError, OverflowError, ValueError, EOFError, TypeError):
            return None
        spec = ModuleSpec(name, _Loader(name, source, code), origin=source, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [place]
        return spec


def preload(finder: Finder, names: "Sequence[str]") -> None:
    """Load modules without the import system, which takes twice as long for each.

    What cannot be had like that is left to the import statements that want it.
    """
    for name in names:
        parent = name.rpartition(".")[0]
        if name in sys.modules or (parent and parent not in sys.modules):
            continue
        spec = finder.find_spec(name)
        if spec is not None and isinstance(spec.loader, _Loader):
            _load(spec, spec.loader)


def _load(spec: ModuleSpec, loader: _Loader) -> None:
    """Make the module and run its code, as the import system does."""
    name = spec.name
    parent, _, last = name.rpartition(".")
    module = type(sys)(name)
    module.__spec__, module.__loader__, module.__file__ = spec, loader, spec.origin
    module.__package__ = parent
    if spec.submodule_search_locations is not None:
        module.__package__, module.__path__ = name, spec.submodule_search_locations
    sys.modules[name] = module
    try:
        exec(loader.code, module.__dict__)  # noqa: S102 - an import is nothing else
    except BaseException:
        del sys.modules[name]
        raise
    if parent:
        setattr(sys.modules[parent], last, module)


def _read(path: str) -> bytes:
    handle = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(handle, posix.fstat(handle).st_size)
    finally:
        posix.close(handle)


def main() -> "NoReturn":
    """Run `keyturn exec`.

    Before `exec` the command line has the package's folder, site-packages, and the number of the
    sops that scripts/keyturn started, or nothing; see `bootstrap.adapters.ahead`.
    """
    import gc

    gc.disable()  # there is no garbage yet when the program takes over
    root, site, early = sys.argv[1:4]
    del sys.argv[1:4]
    sys.path += root, site  # last, so that they hide nothing of Python itself
    finder = Finder(root)
    sys.meta_path.insert(0, finder)
    try:
        if early or _asks_for_defaults(sys.argv[2:]):
            code = _start_early(finder, int(early or 0))
        else:
            code = _run(finder)
    except BaseException as error:
        # An Interrupted, which need not have been loaded: a signal came before `run` could see it.
        number = getattr(error, "signal_number", None)
        if number is None:
            raise
        code = 128 + number
    sys.exit(code)


def _run(finder: Finder) -> int:
    preload(finder, NEEDED)
    from bootstrap.main import main as run

    return run()


def _start_early(finder: Finder, early: int) -> int:
    preload(finder, NEEDED_FIRST)
    from bootstrap.adapters import ahead
    from bootstrap.main import open_missing_descriptors

    try:
        open_missing_descriptors()  # before a pipe to sops takes the number of one
        ahead.start(early)
        return _run(finder)
    finally:
        ahead.abandon()


def _asks_for_defaults(words: "Sequence[str]") -> bool:
    """Tell whether the words after `exec` ask for what [exec] names, from its first source."""
    left = iter(words)
    for word in left:
        if word == "--keep":
            next(left, None)
        elif word == "--" or not word.startswith("-"):
            return True
        elif word not in _HARMLESS:
            return False
    return False
