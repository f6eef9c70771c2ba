"""What was seen of the stores, the age identities and the places where keys go astray."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.login_environment import variables_in
from bootstrap.domain.secret import Secret


@dataclass(frozen=True)
class StoreFacts:
    """An encrypted file of the lab.

    Attributes:
        file: It.
        problem: Why it is not sound, one clause; empty where it is.
        mend: What mends that.
        plain_commits: Short ids of commits that hold it unencrypted; only some of them.
        wanted: The age recipients that `.sops.yaml` has for it; None where no rule is for it.
        rules: That `.sops.yaml`; None where there is none.
    """

    file: FoundFile
    problem: str = ""
    mend: str = ""
    plain_commits: tuple[str, ...] = ()
    wanted: frozenset[str] | None = None
    rules: PurePath | None = None


@dataclass(frozen=True)
class SecretsFacts:
    """What was seen of the secrets.

    Attributes:
        stores: The encrypted files that lab.toml names.
        identities: Files with age identities, by sops' order, and the permission bits of each.
        identity_problems: What else is wrong with the identities, one clause each.
        env_files: The env files that keyturn writes, where they are there.
        attributes: The lab's .gitattributes.
        in_git: Whether the lab is in a git work tree.
        caching: (scope, name) of git's settings that make it store decrypted texts.
        disagree: (secret, the source in force, others that hold something else).
        session: What `systemctl --user show-environment` has of the lab's secrets.
        salt: The fingerprint of LITELLM_SALT_KEY as the lab's sources hold it; empty for none.
        login_files: The files of environment.d, whose variables every login session gets.
        own: The age recipients of the identities here.
        sops: The sops that is used, as it is called in a shell.
    """

    stores: tuple[StoreFacts, ...] = ()
    identities: tuple[tuple[PurePath, int], ...] = ()
    identity_problems: tuple[str, ...] = ()
    env_files: tuple[FoundFile, ...] = ()
    attributes: FoundFile | None = None
    in_git: bool = False
    caching: tuple[tuple[str, str], ...] = ()
    disagree: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    session: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    salt: str = ""
    login_files: tuple[FoundFile, ...] = ()
    own: tuple[str, ...] = ()
    sops: str = "sops"

    def secret_texts(self) -> Iterator[tuple[str, Secret]]:
        """Yield (name, value) of the keys in the session's environment, now and at a login."""
        yield from self.session.items()
        for file in self.login_files:
            yield from variables_in(file.data or b"")


@dataclass(frozen=True)
class KeyringProblem:
    """A keyring that does not give what it holds.

    Attributes:
        ref: An entry in it.
        why: One clause.
        mend: What mends that.
        first: Whether a secret is asked for there before anywhere else.
    """

    ref: str
    why: str
    mend: str
    first: bool


@dataclass(frozen=True)
class KeyringFacts:
    """What was seen of the keyrings that the lab names.

    Attributes:
        file: Where a plaintext backend keeps its entries.
        problems: One for each service at most.
        leftovers: (service, name) of entries of the lab that stand in `file`.
    """

    file: PurePath
    problems: tuple[KeyringProblem, ...] = ()
    leftovers: tuple[tuple[str, str], ...] = ()
