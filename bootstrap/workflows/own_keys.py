"""The clients' own keys (`client_keys = true`): made, stored, put into the keyset, proven.

The store is the truth, as for every secret: a key that stands there and not in the keyset is put
in force by `apply`, and the one that it replaces goes on being accepted for CLIENT_GRACE_S, so that
no client breaks in between.
"""

from collections.abc import Mapping

from bootstrap.domain import targets as target_names
from bootstrap.domain.content import Content, FileState
from bootstrap.domain.errors import GatewayError, SecretNotFoundError, StoreDamagedError
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.lab import Lab
from bootstrap.domain.lab_keys import with_lab_keys
from bootstrap.domain.probes import Verdict, describe, verdict
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.ports import BatchProvider, WritableProvider
from bootstrap.workflows.guard_time import guard_time
from bootstrap.workflows.tools import NamedSecrets, Tools

# For how long a client's key is accepted after it was replaced, or taken away.
CLIENT_GRACE_S = 600.0


def missing(lab: Lab, secrets: NamedSecrets) -> tuple[str, ...]:
    """Return the names of the clients' own keys that are still to be made."""
    return tuple(k.secret for k in lab.client_keys if k.secret not in secrets and lab.scope(k))


def keyset_for(
    tools: Tools, found: Mapping[str, FileState | None], secrets: NamedSecrets
) -> Content:
    """Return the keyset that accepts the keys of `secrets`, and issued client keys as they are.

    A key that a rotation replaced stays until its grace time is over. A keyset that is damaged is
    made anew: its client keys are then gone, and refused.
    """
    file = found.get(target_names.KEYSET)
    try:
        before = Keyset.parse(file.content.data) if file else Keyset()
    except StoreDamagedError:
        before = Keyset()
    return Content(in_force(tools, before, secrets).to_bytes())


def in_force(tools: Tools, before: Keyset, secrets: NamedSecrets) -> Keyset:
    """Return the keyset that accepts the keys of `secrets`; for the others see `keyset_for`."""
    lab, now = tools.lab, tools.clock.now()
    after = before.settled(secrets[MASTER_KEY], now)
    wanted = {
        key.client: (secrets[key.secret], lab.scope(key))
        for key in lab.client_keys
        if key.secret in secrets and lab.scope(key)
    }
    until = guard_time(tools.files, tools.clock, tools.places.litellm) + CLIENT_GRACE_S
    return with_lab_keys(after, wanted, until, now)


def store(tools: Tools, secrets: Mapping[str, Secret]) -> None:
    """Store keys of clients, each at its first source that can be written.

    Those that go into one place go there in one write, if the place can do that.

    Raises:
        SecretError: One could not be stored.
    """
    places: dict[tuple[str, str], dict[str, Secret]] = {}
    for name, secret in secrets.items():
        ref = _writable(tools, name)
        places.setdefault((ref.scheme, ref.place), {})[ref.name] = secret
    for (scheme, place), entries in places.items():
        provider = tools.provider(scheme)
        if isinstance(provider, BatchProvider):
            provider.write_many(place, entries)
        elif isinstance(provider, WritableProvider):
            for name, secret in entries.items():
                provider.write(SecretRef(scheme, place, name), secret)


def make_missing(tools: Tools, names: tuple[str, ...]) -> None:
    """Make and store the keys of these names.

    Raises:
        SecretError: They could not be stored.
    """
    with tools.progress.step(f"make {len(names)} keys for clients"):
        store(tools, {name: tools.new_key() for name in names})


def prove_own_keys(tools: Tools, secrets: NamedSecrets) -> None:
    """Prove that the gateway accepts each client's own key, and shows it no model beyond its own.

    Raises:
        GatewayError: It does not.
    """
    lab = tools.lab.with_secrets(secrets)
    for key in lab.client_keys:
        scope = lab.scope(key)
        if key.secret not in secrets or not scope:
            continue
        answer = tools.gateway.models(secrets[key.secret])
        if verdict(answer, with_key=True) is not Verdict.ACCEPTED:
            raise _not_proven(key.client, f"it is not accepted: {describe(answer)}")
        if not set(answer.model_ids) <= set(scope):
            raise _not_proven(key.client, "the gateway shows it models that are not for it")


def _not_proven(client: str, why: str) -> GatewayError:
    return GatewayError(
        f"the key of the client {client} is not proven", why=why, fix="keyturn check"
    )


def _writable(tools: Tools, name: str) -> SecretRef:
    for ref in tools.resolver.sources(name):
        if isinstance(tools.provider(ref.scheme), WritableProvider):
            return ref
    raise SecretNotFoundError(
        f"{name} cannot be stored",
        why="none of its sources can be written by keyturn",
        fix=f"store a random key there by hand, or name a sops: source under [secrets.{name}]",
    )
