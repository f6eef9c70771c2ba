# No pathlib: `keyturn exec` waits for this, and importing that costs milliseconds.
# ruff: noqa: PTH123
"""`sops:FILE#NAME`: secrets in files that sops encrypts, in git for everybody and readable by few.

Reading costs one sops process per file and command. Writing is in `sops_store`, what an encrypted
file shows without a key in `sops_text`, sops itself in `sops_commands`.
"""

import posix

from bootstrap.adapters.paths import absolute, folder_of, is_regular, words
from bootstrap.adapters.sops_commands import Sops
from bootstrap.adapters.sops_text import kind_of, names_in
from bootstrap.adapters.variables import variables
from bootstrap.domain.base_errors import (
    ProviderUnavailableError,
    SecretError,
    SecretNotFoundError,
    StoreDamagedError,
)
from bootstrap.domain.ref import store_name_problem
from bootstrap.domain.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path, PurePath

    from bootstrap.domain.ref import SecretRef

_MOST_BYTES = 1 << 26  # as of any other file
_ENDINGS = "its name must end in .env, .json or .yaml"


class SopsProvider:
    """Reads and writes encrypted files; a `WritableProvider`.

    A file is decrypted once, and again only when its ciphertext has changed.

    Args:
        root: The lab's folder; relative paths start there.
        environ: For sops, its program and its identities; None for this process's variables.
    """

    scheme = "sops"

    def __init__(self, root: "PurePath", environ: "Mapping[str, str] | None" = None) -> None:
        self._root = absolute(str(root))
        self._sops = Sops(self._root, variables() if environ is None else environ)
        # By file: its ciphertexts that were decrypted here, the oldest first; see sops_versions.
        self._decrypted: dict[str, dict[bytes, dict[str, object]]] = {}

    def __repr__(self) -> str:
        return f"SopsProvider({self._root!r})"

    def unavailable(self, ref: "SecretRef") -> str | None:
        """Return why `ref` cannot be read here; see `bootstrap.ports.Provider`.

        A file that does not exist yet is no obstacle: `write` makes it. Whether an identity here
        opens the file only decrypting can tell.
        """
        if kind_of(ref.place) is None:
            return _ENDINGS
        try:
            self._sops.program()
        except ProviderUnavailableError as error:
            return f"{error.what}: {error.why}"
        return None

    def read(self, ref: "SecretRef") -> Secret:
        """Return the secret at `ref`; see `bootstrap.ports.Provider`."""
        file = self._path(ref.place)
        try:
            document = self._document(ref.place)
        except FileNotFoundError:
            raise _missing(ref, f"there is no file {file}") from None
        if ref.name not in document:
            raise _missing(ref, f"{ref.name} is not in {file}")
        secret = _secret(document[ref.name], ref.name, file)
        if secret is None:
            raise _missing(ref, f"{ref.name} is there but holds no text")
        return secret

    def names(self, place: str) -> tuple[str, ...]:
        """Return the names in the file, in its order, without decrypting it.

        Empty names count; a file that does not exist has none.

        Raises:
            StoreDamagedError: It is not sound, or not encrypted.
            ProviderUnavailableError: It may not be read.
        """
        try:
            return names_in(self._ciphertext(place), self._kind(place), self._path(place))
        except FileNotFoundError:
            return ()

    def document(self, place: str) -> dict[str, Secret]:
        """Return all secrets of the file by name, empty and nested ones left out.

        Raises:
            SecretError: As `read`; a file that does not exist has none.
        """
        try:
            document = self._document(place)
        except FileNotFoundError:
            return {}
        file = self._path(place)
        found = {name: _secret(value, name, file) for name, value in document.items()}
        return {name: secret for name, secret in found.items() if secret is not None}

    def check_place(self, place: str) -> None:
        """Refuse a file that cannot be replaced.

        Raises:
            ProviderUnavailableError: The file, or its folder, may not be written.
        """
        file = self._path(place)
        for path in (file, folder_of(file)):
            if posix.access(path, posix.F_OK) and not posix.access(path, posix.W_OK):
                raise ProviderUnavailableError(
                    f"cannot write {file}",
                    why=f"{path} is read-only",
                    fix=f"ls -ld {path}",
                )

    def write(self, ref: "SecretRef", secret: Secret) -> None:
        """Store `secret` at `ref`, making the file if need be; see `write_many`."""
        self.write_many(ref.place, {ref.name: secret})

    def write_many(self, place: str, secrets: "Mapping[str, Secret | None]") -> None:
        """Store several secrets in one file, all or none, and prove it by decrypting.

        None removes a name. Only changed names are encrypted anew, so that differences stay
        small; where nothing changes, the file stays as it is, byte for byte. A missing file is
        made, see `create`.

        Raises:
            SecretError: Nothing was stored.
            LockedError: Another program writes in that folder; nothing was stored.
        """
        with self._writing(place, secrets) as (target, folder):
            try:
                original = self._ciphertext(place)
            except FileNotFoundError:
                given = {name: secret for name, secret in secrets.items() if secret is not None}
                self._publish(place, target, given, folder)
            else:
                self._rewrite(place, target, original, secrets, folder)

    def create(self, place: str, secrets: "Mapping[str, Secret]") -> None:
        """Make a new encrypted file, for the recipients that the `.sops.yaml` above it names.

        Raises:
            SecretError: It exists already, no rule is for it, or we are not among its readers;
                nothing was written.
            LockedError: Another program writes in that folder; nothing was written.
        """
        with self._writing(place, secrets) as (target, folder):
            self._publish(place, target, secrets, folder)

    def _writing(
        self, place: str, secrets: "Mapping[str, Secret | None]"
    ) -> "AbstractContextManager[tuple[Path, int]]":
        """Return a block in which the file behind symlinks, and its folder, are ours to write."""
        import os

        from bootstrap.adapters.sops_store import writing

        file = self._path(place)
        self._kind(place)
        _check_names(secrets, file)
        return writing(os.path.realpath(file))

    def _rewrite(
        self,
        place: str,
        target: "Path",
        original: bytes,
        secrets: "Mapping[str, Secret | None]",
        folder: int,
    ) -> None:
        from bootstrap.adapters.sops_versions import Job, rewrite

        file, kind = self._path(place), self._kind(place)
        before = self._decrypt(place, original)
        wanted = {name: s.reveal() for name, s in secrets.items() if s is not None}
        gone = {name for name, secret in secrets.items() if secret is None}
        after = {n: value for n, value in before.items() if n not in gone} | wanted
        if after != before:
            job = Job(self._sops, target, kind, file)
            rewrite(job, self._decrypted[file], original, after, folder)

    def _publish(
        self, place: str, target: "Path", secrets: "Mapping[str, Secret]", folder: int
    ) -> None:
        from bootstrap.adapters.sops_store import publish
        from bootstrap.adapters.sops_versions import Job, verify

        file, kind = self._path(place), self._kind(place)
        data = self._sops.encrypt(secrets, kind, file)
        wanted: dict[str, object] = {name: secret.reveal() for name, secret in secrets.items()}
        verify(Job(self._sops, target, kind, file), data, wanted)
        if not publish(target, data, folder):
            raise SecretError(
                f"cannot create {file}",
                why="it exists already, and is never replaced as a whole",
                fix="try again: what it lacks will be added to it",
            )
        self._decrypted[file] = {data: wanted}

    def _path(self, place: str) -> str:
        return absolute(place, self._root)

    def _kind(self, place: str) -> str:
        kind = kind_of(place)
        if kind is None:
            raise ProviderUnavailableError(
                f"sops cannot use {self._path(place)}",
                why=_ENDINGS,
                fix="name such a file, for example secrets/global.enc.env",
            )
        return kind

    def _document(self, place: str) -> dict[str, object]:
        return self._decrypt(place, self._ciphertext(place))

    def _decrypt(self, place: str, data: bytes) -> dict[str, object]:
        file = self._path(place)
        known = self._decrypted.get(file, {})
        if data not in known:
            kind = self._kind(place)
            names_in(data, kind, file)
            # Somebody else wrote it: what we knew before says nothing about what it is made from.
            known = self._decrypted[file] = {data: self._sops.decrypt(data, kind, file)}
        return known[data]

    def _ciphertext(self, place: str) -> bytes:
        """Return the file's bytes; FileNotFoundError is for the caller."""
        file = self._path(place)
        self._kind(place)
        try:
            found = posix.stat(file)
            if not is_regular(found) or found.st_size > _MOST_BYTES:
                odd = "bigger than 64 MiB" if is_regular(found) else "not a regular file"
                raise StoreDamagedError(
                    f"cannot read {file}", why=f"it is {odd}", fix=f"ls -ld {file}"
                )
            with open(file, "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ProviderUnavailableError(
                f"cannot read {file}",
                why=words(error),
                fix=f"look who may: ls -l {file}",
            ) from None


def _secret(value: object, name: str, file: str) -> Secret | None:
    """Return a decrypted value as a secret; None where it is empty or holds further names."""
    if value is None:
        raise StoreDamagedError(
            f"{name} in {file} is null",
            why="it was stored as null instead of text",
            fix="replace it by text: sops edit " + file,
        )
    if isinstance(value, bool):
        return Secret("true" if value else "false")
    return Secret(value) if isinstance(value, str) and value else None


def _missing(ref: "SecretRef", why: str) -> SecretNotFoundError:
    return SecretNotFoundError(f"no secret at {ref}", why=why, fix="store one: keyturn init")


def _check_names(secrets: "Mapping[str, Secret | None]", file: str) -> None:
    for name in secrets:
        problem = store_name_problem(name)
        if problem:
            raise SecretError(
                f"cannot store a secret in {file}",
                why=f"its name does not fit: {problem}",
                fix="choose another name, for example OPENAI_API_KEY",
            )
