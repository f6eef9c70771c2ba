"""stub"""

import json
from dataclasses import dataclass, replace
from bootstrap.domain.secret import Secret


@dataclass(frozen=True)
class Key:
    id: str
    sha256: str
    kind: str = "master"
    not_after: float | None = None
    models: tuple[str, ...] | None = None
    name: str = ""


@dataclass(frozen=True)
class Keyset:
    keys: tuple[Key, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> "Keyset":
        d = json.loads(data)
        return cls(
            tuple(
                Key(
                    k["id"],
                    k["sha256"],
                    k["kind"],
                    k["not_after"],
                    tuple(k["models"]) if k["models"] else None,
                    k["name"],
                )
                for k in d["keys"]
            )
        )

    def to_bytes(self) -> bytes:
        return (
            json.dumps(
                {
                    "version": 1,
                    "keys": [
                        {
                            "id": k.id,
                            "sha256": k.sha256,
                            "kind": k.kind,
                            "not_after": k.not_after,
                            "models": list(k.models) if k.models else None,
                            "name": k.name,
                        }
                        for k in self.keys
                    ],
                },
                indent=1,
            ).encode()
            + b"\n"
        )

    def _clients(self) -> tuple[Key, ...]:
        return tuple(k for k in self.keys if k.kind == "client")

    def with_client(
        self, name: str, secret: Secret, models: tuple[str, ...] | None, not_after: float | None
    ) -> "Keyset":
        key = Key(f"client-{secret.fingerprint()}", secret.digest(), "client", not_after, models, name)
        return Keyset((*self.without_client(name).keys, key))

    def without_client(self, name: str) -> "Keyset":
        return Keyset(tuple(k for k in self.keys if k.kind != "client" or k.name != name))

    def with_current(self, secret: Secret) -> "Keyset":
        return Keyset((Key("master", secret.digest()), *self._clients()))

    def with_overlap(self, current: Secret, other: Secret, not_after: float | None) -> "Keyset":
        return Keyset(
            (
                Key("master", current.digest()),
                Key("other", other.digest(), not_after=not_after),
                *self._clients(),
            )
        )

    def settled(self, current: Secret, now: float) -> "Keyset":
        previous = tuple(
            k
            for k in self.keys
            if k.kind == "master"
            and k.sha256 != current.digest()
            and k.not_after is not None
            and k.not_after > now
        )
        return Keyset((Key("master", current.digest()), *previous, *self._clients()))
