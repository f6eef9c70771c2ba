"""Rotate the key that LiteLLM's database is encrypted with, as LiteLLM does it itself."""

from bootstrap.domain.errors import ConfigError, GatewayError
from bootstrap.domain.reencryption import MIGRATE_FROM, encryption_key, failure_in
from bootstrap.domain.rotation import Record, Step, reached
from bootstrap.domain.secret_spec import SALT_KEY
from bootstrap.workflows.preflight import has_database
from bootstrap.workflows.tools import NamedSecrets, Pairs, Tools

_LOG_LINES = 400


def require_reencryption(tools: Tools, secrets: NamedSecrets, new: NamedSecrets) -> None:
    """Refuse where there is nothing to encrypt anew, or no way to.

    Raises:
        ConfigError: Says which.
    """
    what = "nothing is encrypted anew"
    plain = "rotate without --re-encrypt"
    if encryption_key(tools.lab) not in new:
        key = encryption_key(tools.lab)
        raise ConfigError(what, why=f"LiteLLM encrypts with {key}", fix=f"keyturn rotate {key}")
    if SALT_KEY in secrets:
        raise ConfigError(what, why=f"{SALT_KEY} encrypts, and stays as it is", fix=plain)
    if not has_database(tools):
        raise ConfigError(what, why="the lab gives LiteLLM no database", fix=plain)
    if not tools.installer.can_reencrypt():
        raise ConfigError(
            what,
            why="the LiteLLM of this lab has no way to do it: it came with 1.106",
            fix=f"back up the database, store the value of {encryption_key(tools.lab)} as "
            f"{SALT_KEY}, run keyturn apply, then rotate",
        )


def migrating(tools: Tools, record: Record, secrets: NamedSecrets, pairs: Pairs) -> NamedSecrets:
    """Return `secrets` with the other encryption key for LiteLLM's start, where it is to migrate.

    It is in the gateway's environment for no longer than the rotation takes.
    """
    _, other = pairs.get(encryption_key(tools.lab), (None, None))
    return {**secrets, MIGRATE_FROM: other} if record.reencrypts and other else secrets


def prove_reencrypted(tools: Tools, record: Record) -> None:
    """Prove by LiteLLM's log that its last start encrypted everything anew.

    Raises:
        GatewayError: It did not, or does not say so.
    """
    if not record.reencrypts:
        return
    why = failure_in(tools.service.log_lines(_LOG_LINES))
    if why is not None:
        raise GatewayError(
            "LiteLLM did not encrypt what its database holds anew",
            why=why,
            fix="see its log: keyturn service log",
        )


def was_begun(record: Record) -> bool:
    """Tell whether LiteLLM may have begun to encrypt anew."""
    return record.reencrypts and reached(record, Step.STAGED)
