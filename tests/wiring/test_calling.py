"""How messages call keyturn, so that what is pasted means the lab it was said of."""

import shlex
from pathlib import Path, PurePath

from bootstrap.wiring import found_lab, labs
from bootstrap.wiring.calling import called


def test_only_the_registered_lab_goes_without_its_name(tmp_path: Path, home: Path) -> None:
    first, second = tmp_path / "lab one", tmp_path / "two"
    for folder in (first, second):
        folder.mkdir()
        (folder / "lab.toml").write_text("version = 1\n")
    program = found_lab.keyturn_program()
    assert shlex.split(called(PurePath(first))) == [program, "--lab", str(first)]
    assert labs.register_default(PurePath(first))
    assert shlex.split(called(PurePath(first))) == [program]
    assert shlex.split(called(PurePath(second))) == [program, "--lab", str(second)]
    (first / "lab.toml").unlink()
    assert shlex.split(called(PurePath(first))) == [program, "--lab", str(first)]
