"""The real Factory droid: installed once below .tools/, run offline in a given home."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from support.homes import DOWNLOADS, machine_environment
from support.sessions import TOOLS

_SCRIPT = TOOLS / "droid_exec.sh"
# Without these it would ask for a login, update itself, or reach for the machine's keyring.
OFFLINE = {
    "FACTORY_AIRGAP_ENABLED": "true",
    "FACTORY_DROID_AUTO_UPDATE_ENABLED": "false",
    "FACTORY_DISABLE_KEYRING": "1",
    "NO_PROXY": "127.0.0.1,localhost",
}

# Reads its settings as droid does, asks once, and shows what an agent could print.
_STAND_IN = f"""#!{sys.executable}
import base64, json, os, re, sys, urllib.request
settings = json.load(open(os.environ["FACTORY_RUNTIME_SETTINGS_PATH"]))
entry = settings["customModels"][0]
key = re.sub(r"\\$\\{{(\\w+)\\}}", lambda m: os.environ[m[1]], entry["apiKey"])
body = {{"model": entry["model"], "messages": [{{"role": "user", "content": sys.argv[-1]}}]}}
request = urllib.request.Request(
    entry["baseUrl"] + "/chat/completions", json.dumps(body).encode(),
    {{"Authorization": "Bearer " + key, "Content-Type": "application/json"}})
with urllib.request.urlopen(request) as answer:
    print(json.load(answer)["choices"][0]["message"]["content"])
print("I found", key, base64.b64encode(key.encode()).decode())
print(sorted(n for n in os.environ if n.startswith(("LITELLM", "KEYTURN", "ACTION_"))))
"""


def write_stand_in(program: Path) -> None:
    """Make a program that does of `droid exec` what a job needs, in some lines."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_STAND_IN)
    program.chmod(0o755)


@cache
def binary() -> Path:
    """Return the program's path; the first call in a checkout installs it from npm (some minutes).

    Two at once are safe: the script holds a lock while it installs.
    """
    DOWNLOADS.mkdir(exist_ok=True)
    machine = machine_environment()
    # Every checkout has its own cache, so a second install needs no network.
    machine.setdefault("npm_config_cache", str(DOWNLOADS / "npm-cache"))
    found = subprocess.run(
        [_SCRIPT, "--print-bin", DOWNLOADS, DOWNLOADS],
        env=machine,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, f"droid cannot be installed: {found.stderr[-2000:]}"
    return Path(found.stdout.strip())


def run_droid(
    home: Path,
    args: Iterable[object],
    env: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run droid with `args` on the configuration in `home`, for at most `timeout` seconds.

    Args:
        home: HOME, with .factory/ in it; droid writes sessions and logs there.
        args: For example `["exec", "-m", "custom:lab-echo", "hi"]`.
        env: Variables beside PATH, LANG, HOME and those that keep it offline.
        cwd: A fresh empty folder unless given: a project's .factory/ would shadow the home's.
    """
    program = binary()
    machine = machine_environment()
    base = {"PATH": machine["PATH"], "LANG": "C.UTF-8", "HOME": str(home), **OFFLINE}
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(
            [str(program), *map(str, args)],
            env=base | dict(env or {}),
            cwd=cwd or empty,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
