"""Which versions of clients are installed here, and what that makes of a lab."""

from bootstrap.adapters.client_version import LIMIT_S, ClientVersions
from bootstrap.domain.client_ways import settled
from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places


def versions(places: Places, limit_s: float = LIMIT_S) -> ClientVersions:
    """Return what knows the version of each program, which may take so long to say it."""
    return ClientVersions(places.cache / "keyturn", limit_s)


def on_this_machine(lab: Lab, places: Places, limit_s: float = LIMIT_S) -> Lab:
    """Return the lab with each client's key handed over in a way that its version can do."""
    return settled(lab, versions(places, limit_s))
