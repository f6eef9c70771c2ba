"""The search for leaked secrets finds what it is there to find: a guard that can fail."""

import base64
import gzip
import json
import re
import shlex
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from support import leaks

SECRET = "sk-test-a/b+c\"d'e$f g\\h-0123456789"


def wrapped(data: bytes) -> bytes:
    return base64.encodebytes(b"x" * 50 + data)


DISGUISES: dict[str, Callable[[str], bytes]] = {
    "as it is": lambda s: s.encode(),
    "base64": lambda s: base64.b64encode(s.encode()),
    "base64 after one byte": lambda s: base64.b64encode(b"u" + s.encode() + b"tail"),
    "base64 after two bytes": lambda s: base64.b64encode(b"u:" + s.encode() + b"tail"),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(s.encode()),
    "base64 in lines": lambda s: wrapped(s.encode()),
    "hex": lambda s: s.encode().hex().encode(),
    "hex in capitals": lambda s: s.encode().hex().upper().encode(),
    "hex in pairs": lambda s: s.encode().hex(" ").encode(),
    "URL": lambda s: quote(s, safe="").encode(),
    "URL in small letters": lambda s: re.sub("%..", lambda m: m[0].lower(), quote(s)).encode(),
    "JSON": lambda s: json.dumps({"key": s}).encode(),
    "JSON in JSON": lambda s: json.dumps(json.dumps({"key": s})).encode(),
    "shell, quoted": lambda s: shlex.quote(s).encode(),
    "shell, backslashes": lambda s: (
        subprocess.run(
            ["bash", "-c", 'printf %q "$1"', "_", s], capture_output=True, check=True
        ).stdout
    ),
    "Python": lambda s: repr({"key": s}).encode(),
    "systemd": lambda s: s.replace("$", "$$").encode(),
    "UTF-16": lambda s: s.encode("utf-16"),
    "zlib": lambda s: zlib.compress(f"key={s}".encode()),
    "gzip": lambda s: gzip.compress(json.dumps(s).encode()),
    "zlib in base64, as direnv does": lambda s: (
        b"DIRENV_DIFF=" + base64.urlsafe_b64encode(zlib.compress(json.dumps({"n": s}).encode()))
    ),
    "gzip in base64": lambda s: base64.b64encode(gzip.compress(s.encode())),
}
IN_EACH = [
    pytest.param(made, id=name, marks=[pytest.mark.integration] * (name == "shell, backslashes"))
    for name, made in DISGUISES.items()
]


@pytest.mark.parametrize("disguise", IN_EACH)
def test_a_secret_is_found_in_a_file_in_every_disguise(
    tmp_path: Path, disguise: Callable[[str], bytes]
) -> None:
    place = tmp_path / "deep" / "file"
    place.parent.mkdir()
    place.write_bytes(disguise(SECRET))
    found = leaks.find(SECRET, [tmp_path])
    assert found
    assert all(str(place) in where for where in found)


@pytest.mark.parametrize("disguise", IN_EACH)
def test_a_secret_is_found_in_an_output_in_every_disguise(
    disguise: Callable[[str], bytes],
) -> None:
    assert leaks.find(SECRET, texts={"stderr": b"before " + disguise(SECRET)}) or disguise in (
        DISGUISES["zlib"],  # a stream in the middle of a text is not looked for
        DISGUISES["gzip"],
    )


@pytest.mark.parametrize("disguise", IN_EACH)
def test_another_secret_is_not_taken_for_it(
    tmp_path: Path, disguise: Callable[[str], bytes]
) -> None:
    (tmp_path / "file").write_bytes(disguise(SECRET.replace("0123456789", "9876543210")))
    assert leaks.find(SECRET, [tmp_path]) == []


def test_a_report_never_quotes_the_secret(tmp_path: Path) -> None:
    name = "sk-test-0123456789abcdef"
    (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to(name)
    found = leaks.find(name, [tmp_path])
    assert len(found) == 3
    assert name not in "".join(found)


def test_a_place_that_may_hold_it_is_left_out(tmp_path: Path) -> None:
    store, stray = tmp_path / "store", tmp_path / "stray"
    store.mkdir()
    (store / "env").write_text(SECRET)
    stray.write_text(SECRET)
    assert leaks.find(SECRET, [tmp_path], allowed=[store]) == [f"{stray} (plain)"]


def test_a_search_that_would_prove_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to search"):
        leaks.find(SECRET)
    with pytest.raises(ValueError, match="at least 8"):
        leaks.find("short", [tmp_path])
    with pytest.raises(FileNotFoundError):
        leaks.find(SECRET, [tmp_path / "no-such-folder"])


def test_damaged_compressed_data_does_not_stop_the_search(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"\x78\x9cnot zlib " + SECRET.encode())
    (tmp_path / "word").write_text("eJ" + "a" * 31)
    assert leaks.find(SECRET, [tmp_path]) == [f"{tmp_path / 'damaged'} (plain)"]


@pytest.mark.integration
class TestArguments:
    def test_a_secret_in_the_arguments_of_a_short_lived_grandchild_is_found(
        self, tmp_path: Path
    ) -> None:
        script = 'read -r key; sh -c "/bin/true \\"\\$1\\"; exit 3" _ "$key"'
        key = "sk-test-0123456789"
        traced = leaks.watch_argv(["sh", "-c", script], cwd=tmp_path, input=f"{key}\n")
        assert traced.status == 3
        assert traced.find(key)

    def test_a_secret_on_standard_input_or_in_the_environment_is_no_finding(
        self, tmp_path: Path
    ) -> None:
        traced = leaks.watch_argv(
            ["sh", "-c", "cat >/dev/null; env | wc -l"],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "KEY": SECRET},
            input=SECRET,
        )
        assert traced.status == 0
        assert int(traced.stdout) >= 2
        assert traced.find(SECRET) == []
        assert list(tmp_path.iterdir()) == []

    def test_a_daemon_that_stays_does_not_hold_up_the_report(self, tmp_path: Path) -> None:
        script = "setsid sleep 300 >/dev/null 2>&1 & echo $!; exit 4"
        traced = leaks.watch_argv(["sh", "-c", script], cwd=tmp_path)
        assert traced.status == 4
        subprocess.run(["kill", traced.stdout.strip()], check=True)  # it lives on

    def test_a_program_that_hangs_is_ended(self, tmp_path: Path) -> None:
        with pytest.raises(subprocess.TimeoutExpired):
            leaks.watch_argv(["sleep", "300"], cwd=tmp_path, timeout=0.3)
