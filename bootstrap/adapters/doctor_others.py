"""Look at clients other than droid and Claude Code."""

from collections.abc import Callable, Sequence

from bootstrap.adapters.client_probe import keys_in
from bootstrap.adapters.gathering import Scene
from bootstrap.adapters.openwebui import stored_connections
from bootstrap.domain.client_ways import kept_files, way_of
from bootstrap.domain.doctor.facts import Problem
from bootstrap.domain.doctor.facts_others import OthersFacts, PackageClient
from bootstrap.domain.lab import Lab


def observe_others(
    scene: Scene, version: Callable[[str], str], broken: Callable[[], Sequence[Problem]]
) -> OthersFacts:
    """Return what was seen of them.

    Args:
        scene: What there is.
        version: Program -> the version that is installed.
        broken: Returns the packages whose client cannot be used.
    """
    lab = scene.lab
    if lab is None:
        return OthersFacts(broken=tuple(broken()))
    return OthersFacts(
        tuple(stored_connections(path) for path in kept_files(lab, scene.places)),
        tuple(_package_client(scene, lab, name, version) for name in lab.brought),
        tuple(broken()),
    )


def _package_client(
    scene: Scene, lab: Lab, name: str, version: Callable[[str], str]
) -> PackageClient:
    setup = lab.brought[name]
    way = way_of(name, setup, lab)
    file = next((f for f in setup.files if way is not None and f.name == way.target), None)
    path = None if file is None else file.place(scene.places)
    held = None if file is None or path is None else keys_in(file, path, lab.gateway.url)
    installed = version(setup.program) if setup.program else ""
    return PackageClient(
        name, setup.title, path, held is not None, held or (), installed, setup.tested
    )
