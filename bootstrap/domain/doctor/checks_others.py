"""KT56x, KT57x: clients other than droid and Claude Code."""

import re
import shlex
from collections.abc import Iterator

from bootstrap.domain.doctor import codes_others as codes
from bootstrap.domain.doctor.check import Check
from bootstrap.domain.doctor.facts_others import Connection, OthersFacts, StoredConnections
from bootstrap.domain.doctor.finding import Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.droid_schema import same_gateway
from bootstrap.domain.endpoints import safe_url
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.versions import as_numbers

# What this machine is called inside a container.
_HOST = re.compile(r"^(https?://)host\.(?:docker|containers)\.internal(?=[:/]|$)")

_FEW = 5
_TURN_ON = "in Open WebUI: Admin Settings, Connections, turn on {}"


def _facts(seen: Observations) -> OthersFacts:
    """Return what the checks need; `Check.needs` sees that it is there."""
    if seen.others is None:
        raise TypeError
    return seen.others


def _leads_here(url: str, seen: Observations) -> bool:
    """Tell whether it is the gateway's; what is asked below `/v1/` is `/v1//models`, a 404."""
    here = _HOST.sub(r"\g<1>127.0.0.1", url.strip())
    return not here.endswith("/") and same_gateway(here, seen.gateway_url)


def webui_unreadable(seen: Observations) -> Iterator[Finding]:
    """Find files that tell nothing."""
    for stored in _facts(seen).stored:
        if stored.problem:
            yield codes.WEBUI_UNREADABLE.warning(f"{seen.show(stored.path)}: {stored.problem}")


def _connected(seen: Observations) -> Iterator[StoredConnections]:
    """Yield those that keep a connection; one that keeps none takes its environment's."""
    for stored in _facts(seen).stored:
        if not stored.problem and (stored.connections or not stored.enabled):
            yield stored


def webui_elsewhere(seen: Observations) -> Iterator[Finding]:
    """Find connections that lead past the gateway, or are turned off."""
    for stored in _connected(seen):
        where = seen.show(stored.path)
        here = [each for each in stored.connections if _leads_here(each.url, seen)]
        if not stored.enabled:
            words = f"{where}: connections to OpenAI are turned off"
            yield codes.WEBUI_ELSEWHERE.error(words, mend=_TURN_ON.format("the OpenAI API"))
        elif not here:
            urls = ", ".join(safe_url(each.url) for each in stored.connections[:_FEW])
            words = f"{where}: {urls}; the gateway is {seen.gateway_url}/v1"
            yield codes.WEBUI_ELSEWHERE.error(words)
        elif not any(each.enabled for each in here):
            words = f"{where}: {safe_url(here[0].url)} is turned off"
            yield codes.WEBUI_ELSEWHERE.error(words, mend=_TURN_ON.format("this connection"))


def webui_key(seen: Observations) -> Iterator[Finding]:
    """Find connections to the gateway with another key."""
    for stored in _connected(seen):
        for each in stored.connections:
            if stored.enabled and each.enabled and _leads_here(each.url, seen):
                yield from _key_of(stored, each, seen)


def _key_of(stored: StoredConnections, each: Connection, seen: Observations) -> Iterator[Finding]:
    where = f"{seen.show(stored.path)}: {safe_url(each.url)}"
    name = MASTER_KEY if seen.lab is None else seen.lab.key_name(stored.client)
    mend = codes.WEBUI_KEY.mend.replace(MASTER_KEY, name)
    if each.key is None:
        yield codes.WEBUI_KEY.error(f"{where} without a key of the gateway's", mend=mend)
        return
    words = f"{where} with key {each.key.fingerprint()}, which"
    if seen.is_fading(each.key):
        yield codes.WEBUI_KEY.warning(f"{words} is accepted for its grace time only", mend=mend)
    elif not seen.is_in_force(each.key):
        yield codes.WEBUI_KEY.error(f"{words} is not in force", mend=mend)


def webui_open(seen: Observations) -> Iterator[Finding]:
    """Find keys of the gateway's where others can read them."""
    for stored in _connected(seen):
        ours = [c for c in stored.connections if c.key and _leads_here(c.url, seen)]
        if ours and stored.is_open:
            words = f"{seen.show(stored.path)} has mode {stored.mode:04o}"
            chmod = f"chmod 600 {shlex.quote(str(stored.path))}"
            mend = f"{chmod}, and keyturn rotate where others use this machine"
            yield codes.WEBUI_OPEN.warning(words, mend=mend)


def package_broken(seen: Observations) -> Iterator[Finding]:
    """Find packages that cannot be used."""
    for problem in _facts(seen).broken:
        yield codes.PACKAGE_BROKEN.warning(problem.seen, mend=problem.mend)


def package_file(seen: Observations) -> Iterator[Finding]:
    """Find files of packages' clients that are not as they should be."""
    for client in _facts(seen).packages:
        if client.path is None:
            continue
        where = f"{client.title}: {seen.show(client.path)}"
        if not client.written:
            yield codes.PACKAGE_FILE.warning(f"{where} is not there")
        for key in client.keys:
            if not seen.is_in_force(key):
                words = f"{where} holds key {key.fingerprint()}, which is not in force"
                yield codes.PACKAGE_FILE.error(words)


def package_untested(seen: Observations) -> Iterator[Finding]:
    """Find versions that the package's author did not run."""
    for client in _facts(seen).packages:
        numbers = as_numbers(client.version)
        tested = sorted(as_numbers(version) for version in client.tested)
        if client.version and tested and not tested[0] <= numbers <= tested[-1]:
            words = f"{client.title} {client.version}; tested are {', '.join(client.tested)}"
            yield codes.PACKAGE_UNTESTED.note(words)


OTHERS = (
    Check(codes.WEBUI_UNREADABLE, webui_unreadable, ("others",)),
    Check(codes.WEBUI_ELSEWHERE, webui_elsewhere, ("others", "lab")),
    Check(codes.WEBUI_KEY, webui_key, ("others", "lab", "key")),
    Check(codes.WEBUI_OPEN, webui_open, ("others", "lab")),
    Check(codes.PACKAGE_BROKEN, package_broken, ("others",)),
    Check(codes.PACKAGE_FILE, package_file, ("others", "key")),
    Check(codes.PACKAGE_UNTESTED, package_untested, ("others",)),
)
