"""Install the package of a client as an installer would: its files and a dist-info folder."""

import importlib
import shutil
import sys
from pathlib import Path

from support.homes import REPOSITORY

PLUGINS = REPOSITORY / "tests" / "plugins"
EXAMPLE = "keyturn_example_client"


def register(
    site: Path, value: str, *, dist: str = "keyturn-example-client", name: str = "example"
) -> None:
    """Say in `site` that a distribution brings a client."""
    info = site / f"{dist.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[keyturn.clients]\n{name} = {value}\n")
    forget()


def install_example(site: Path) -> None:
    """Install tests/plugins in `site`."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PLUGINS / EXAMPLE, site / EXAMPLE, ignore=ignore)
    register(site, f"{EXAMPLE}.client:CLIENT")


def uninstall(site: Path) -> None:
    """Take everything out of `site`."""
    for path in site.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    forget()


def forget() -> None:
    """Have Python look again what is installed."""
    for module in [name for name in sys.modules if name.partition(".")[0] == EXAMPLE]:
        del sys.modules[module]
    importlib.invalidate_caches()
