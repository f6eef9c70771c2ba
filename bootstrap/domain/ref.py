"""References: where a secret lives, `scheme:place#name`. Always safe to print.

    sops:secrets/global.enc.env#LITELLM_MASTER_KEY
    keyring:keyturn#LITELLM_MASTER_KEY
    env:LITELLM_MASTER_KEY
    file:/run/credentials/litellm.service/master
    vault:kv/lab#master                            any scheme that a plug-in registers

`str(SecretRef.parse(text)) == text` for every text that parses. Imports next to nothing, because
`keyturn exec` waits for it.
"""

from bootstrap.domain.base_errors import ConfigError, UsageError

# These name one value each, so a '#' in them belongs to the place.
_WITHOUT_NAME = ("env", "file")
_WITH_NAME = ("sops", "keyring")
_GRAMMAR = "write sops:FILE#NAME, keyring:SERVICE#NAME, env:NAME or file:PATH"


class SecretRef:
    """A place where one secret lives.

    Attributes:
        scheme: Which provider, for example `sops`.
        place: What the provider opens: a file, a keyring service, a variable.
        name: The entry in it; empty for schemes whose place holds a single value.
    """

    __slots__ = ("name", "place", "scheme")

    def __init__(self, scheme: str, place: str, name: str = "") -> None:
        self.scheme = scheme
        self.place = place
        self.name = name

    @classmethod
    def parse(cls, text: str) -> "SecretRef":
        """Return the reference that `text` spells.

        Raises:
            ConfigError: The text is not of the grammar. The text itself is quoted only up to its
                scheme, since people paste keys where references belong.
        """
        scheme, colon, rest = text.partition(":")
        if not colon or not _is_scheme(scheme):
            raise ConfigError(
                "this is not a secret reference", why="it has no scheme before a ':'", fix=_GRAMMAR
            )
        if scheme in _WITHOUT_NAME:
            place, name = rest, ""
        else:  # the last '#': a path may hold others
            place, _, name = rest.rpartition("#") if "#" in rest else (rest, "", "")
        problem = _problem(scheme, place, name)
        if scheme not in _WITHOUT_NAME and rest.endswith("#"):
            problem = "nothing stands after the '#'"
        if problem:
            raise ConfigError(f"bad secret reference {scheme}:…", why=problem, fix=_GRAMMAR)
        return cls(scheme, place, name)

    def __str__(self) -> str:
        return (
            f"{self.scheme}:{self.place}#{self.name}"
            if self.name
            else f"{self.scheme}:{self.place}"
        )

    def __repr__(self) -> str:
        return f"SecretRef({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretRef):
            return NotImplemented
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def is_variable_name(name: str) -> bool:
    """Tell whether every shell, systemd and dotenv reader takes `name` as a variable's name."""
    return name.isascii() and name.isidentifier()


def named_ref(text: str) -> tuple[str, SecretRef | None]:
    """Return what `NAME` or `NAME=REF` on a command line asks for.

    Raises:
        UsageError: NAME is no name of a variable.
        ConfigError: REF is no reference.
    """
    name, equals, ref = text.partition("=")
    if not is_variable_name(name):
        raise UsageError(
            "bad name of a secret",
            why="it is not NAME or NAME=REF",
            fix="write LITELLM_MASTER_KEY or LITELLM_MASTER_KEY=env:CI_KEY",
        )
    return name, SecretRef.parse(ref) if equals else None


def store_name_problem(name: str) -> str | None:
    """Return why `name` must not be a key of a sops dotenv file, or None when it may.

    sops accepts every one of these with status 0 and then exposes the value or can no longer
    read the file (seen with 3.11.0).
    """
    if not is_variable_name(name):
        return "names are letters, digits and '_', and do not start with a digit"
    if name.startswith("sops_"):
        return "names that start with 'sops_' overwrite the store's own metadata"
    if name.endswith("_unencrypted"):
        return "sops stores names that end in '_unencrypted' in the clear"
    return None


def _is_scheme(text: str) -> bool:
    return (
        bool(text)
        and text.isascii()
        and text[0].isalpha()
        and text.islower()
        and all(c.isalnum() or c in "+.-" for c in text)
    )


def _problem(scheme: str, place: str, name: str) -> str | None:
    if not place:
        return "nothing stands after the scheme"
    if any(ord(c) < 32 or ord(c) == 127 for c in place + name):
        return "it holds a control character"
    if scheme in _WITH_NAME and not name:
        return "it lacks '#NAME' at the end"
    if scheme == "sops":
        return store_name_problem(name)
    if scheme == "env" and not is_variable_name(place):
        return "that is not the name of an environment variable"
    return None
