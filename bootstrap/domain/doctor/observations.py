"""All that doctor looked at, gathered once by adapters. Its repr shows no file and no key."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from bootstrap.domain.doctor.facts import HoldsKeys, Problem
from bootstrap.domain.doctor.facts_backends import BackendsFacts
from bootstrap.domain.doctor.facts_claude import ClaudeFacts
from bootstrap.domain.doctor.facts_droid import DroidFacts
from bootstrap.domain.doctor.facts_gateway import Answers, LitellmFacts
from bootstrap.domain.doctor.facts_others import OthersFacts
from bootstrap.domain.doctor.facts_secrets import KeyringFacts, SecretsFacts
from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places
from bootstrap.domain.secret import Secret

# KEYTURN_LAB and SOPS_AGE_KEY_FILE are paths.
_CARRIES_A_KEY = re.compile(
    r"^(?!.*_FILE$).*(KEY(?!TURN)|TOKEN|SECRET|PASSW|CREDENTIAL|DIRENV_DIFF)", re.IGNORECASE
)


@dataclass(frozen=True)
class Observations:
    """The scene.

    Attributes:
        places: The homes of this machine.
        cwd: Where doctor was started.
        keyturn: The absolute path of this keyturn.
        environment: The variables of this process. Values may be keys: show a fingerprint at most.
        lab: The lab, or None (see `problems["lab"]`).
        key: The master key that the lab's store holds, or None (see `problems["key"]`).
        issued: Digests of the clients' own keys that the guard accepts now.
        fading: Digests of keys that others have replaced and that the guard accepts for a while.
        served: The models that the gateway lists; None where it did not say.
        problems: Why a part could not be observed, by the name of its field.

    Every further field is a part that one observer fills: None where that could not be observed.
    """

    places: Places
    cwd: PurePath
    keyturn: str
    environment: Mapping[str, str] = field(repr=False)
    lab: Lab | None = None
    key: Secret | None = None
    problems: Mapping[str, Problem] = field(default_factory=dict)
    issued: frozenset[str] | None = None
    fading: frozenset[str] | None = None
    served: tuple[str, ...] | None = None
    droid: DroidFacts | None = None
    claude: ClaudeFacts | None = None
    answers: Answers | None = None
    litellm: LitellmFacts | None = None
    secrets: SecretsFacts | None = None
    keyring: KeyringFacts | None = None
    backends: BackendsFacts | None = None
    others: OthersFacts | None = None

    @property
    def gateway_url(self) -> str:
        """The gateway's base URL without a path; that of a default lab where there is no lab."""
        return self.lab.gateway.url if self.lab else "http://127.0.0.1:4000"

    @property
    def aliases(self) -> tuple[str, ...]:
        """The models of the lab."""
        return tuple(model.alias for model in self.lab.models) if self.lab else ()

    def variable(self, name: str) -> str:
        """Return a variable of this process; empty where it is unset."""
        return self.environment.get(name, "")

    def show(self, path: PurePath) -> str:
        """Return a path for people: with `~`, without control characters."""
        home = self.places.home
        text = f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
        return "".join(char if char.isprintable() else "?" for char in text)

    def is_in_force(self, key: Secret) -> bool:
        """Tell whether the gateway accepts a key: the lab's, or one issued to a client."""
        return key == self.key or key.digest() in (self.issued or ())

    def is_fading(self, key: Secret) -> bool:
        """Tell whether the gateway accepts a replaced key for its grace time."""
        return key != self.key and key.digest() in (self.fading or ())

    def secret_texts(self) -> Iterator[tuple[str, Secret]]:
        """Yield (name, value) of every key that was met, so that no finding can quote one."""
        if self.key is not None:
            yield "LITELLM_MASTER_KEY", self.key
        for name, value in self.environment.items():
            if _CARRIES_A_KEY.search(name) and len(value) > 7:
                yield name, Secret(value)
        for part in vars(self).values():
            if isinstance(part, HoldsKeys):
                yield from part.secret_texts()
