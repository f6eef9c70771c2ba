"""What doctor looks at to judge the gateway: files, service, process, log, answers."""

import json
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import distributions
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters.dotenv import read_env_file
from bootstrap.adapters.entropy import new_key, weakness_of
from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.gathering import Scene, gather
from bootstrap.adapters.listeners import LocalPorts
from bootstrap.adapters.litellm_install import LitellmInstaller
from bootstrap.adapters.looking import environment_of, look_at
from bootstrap.adapters.process_identity import stat_of
from bootstrap.adapters.redact import KnownSecrets
from bootstrap.adapters.systemd import SystemdService
from bootstrap.domain.content import digest_of
from bootstrap.domain.doctor.facts_gateway import Answers, GatewayProcess, LitellmFacts, UnitFacts
from bootstrap.domain.errors import LabError
from bootstrap.domain.lab import Lab
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret
from bootstrap.domain.targets import Touches, targets
from bootstrap.ports import Service

_PROC = Path("/proc")
_ANSWER_S = 3.0
_LOG_LINES = 2000
_PROVIDER = re.compile(r'^    [A-Z0-9_]+ = "([\w-]+)"', re.MULTILINE)
_NO_ANSWER = Answer(None, problem="it was not asked")


def observe_answers(scene: Scene) -> Answers | None:
    """Return what the gateway answers to no key, a made-up one and the lab's; None for no lab."""
    if scene.lab is None:
        return None
    key: Secret | None = None
    with suppress(LabError):  # said elsewhere
        key = scene.key()
    gateway = HttpGateway(scene.lab.gateway.url, _ANSWER_S)
    asked: dict[str, Secret | None] = {"without": None, "made_up": new_key()}
    if key is not None:
        asked["right"] = key
    given, _ = gather(
        {name: partial(gateway.models, sent) for name, sent in asked.items()}, _ANSWER_S + 0.5
    )
    found = {name: a for name, a in given.items() if isinstance(a, Answer)}
    return Answers(
        found.get("without", _NO_ANSWER), found.get("made_up", _NO_ANSWER), found.get("right")
    )


def observe_litellm(scene: Scene, lab: Lab, service: Service, state: Mapping[str, Any]) -> object:
    """Return the `LitellmFacts`.

    Args:
        scene: What there is.
        lab: The lab.
        service: Its service.
        state: What keyturn remembers about the lab.
    """
    places = scene.places
    config = look_at(places.litellm / "config.yaml")
    env_file = look_at(places.gateway_env if lab.guarded else places.env_file)
    env = _variables(env_file.path)
    status = service.status()
    process = _process(status.pid, frozenset(lab.secrets)) if status.pid else None
    ports, port = LocalPorts(), lab.gateway.port
    listener = ports.listener(port)
    own = (service.listening() or "").endswith(f":{port}") or (
        status.pid is not None and ports.serves(status.pid, port)
    )
    key: Secret | None = None
    with suppress(LabError):  # said elsewhere
        key = scene.key()
    held = {name: value for name, value in env.items() if name in lab.secrets}
    known = {**held, **({"the master key": key} if key else {})}
    site = _site_packages(scene, lab)
    return LitellmFacts(
        service=service.name,
        running=status.running,
        installed=status.installed,
        detail=status.detail,
        config=config,
        env_file=env_file,
        env=env,
        written=dict(_written(config.path, env_file.path)),
        edited=tuple(_edited(scene, lab, service.kind, state)),
        process=process,
        unit=_unit(service) if isinstance(service, SystemdService) else None,
        listener=(listener.command, listener.pid) if listener else None,
        stranger=listener is not None and not own,
        providers=_providers(site),
        version=_version(site),
        weakness=(weakness_of(key) or "") if key else "",
        leaked=_leaked(service, known),
        salt=str(state.get("salt", "")),
        strays=_strays(listener.pid) if listener and listener.pid and not own else None,
    )


def _strays(pid: int) -> frozenset[str] | None:
    return frozenset(name for name, value in environment_of(pid).items() if value) or None


def _variables(path: PurePath) -> dict[str, Secret]:
    try:
        found = read_env_file(path)
    except LabError:
        return {}
    return {name: value for name, value in found.items() if isinstance(value, Secret)}


def _written(*paths: PurePath) -> Iterator[tuple[PurePath, float]]:
    for path in paths:
        with suppress(OSError):
            yield path, Path(path).stat().st_mtime


def _process(pid: int, secrets: frozenset[str]) -> GatewayProcess | None:
    found = stat_of(pid)
    if found is None:
        return None
    values = {name: value for name, value in environment_of(pid).items() if value}
    keys = {name: Secret(value) for name, value in values.items() if name in secrets}
    return GatewayProcess(pid, _epoch(found.start), frozenset(values) or None, keys)


def _epoch(ticks: int) -> float:
    """Return when something happened that lies so many clock ticks after the machine's start."""
    text = (_PROC / "stat").read_text()
    boot = next(line.split()[1] for line in text.splitlines() if line.startswith("btime "))
    return int(boot) + ticks / os.sysconf("SC_CLK_TCK")


def _edited(scene: Scene, lab: Lab, kind: str, state: Mapping[str, Any]) -> Iterator[PurePath]:
    remembered = state.get("targets")
    known = remembered if isinstance(remembered, dict) else {}
    for target in targets(lab, scene.places, kind):
        data = look_at(target.path).data if target.touches is Touches.MANAGER else None
        last = known.get(target.name)
        wanted = last if isinstance(last, dict) else {}
        digests = (wanted.get("digest"), wanted.get("next"))
        if data is not None and any(digests) and digest_of(data) not in digests:
            yield target.path


def _unit(service: SystemdService) -> UnitFacts:
    found = service.properties()
    return UnitFacts(
        found.get("LoadState", ""),
        found.get("ActiveState", ""),
        found.get("Result", ""),
        tuple(found.get("DropInPaths", "").split()),
        found.get("NeedDaemonReload") == "yes",
        service.lingering(),
        _user(),
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user whom no database knows
        return str(os.getuid())


def _site_packages(scene: Scene, lab: Lab) -> list[Path]:
    gateway = lab.gateway
    installer = LitellmInstaller(Path(scene.places.venv), gateway.version, gateway.command)
    program = installer.installed()
    if program is None:
        return []
    return list(Path(program).resolve().parent.parent.glob("lib/python3*/site-packages"))


def _version(site: list[Path]) -> str:
    found = distributions(name="litellm", path=[str(folder) for folder in site])
    return next((item.version for item in found), "") if site else ""


def _providers(site: list[Path]) -> frozenset[str]:
    """Return the prefixes in LiteLLM's list of providers; nothing of LiteLLM is run."""
    for folder in site:
        with suppress(OSError, ValueError):
            text = (folder / "litellm/types/utils.py").read_text(encoding="utf-8")
            listed = text.partition("class LlmProviders(")[2].partition("\nclass ")[0]
            found = set(_PROVIDER.findall(listed))
            with suppress(OSError, ValueError):
                more = folder / "litellm/llms/openai_like/providers.json"
                found |= set(json.loads(more.read_bytes()))
            if found:
                return frozenset(found)
    return frozenset()


def _leaked(service: Service, known: Mapping[str, Secret]) -> tuple[str, ...]:
    if not known:
        return ()
    text = "\n".join(service.log_lines(_LOG_LINES))
    return tuple(n for n, v in known.items() if KnownSecrets({n: v}).mask(text) != text)
