"""What was seen of the stores, the age identities and the places where keys go astray."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.secret import Secret


@dataclass(frozen=True)
class StoreFacts:
    """An encrypted file of the lab.

    Attributes:
        file: It.
        problem: Why it is not sound, one clause; empty where it is.
        mend: What mends that.
        plain_commits: Short ids of commits that hold it unencrypted; only some of them.
    """

    file: FoundFile
    problem: str = ""
    mend: str = ""
    plain_commits: tuple[str, ...] = ()


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
        caching: Names of git's settings that make it store decrypted texts.
        disagree: (secret, the source in force, others that hold something else).
        session: What `systemctl --user show-environment` has of the lab's secrets.
    """

    stores: tuple[StoreFacts, ...] = ()
    identities: tuple[tuple[PurePath, int], ...] = ()
    identity_problems: tuple[str, ...] = ()
    env_files: tuple[FoundFile, ...] = ()
    attributes: FoundFile | None = None
    in_git: bool = False
    caching: tuple[str, ...] = ()
    disagree: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    session: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    def secret_texts(self) -> Iterator[tuple[str, Secret]]:
        """Yield (name, value) of the keys in the session's environment."""
        yield from self.session.items()
