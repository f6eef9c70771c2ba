"""What `keyturn scan` reads of files, whatever lies in their place."""

import os
from pathlib import Path

import pytest

from bootstrap.adapters import scan_files
from bootstrap.adapters.scan_files import FolderHaystack, Start, home_files
from bootstrap.domain.scan_places import Kind


def read(haystack: FolderHaystack) -> dict[str, bytes]:
    """Return the content of every file that is searched, by its name."""
    items = [item for item in haystack.items() if item.place.kind is Kind.FILE]
    return {Path(os.fsdecode(i.place.name)).name: b"".join(i.chunks) for i in items}


def test_files_are_read_once_and_links_are_not_followed(tmp_path: Path) -> None:
    inner, outside = tmp_path / "top/inner", tmp_path / "outside"
    inner.mkdir(parents=True)
    outside.write_text("outside")
    (inner / "a").write_text("a")
    (inner / "link").symlink_to(outside)
    (inner / "loop").symlink_to(inner)
    odd = os.fsencode(inner) + b"/new\nline\xff"
    Path(os.fsdecode(odd)).write_text("odd")
    os.mkfifo(inner / "pipe")
    found = read(FolderHaystack([Start(tmp_path / "top"), Start(inner)]))
    assert found == {"a": b"a", os.fsdecode(b"new\nline\xff"): b"odd"}
    haystack = FolderHaystack([Start(inner / "pipe", asked=True)])
    assert read(haystack) == {}
    assert haystack.left_out[0][1] == "it is neither a file nor a folder"
    haystack = FolderHaystack([Start(inner, asked=True)])
    read(haystack)
    assert (os.fsencode(inner / "link"), "it is a link: name what it leads to") in haystack.left_out
    # At the beginning a link is followed: dotfiles are apt to be links.
    assert read(FolderHaystack([Start(inner / "link")])) == {"outside": b"outside"}


def test_packages_caches_and_what_was_spared_are_left_out(tmp_path: Path) -> None:
    for name in ("node_modules/x", "repo/.git/objects/x", "mine/lib/x", "spared/x", "kept/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "mine/pyvenv.cfg").touch()
    (tmp_path / "repo/.git/config").write_text("config")
    found = read(FolderHaystack([Start(tmp_path)], spared=[tmp_path / "spared"]))
    assert found == {"x": b"kept/x", "config": b"config"}


def test_a_big_file_is_left_out_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_files, "MOST_BYTES", 10)
    big = tmp_path / "big"
    big.write_bytes(b"x" * 11)
    haystack = FolderHaystack([Start(tmp_path)])
    assert read(haystack) == {}
    assert [name for name, _ in haystack.left_out] == [os.fsencode(big)]
    assert read(FolderHaystack([Start(big, asked=True)])) == {"big": b"x" * 11}


def test_a_file_that_grows_while_it_is_read_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_files, "MOST_BYTES", 10)
    (tmp_path / "log").write_bytes(b"x")
    items = [i for i in FolderHaystack([Start(tmp_path)]).items() if i.place.kind is Kind.FILE]
    (tmp_path / "log").write_bytes(b"x" * 50)
    assert len(b"".join(items[0].chunks)) == 10


def test_no_more_than_the_budget_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x" * 600_000)
    haystack = FolderHaystack([Start(tmp_path, most_bytes=1_000_000)])
    assert list(read(haystack)) == ["a"]
    assert [why for _, why in haystack.left_out] == [
        "only 0 MB of it were read; to search all of it, name it"
    ]


def test_what_cannot_be_listed_is_named_and_what_went_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def refuse(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(13, "no")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    haystack = FolderHaystack([Start(tmp_path), Start(tmp_path / "gone")])
    assert read(haystack) == {}
    assert [why for _, why in haystack.left_out] == ["permission denied"]


def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    items = [i for i in FolderHaystack([Start(tmp_path)]).items() if i.place.kind is Kind.FILE]
    (tmp_path / "f").unlink()
    os.mkfifo(tmp_path / "f")
    assert list(items[0].chunks) == []


def test_mounts_that_hold_no_files_are_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "portal doc").mkdir()
    (tmp_path / "portal doc" / "x").write_text("x")
    where = str(tmp_path / "portal doc").replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(f"1 2 0:1 / {where} rw - fuse.portal portal rw\n2 2 0:2 / / rw - ext4 x rw\n")
    monkeypatch.setattr(scan_files, "_MOUNTS", table)
    assert list(read(FolderHaystack([Start(tmp_path)]))) == ["mountinfo"]


def test_in_the_home_only_dotfiles_histories_and_env_files_count(tmp_path: Path) -> None:
    for name in (".bashrc", "lab.env", "my_history", "letter.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".config").mkdir()
    (tmp_path / "dots").mkdir()
    (tmp_path / "dots/zshrc").touch()
    (tmp_path / ".zshrc").symlink_to(tmp_path / "dots/zshrc")
    (tmp_path / ".away").symlink_to("/etc/hostname")
    (tmp_path / ".loop").symlink_to(".loop")
    names = [path.name for path in home_files(tmp_path)]
    assert names == [".bashrc", ".zshrc", "lab.env", "my_history"]
    assert home_files(tmp_path / "none") == []
