"""Which secrets `rotate` is asked for, and where their new values come from."""

from dataclasses import dataclass

from bootstrap.domain.errors import UsageError
from bootstrap.domain.lab import Lab
from bootstrap.domain.reencryption import encryption_key
from bootstrap.domain.rotatable import (
    Kind,
    kind_of,
    left_out_by_all,
    makes_itself,
    models_using,
    redis_password,
    rotated_by_all,
)
from bootstrap.domain.secret_spec import MASTER_KEY, SALT_KEY


@dataclass(frozen=True)
class Wish:
    """What the command line says about what to rotate.

    Attributes:
        name: A secret, or None for the master key.
        everything: `--all`.
        value_stdin: The new value is on standard input.
        generate: keyturn shall make a value although it does not know what it opens.
        i_know: Rotate the salt key nevertheless.
        re_encrypt: Have LiteLLM encrypt its database with the new key.
        restart: Restart the gateway in any case.
        gateway_down: Start it first, where it does not run.
    """

    name: str | None = None
    everything: bool = False
    value_stdin: bool = False
    generate: bool = False
    i_know: bool = False
    re_encrypt: bool = False
    restart: bool = False
    gateway_down: bool = False

    @property
    def words(self) -> dict[str, bool]:
        """Which words of the command line say it, and whether they were given."""
        return {
            "NAME": self.name is not None,
            "--all": self.everything,
            "--value-stdin": self.value_stdin,
            "--generate": self.generate,
            "--i-know": self.i_know,
            "--re-encrypt": self.re_encrypt,
            "--restart": self.restart,
            "--gateway-down": self.gateway_down,
        }

    def names(self, lab: Lab, *, trial: bool = False) -> tuple[str, ...]:
        """Return the secrets to rotate.

        Args:
            lab: The lab.
            trial: Nothing will be changed, so that no value is needed.

        Raises:
            UsageError: The words do not fit each other or the lab.
        """
        if self.everything:
            self._refuse_beside_all()
            return rotated_by_all(lab)
        name = MASTER_KEY if self.name is None else self.name
        if name not in lab.secrets:
            raise UsageError(
                f"the lab has no secret called {name}",
                why="it is not under [secrets] in lab.toml",
                fix=f"use one of: {', '.join(lab.secrets)}",
            )
        if name == SALT_KEY and not self.i_know:
            raise UsageError(
                f"{SALT_KEY} is never rotated",
                why="LiteLLM encrypts what its database holds with it, and without the old one "
                "could never read that again",
                fix="leave it as it is; a changed master key does not touch it: keyturn rotate; "
                "without any database, or if its content may be lost: --i-know",
            )
        if not trial:
            self._require_value(name, kind_of(lab, name))
        return self._with_encryption_key(lab, name)

    def _with_encryption_key(self, lab: Lab, name: str) -> tuple[str, ...]:
        """Return what is rotated for `name`: with --re-encrypt what LiteLLM encrypts with, too."""
        if not self.re_encrypt or name != MASTER_KEY or encryption_key(lab) == name:
            return (name,)
        if self.value_stdin:
            raise UsageError(
                "--value-stdin is one value, and --re-encrypt rotates two",
                why=f"LiteLLM encrypts with {encryption_key(lab)}",
                fix=f"first: keyturn rotate {encryption_key(lab)} --re-encrypt",
            )
        return (name, encryption_key(lab))

    def left_out(self, lab: Lab) -> dict[str, str]:
        """Return what `--all` leaves out: the command for each, by name."""
        if not self.everything:
            return {}
        return {name: _command(name) for name in left_out_by_all(lab)}

    def _refuse_beside_all(self) -> None:
        beside = {
            self.name or "": self.name is not None,
            "--value-stdin": self.value_stdin,
            "--generate": self.generate,
            "--i-know": self.i_know,
        }
        given = [word for word, there in beside.items() if there]
        if given:
            raise UsageError(
                "--all rotates every secret whose value keyturn makes",
                why=f"{', '.join(given)} is about one secret",
                fix="drop one of both",
            )

    def _require_value(self, name: str, kind: Kind) -> None:
        if self.value_stdin and self.generate:
            raise UsageError(
                "these options exclude each other",
                why="--value-stdin, --generate",
                fix="give one of them",
            )
        if self.value_stdin or makes_itself(kind):
            return
        if kind is Kind.PROVIDER:
            raise UsageError(
                f"the new {name} has to come from its provider",
                why="a key that keyturn makes up opens nothing there",
                fix=f"make one there, then: {_command(name)}",
            )
        if not self.generate:
            raise UsageError(
                f"where does the new {name} come from?",
                why="keyturn does not know what it opens, or who makes it",
                fix=f"{_command(name)}, or let keyturn make one: --generate",
            )


def _command(name: str) -> str:
    return f"keyturn rotate {name} --value-stdin < FILE"


def can_wait(lab: Lab, names: tuple[str, ...]) -> bool:
    """Tell whether keyturn can have the old value of any of `names` accepted for a while."""
    kinds = {kind_of(lab, name) for name in names}
    return bool(kinds & {Kind.MASTER, Kind.CLIENT}) or redis_password(lab) in names


def what_next(lab: Lab, names: tuple[str, ...]) -> list[str]:
    """Return what people must do about the secrets other than the master key."""
    lines = []
    for name in names:
        kind = kind_of(lab, name)
        if kind is Kind.PROVIDER:
            aliases = ", ".join(model.alias for model in models_using(lab, name))
            lines.append(f"{name}: {aliases} answered; its provider accepts the old one until you")
            lines.append("revoke it there")
        elif kind is Kind.OTHER:
            lines.append(f"{name}: programs get it at their next start (keyturn exec)")
    return lines
