"""The files that a service is made of, rendered from the shipped templates."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from bootstrap.adapters.machine import TemplateFolder
from bootstrap.domain.lab import Gateway
from bootstrap.domain.service_env import service_environment, unset_for
from bootstrap.domain.template import render

UNIT_TEMPLATE = "systemd/litellm.service.j2"
SOCKET_TEMPLATE = "systemd/litellm.socket.j2"
SPEC_TEMPLATE = "supervisor/service.json.j2"


def service_text(
    template: str,
    argv: Sequence[str],
    env_file: PurePath,
    *,
    environment: Mapping[str, str] | None = None,
    used: Sequence[str] = (),
    gateway: Gateway | None = None,
    spare: bool = False,
) -> str:
    """Return a unit or the supervisor's spec as text; `used` are the env file's names.

    Unless `gateway` says so, the program opens its port itself and says nothing when it is ready.
    """
    values = {
        "argv": tuple(argv),
        "env_file": str(env_file),
        "environment": service_environment() if environment is None else environment,
        "unset": unset_for(used),
        "gateway": gateway or Gateway(socket="never"),
        "spare": spare,
        "drain_s": 30,
    }
    source = TemplateFolder(PurePath("/nonexistent")).text(template)
    return render(source, values, name=template).data.decode()


def write_env_file(path: Path, **values: str) -> Path:
    """Write `NAME='value'` lines, 0600; values hold no single quote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    return path
