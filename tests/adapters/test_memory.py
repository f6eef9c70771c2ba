"""How much memory is left, where the machine or a container's limit says so."""

from pathlib import Path

import pytest

from bootstrap.adapters import memory
from bootstrap.adapters.memory import MEBIBYTE, available, hindrance


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc/meminfo with 1000 MiB left, and a cgroup folder without limits."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:        4096000 kB\nMemAvailable:    1024000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    return tmp_path


def test_this_machine_has_some() -> None:
    found = available()
    assert found is not None
    assert found > 0


def test_the_machines_own_number_counts_without_a_limit(machine: Path) -> None:
    assert available() == 1000 * MEBIBYTE
    (machine / "memory.max").write_text("max\n")
    assert available() == 1000 * MEBIBYTE


@pytest.mark.parametrize(
    ("limit", "used", "statistics", "name"),
    [
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat",
         "total_inactive_file"),
    ],
)  # fmt: skip
def test_a_containers_limit_counts_where_it_leaves_less(
    machine: Path, limit: str, used: str, statistics: str, name: str
) -> None:
    (machine / "memory").mkdir()
    (machine / limit).write_text(f"{900 * MEBIBYTE}\n")
    (machine / used).write_text(f"{800 * MEBIBYTE}\n")
    (machine / statistics).write_text(f"anon 5\n{name} {200 * MEBIBYTE}\n")
    assert available() == 300 * MEBIBYTE  # file pages that can be dropped are no use of it


def test_where_nobody_says_anything_nothing_is_hindered(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "meminfo").write_text("MemTotal: 1 kB\n")
    assert available() is None
    monkeypatch.setattr(memory, "_MEMINFO", machine / "nowhere")
    assert available() is None
    assert hindrance(MEBIBYTE) is None


def test_too_little_is_said_with_numbers(machine: Path) -> None:
    assert hindrance(1000 * MEBIBYTE) is None
    assert hindrance(1001 * MEBIBYTE) == (
        "only 1000 MiB of memory are free, and a second one needs 1001"
    )
