"""A client that an installed package brings, from lab.toml to a rotation and back out again."""

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.secret import Secret
from support import client_packages, labs

pytestmark = pytest.mark.integration

# Asks the gateway that its settings name, with the key that stands there.
PROGRAM = f"""#!{sys.executable}
import json, os, sys, tomllib, urllib.request
if sys.argv[1:] == ["--version"]:
    sys.exit(print("example", os.environ.get("EXAMPLE_VERSION", "1.9.0")))
server = tomllib.load(open(os.environ["HOME"] + "/.config/example/settings.toml", "rb"))["server"]
body = json.dumps(dict(model=sys.argv[3], messages=[])).encode()
head = {{"Authorization": "Bearer " + server["key"], "Content-Type": "application/json"}}
request = urllib.request.Request(server["url"] + "/chat/completions", body, head)
answer = json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
print("the gateway works" if answer == "ok" else answer)
"""
ON = "[clients.example]\nset_up = true\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    client_packages.install_example(folder)
    yield folder
    client_packages.uninstall(folder)


@pytest.fixture
def lab(tmp_path: Path, home: Path, site: Path) -> Iterator[labs.CliLab]:
    made = labs.make(tmp_path, home)
    program = tmp_path / "programs" / "example"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    made.write(more=ON)
    with labs.stopped_after(made):
        made.ok("bootstrap", str(made.root))
        yield made


def settings(lab: labs.CliLab) -> dict[str, Any]:
    return tomllib.loads((lab.home / ".config/example/settings.toml").read_text())


def row(lab: labs.CliLab, *words: str, **env: str) -> dict[str, Any]:
    path = f"{lab.root.parent / 'programs'}:/usr/bin:/bin"
    ran = lab.call("clients", "--json", *words, env={"PATH": path, **env})
    return next(row for row in ran.json["clients"] if row["client"] == "example")


def test_a_client_from_a_package_is_set_up_probed_rotated_run_and_taken_out(
    lab: labs.CliLab, site: Path, tmp_path: Path
) -> None:
    # Nobody knows its version: the best of its ways, no key at rest.
    assert settings(lab)["server"]["key_command"].endswith(f"--lab {lab.root}")
    assert row(lab)["way"] == "literal", "the version that is installed cannot run a command"
    assert (
        "Example 1.9.0 is older than 2.0.0, the first known that runs key_command"
        in row(lab)["why"]
    )
    path = f"{tmp_path / 'programs'}:/usr/bin:/bin"
    lab.call("apply", env={"PATH": path})
    held = settings(lab)
    assert held["server"] == {"url": f"http://127.0.0.1:{lab.port}/v1", "key": lab.key}
    assert held["models"] == ["lab-echo"]
    assert (lab.home / ".config/example/settings.toml").stat().st_mode & 0o777 == 0o600
    planned = lab.call("plan", "--exit-code", env={"PATH": path})
    assert (planned.code, "example" in planned.out) == (0, True)

    # It is asked through the gateway, and a rotation brings it the new key.
    before = lab.key
    probed = row(lab, "--probe")
    assert (probed["seen"]["works"], probed["version"]) == (True, "1.9.0")
    turned = lab.call("rotate", "--grace", "0", env={"PATH": path})
    assert turned.code == 0, turned.err
    assert "Example" in turned.out
    assert settings(lab)["server"]["key"] == lab.key != before
    assert row(lab)["current"]
    assert row(lab, "--probe")["seen"]["works"]

    # Pinned, whatever the version; and run by hand.
    lab.write(more='[clients.example]\nhand_over = "helper"\n')
    lab.ok("apply")
    assert "key" not in settings(lab)["server"]
    assert "pinned" in row(lab)["why"]
    lab.write(more='[clients.example]\nhand_over = "literal"\n')
    lab.ok("apply")
    env = {**lab.environment(), "PYTHONPATH": str(site)}
    script = 'test "$EXAMPLE_KEY" = "$1" && echo "$EXAMPLE_URL"'
    words = ("exec", "--client", "example", "--", "sh", "-c", script, "sh", lab.key)
    ran = lab.run(*words, env=env)
    assert ran.out == f"http://127.0.0.1:{lab.port}/v1\n", ran.err

    # A stale key in its file is seen, by doctor too.
    text = (lab.home / ".config/example/settings.toml").read_text()
    stale = "sk-test-stale-0123456789abcdef0123456789"
    (lab.home / ".config/example/settings.toml").write_text(text.replace(lab.key, stale))
    assert not row(lab)["current"]
    doctor = {f["code"]: f for f in lab.call("doctor", "--json", "KT57").json["findings"]}
    assert doctor["KT572"]["severity"] == "error"
    assert Secret(stale).fingerprint() in doctor["KT572"]["seen"]

    # Broken: one clear error, and everything that does not need it goes on.
    module = site / client_packages.EXAMPLE / "client.py"
    module.write_text("raise RuntimeError('sk-test-quoted')")
    client_packages.forget()
    error = lab.call("plan").error
    assert "keyturn-example-client 1.0" in error["error"]
    assert "it does not load (RuntimeError)" in error["cause"]
    assert "sk-test-quoted" not in error["all"]
    found = {f["code"]: f["severity"] for f in lab.call("doctor", "--json", "KT5").json["findings"]}
    assert (found["KT571"], found["KT562"]) == ("warning", "ok"), "the lab itself is looked at"
    for client in ((), ("--client", "openai")):
        assert lab.run("exec", *client, "--", "true", env=env).code == 0
    assert lab.ok("get", "LITELLM_MASTER_KEY").out.strip() == lab.key
    lab.said.clear()
    refused = lab.run(*words, env=env)
    assert refused.code == 125
    assert "keyturn-example-client 1.0" in refused.error["error"]

    # lab.toml does not name it: a warning where it would be listed.
    lab.write()
    listed = lab.call("clients", "--json")
    assert listed.code == 0
    assert listed.json["problems"][0]["why"] == "it does not load (RuntimeError)"
    assert "warning: the client example of the package keyturn-example-client" in listed.err
    doctor = {f["code"]: f for f in lab.call("doctor", "--json", "KT57").json["findings"]}
    assert doctor["KT571"]["severity"] == "warning"
    assert lab.call("plan").code == 0

    # Uninstalled, but named: said so.
    client_packages.uninstall(site)
    lab.write(more=ON)
    assert "no installed package brings this client" in lab.call("plan").error["cause"]
    assert HttpGateway(f"http://127.0.0.1:{lab.port}").models(Secret(lab.key)).status == 200
    assert lab.key not in json.dumps(lab.said)
