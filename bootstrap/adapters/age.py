"""The age identities that sops finds here, and a new one where there is none.

sops tries all of them together: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE and the default file, which it
also reads where the variables are set (seen with 3.11.0). SOPS_AGE_KEY_CMD and SSH keys are left
to sops: asking for them could prompt.
"""

import os
import stat
import time
from pathlib import Path

from bootstrap.adapters.paths import words
from bootstrap.adapters.sops_environment import default_identity
from bootstrap.adapters.sops_store import publish, writing
from bootstrap.domain.errors import ProviderUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ENCRYPTED = ("age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----")
_MOST_BYTES = 64 * 1024


def identity_file(environ: "Mapping[str, str] | None" = None) -> Path:
    """Return where sops looks by default: `$XDG_CONFIG_HOME` or ~/.config, /sops/age/keys.txt."""
    environ = os.environ if environ is None else environ
    home = environ.get("HOME")
    return Path(default_identity(environ if home else {**environ, "HOME": str(Path.home())}))


def recipients(environ: "Mapping[str, str] | None" = None) -> list[str]:
    """Return the public halves, `age1…`, of the identities here, the default file's first.

    Raises:
        ProviderUnavailableError: An identity is there but cannot be read or used; never quotes it.
    """
    environ = os.environ if environ is None else environ
    found = [recipient for source in _sources(environ) for recipient in source.recipients()]
    return list(dict.fromkeys(found))


def ensure_identity(environ: "Mapping[str, str] | None" = None) -> tuple[str, bool]:
    """Return the recipient to encrypt for, and whether an identity was made for it.

    The file is 0600 in 0700 folders from its first byte, in the form that `age-keygen` writes, and
    an existing one is never replaced.

    Raises:
        ProviderUnavailableError: An identity is there but cannot be used.
        SecretError: The file cannot be written.
        LockedError: Another program makes one at this moment.
    """
    known = recipients(environ)
    if known:
        return known[0], False
    path = identity_file(environ)
    _make_private_folders(path.parent)
    with writing(str(path)) as (_, folder):
        recipient, text = _new_identity()
        if publish(path, text, folder):
            return recipient, True
    known = recipients(environ)  # another process was faster, or what is there has no public half
    if not known:
        raise _unusable(
            str(path),
            "it holds no age identity of which we can tell the public half",
            f"name your recipient in .sops.yaml, or move the file away: mv {path} {path}.old",
        )
    return known[0], False


def identity_problems(environ: "Mapping[str, str] | None" = None) -> tuple[str, ...]:
    """Return what is wrong with the identities here, one clause each; sops does not look."""
    environ = os.environ if environ is None else environ
    return tuple(problem for source in _sources(environ) for problem in source.problems())


class _Variable:
    """Identities in SOPS_AGE_KEY itself."""

    def __init__(self, text: str) -> None:
        self._text = text

    def recipients(self) -> list[str]:
        return _public_halves(self._text, "SOPS_AGE_KEY")

    def problems(self) -> "Iterator[str]":
        yield from _complaint(self)


class _File:
    """Identities in a file, which need not be there."""

    def __init__(self, path: Path, variable: str = "") -> None:
        self._path = path
        self._variable = variable

    def recipients(self) -> list[str]:
        try:
            text = self._read()
        except FileNotFoundError:
            return []
        return _public_halves(text, str(self._path))

    def problems(self) -> "Iterator[str]":
        try:
            found = self._path.stat()
        except FileNotFoundError:
            if self._variable:
                yield f"{self._variable} names {self._path}, which is not there"
            return
        except OSError as error:
            yield f"{self._path} cannot be looked at: {words(error)}"
            return
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            yield f"{self._path} is open to other users (mode {mode:04o}): chmod 600 {self._path}"
        folder = self._path.parent
        if folder.stat().st_mode & 0o022 and not folder.stat().st_mode & stat.S_ISVTX:
            yield f"other users may replace files in {folder}: chmod 700 {folder}"
        yield from _complaint(self)

    def _read(self) -> str:
        path = self._path
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise _unusable(str(path), "it is not a regular file", f"ls -ld {path}")
            if found.st_uid not in (0, os.geteuid()):
                raise _unusable(
                    str(path),
                    f"it belongs to another user (uid {found.st_uid}), who knows the key",
                    "use an identity of your own, or run this as that user",
                )
            with path.open("rb") as file:
                return file.read(_MOST_BYTES).decode()
        except FileNotFoundError:
            raise
        except OSError as error:
            why = words(error)
            raise _unusable(str(path), why, f"look who may read it: ls -l {path}") from None
        except UnicodeDecodeError:
            raise _garbage(str(path)) from None


def _sources(environ: "Mapping[str, str]") -> "Iterator[_Variable | _File]":
    default = identity_file(environ)
    yield _File(default)
    if environ.get("SOPS_AGE_KEY"):
        yield _Variable(environ["SOPS_AGE_KEY"])
    named = environ.get("SOPS_AGE_KEY_FILE")
    if named and Path(named).absolute() != default:
        yield _File(Path(named).absolute(), "SOPS_AGE_KEY_FILE")


def _complaint(source: "_Variable | _File") -> "Iterator[str]":
    try:
        source.recipients()
    except ProviderUnavailableError as error:
        yield f"{error.what}: {error.why}"


def _public_halves(text: str, where: str) -> list[str]:
    import pyrage

    if text.lstrip().startswith(_ENCRYPTED):
        raise _unusable(
            where,
            "it is protected by a passphrase, which nobody can type while a service starts",
            "decrypt it into a 0600 file: age -d OLD > NEW, or use another identity",
        )
    found = []
    for line in text.splitlines():
        identity = line.strip()
        # Plug-in identities (hardware keys) are sops' business; their public half is not in them.
        if not identity or identity.startswith(("#", "AGE-PLUGIN-")):
            continue
        try:
            found.append(str(pyrage.x25519.Identity.from_str(identity).to_public()))
        except pyrage.IdentityError:
            raise _garbage(where) from None
    return found


def _new_identity() -> tuple[str, bytes]:
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return recipient, f"# created: {created}\n# public key: {recipient}\n{identity}\n".encode()


def _make_private_folders(folder: Path) -> None:
    """Make the folder and what it lacks above it, each 0700; `mkdir -p` would do so for one."""
    missing = [step for step in (folder, *folder.parents) if not step.exists()]
    for step in reversed(missing):
        try:
            step.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unusable(
                str(step),
                f"it cannot be made: {words(error)}",
                f"look at the folder above: ls -ld {step.parent}",
            ) from None


def _garbage(where: str) -> ProviderUnavailableError:
    return _unusable(
        where,
        "it holds something else than age identities",
        "put lines like AGE-SECRET-KEY-1… into it, one each, or make a new one: age-keygen",
    )


def _unusable(where: str, why: str, fix: str) -> ProviderUnavailableError:
    return ProviderUnavailableError(f"cannot use the age identity {where}", why=why, fix=fix)
