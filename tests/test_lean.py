"""Loading our modules by their compiled files: the same modules as Python would load."""

import gc
import importlib
import os
import py_compile
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap import lean
from bootstrap.adapters import ahead
from bootstrap.domain.base_errors import Interrupted
from bootstrap.lean import Finder, preload

PACKAGE, MODULE = "bootstrap.made_up", "bootstrap.made_up.part"


# One before the package it is in, which is left to the import system, and one that is not there.
NAMES = (MODULE, PACKAGE, MODULE, "bootstrap.made_up.none")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The folder of a package `bootstrap` that has one more package with one module."""
    folder = tmp_path / "bootstrap" / "made_up"
    folder.mkdir(parents=True)
    for name, text in (("__init__.py", '"""A package."""\n'), ("part.py", "VALUE = __file__\n")):
        (folder / name).write_text(text)
        py_compile.compile(str(folder / name))
    yield tmp_path
    for name in (PACKAGE, MODULE):
        sys.modules.pop(name, None)
    vars(sys.modules["bootstrap"]).pop("made_up", None)


def compiled(root: Path, name: str) -> Path:
    (found,) = (root / "bootstrap/made_up/__pycache__").glob(f"{name}.*.pyc")
    return found


def test_modules_and_packages_are_found_by_their_compiled_files(root: Path) -> None:
    package, module = (Finder(str(root)).find_spec(name) for name in (PACKAGE, MODULE))
    assert package is not None
    assert package.submodule_search_locations == [f"{root}/bootstrap/made_up"]
    assert module is not None
    assert module.submodule_search_locations is None
    assert module.origin == f"{root}/bootstrap/made_up/part.py"


def test_what_is_preloaded_is_as_if_it_were_imported(root: Path) -> None:
    preload(Finder(str(root)), NAMES)
    module = sys.modules[MODULE]
    assert module.VALUE == module.__file__ == f"{root}/bootstrap/made_up/part.py"
    assert module.__package__ == PACKAGE
    assert module.__spec__ is not None
    assert importlib.import_module(MODULE) is module
    assert sys.modules[PACKAGE].part is module
    assert list(sys.modules[PACKAGE].__path__) == [f"{root}/bootstrap/made_up"]


def test_the_import_system_loads_what_the_finder_finds(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", [Finder(str(root)), *sys.meta_path])
    value = importlib.import_module(MODULE).VALUE
    assert value == f"{root}/bootstrap/made_up/part.py"


def test_a_module_that_fails_is_not_left_half_loaded(root: Path) -> None:
    source = root / "bootstrap/made_up/part.py"
    source.write_text("raise LookupError\n")
    py_compile.compile(str(source))
    with pytest.raises(LookupError):
        preload(Finder(str(root)), NAMES)
    assert MODULE not in sys.modules


@pytest.mark.parametrize("damage", ["missing", "empty", "other python", "changed", "cut off"])
def test_whatever_is_wrong_with_a_compiled_file_is_left_to_python(root: Path, damage: str) -> None:
    file, source = compiled(root, "part"), root / "bootstrap/made_up/part.py"
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "other python":
        file.write_bytes(b"\0\0\0\0" + data[4:])
    elif damage == "changed":
        os.utime(source, (1, 1))
    else:
        file.write_bytes(data[:30])
    assert Finder(str(root)).find_spec(MODULE) is None


def test_other_modules_are_not_its_business(root: Path) -> None:
    for name in ("json", "bootstrap_more.x", "bootstrap.made_up.none"):
        assert Finder(str(root)).find_spec(name) is None


@pytest.mark.parametrize(
    ("words", "number", "early"),
    [
        (["--", "true"], "", "start 0"),
        (["--mask", "--keep", "--source", "-q", "true"], "", "start 0"),
        (["--", "true"], "4711", "start 4711"),
        (["--source", "env", "true"], "", None),
        (["--secret=A", "true"], "", None),
        (["--keep"], "", None),
        ([], "", None),
    ],
)
def test_sops_is_started_early_only_for_what_the_lab_lists(
    root: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], number: str, early: str | None
) -> None:
    diary: list[str] = []

    def run() -> int:
        diary.append("run")
        return 5

    monkeypatch.setattr(ahead, "start", lambda early: diary.append(f"start {early}"))
    monkeypatch.setattr(ahead, "abandon", lambda: diary.append("abandon"))
    monkeypatch.setattr("bootstrap.main.main", run)
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "argv", ["-c", str(root), "/site", number, "exec", *words])
    monkeypatch.setattr(sys, "path", ["/python"])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    try:
        with pytest.raises(SystemExit) as ended:
            lean.main()
    finally:
        gc.enable()
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 5
    assert diary == ([early, "run", "abandon"] if early else ["run"])
    assert sys.path == ["/python", str(root), "/site"]
    assert sys.argv == ["-c", "exec", *words]


@pytest.mark.parametrize(
    ("error", "ends", "code"),
    [(Interrupted(signal.SIGTERM), SystemExit, 143), (ValueError("a bug"), ValueError, None)],
)
def test_a_signal_before_the_words_are_read_is_no_crash(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    ends: type[BaseException],
    code: int | None,
) -> None:
    diary: list[str] = []

    def interrupted(early: int) -> None:
        raise error

    monkeypatch.setattr(ahead, "start", interrupted)
    monkeypatch.setattr(ahead, "abandon", lambda: diary.append("abandon"))
    monkeypatch.setattr(sys, "argv", ["-c", str(root), "/site", "", "exec", "--", "true"])
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    try:
        with pytest.raises(ends) as ended:
            lean.main()
    finally:
        gc.enable()
    assert getattr(ended.value, "code", None) == code
    assert diary == ["abandon"]
