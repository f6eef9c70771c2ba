# os.path on purpose: `keyturn exec` waits for this, and importing pathlib costs milliseconds.
# ruff: noqa: PTH100,PTH112,PTH113,PTH118,PTH120
"""The three things we let sops do: decrypt bytes, encrypt bytes, set one name in a scratch file.

What sops reads and prints goes through pipes; it never touches the real file, which it would
truncate and then write (`set` was killed 1500 times at random: the file was left empty 94 times).
"""

import os

from bootstrap.adapters.process import run
from bootstrap.adapters.sops_program import find_sops
from bootstrap.domain.errors import (
    ProviderUnavailableError,
    SecretError,
    StoreDamagedError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.adapters.process import Finished
    from bootstrap.domain.secret import Secret

TIMEOUT_S = 30.0
_RULES = ".sops.yaml"
# sops has no use for these, and they are what we protect.
_NOT_FOR_SOPS = ("LITELLM_", "KEYTURN_")
_PATHS = ("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_CONFIG")


class Sops:
    """The sops program, run for the files of one lab.

    Args:
        root: Where it runs for files below no `.sops.yaml`.
        environ: Our variables; sops gets those that it may need.
    """

    def __init__(self, root: str, environ: "Mapping[str, str]") -> None:
        self._root = root
        self._environ = environ

    def decrypt(self, data: bytes, kind: str, file: str) -> "dict[str, object]":
        """Return the decrypted document: text by name, numbers as their text, null as None.

        Args:
            data: The ciphertext itself, so that what was looked at is what is decrypted.
            kind: See `kind_of`.
            file: Its path, for `.sops.yaml` and for errors.

        Raises:
            ProviderUnavailableError: There is no sops, or no identity that opens the file.
            StoreDamagedError: The file was changed without sops.
            SecretError: sops failed for another reason.
        """
        import json

        arguments = ("--input-type", kind, "--output-type", "json")
        finished = self._run("decrypt", arguments, data, file)
        # Numbers keep their digits: 1.50 must not become 1.5 on the way.
        try:
            document = json.loads(
                finished.stdout,
                object_pairs_hook=_without_duplicates,
                parse_int=str,
                parse_float=str,
            )
        except ValueError:  # the foreign exception carries the plaintext
            document = None
        if not isinstance(document, dict):
            raise StoreDamagedError(
                f"cannot decrypt {file}",
                why="sops printed no JSON object, or one name twice",
                fix=f"delete what stands twice in it: sops edit {file}",
            )
        return document

    def encrypt(self, secrets: "Mapping[str, Secret]", kind: str, file: str) -> bytes:
        """Return the text of a new encrypted file, for the recipients that `.sops.yaml` names.

        Args:
            secrets: Values by name.
            kind: See `kind_of`.
            file: Where it will stand; decides which creation rule applies.

        Raises:
            ProviderUnavailableError: There is no sops, or no rule for such a file.
            SecretError: sops failed for another reason.
        """
        import json

        # JSON in, since a dotenv line cannot tell a newline from '\\n' in a value.
        plain = json.dumps({name: secret.reveal() for name, secret in secrets.items()})
        name = os.path.relpath(file, self._folder(file))
        arguments = ("--input-type", "json", "--output-type", kind, "--filename-override", name)
        return self._run("encrypt", arguments, plain.encode(), file).stdout

    def set(self, scratch: str, name: str, secret: "Secret", kind: str, file: str) -> None:
        """Set one name in the scratch file, which sops truncates and writes.

        Args:
            scratch: The path of a copy beside `file`.
            name: A name that `store_name_problem` finds nothing wrong with.
            secret: Goes in by stdin: arguments are readable by every user.
            kind: See `kind_of`; the end of the scratch file's name says nothing.
            file: The real file's path, for errors.

        Raises:
            SecretError: sops failed; see `bootstrap.adapters.sops_failures`.
        """
        import json

        types = ("--input-type", kind, "--output-type", kind)
        arguments = (*types, "--value-stdin", "--idempotent", scratch, f'["{name}"]')
        # Always a JSON string: null would make the file undecryptable, 12 come back as 12.0.
        self._run("set", arguments, json.dumps(secret.reveal()).encode(), file)

    def unset(self, scratch: str, name: str, kind: str, file: str) -> None:
        """Remove one name from the scratch file; no error where it is not there.

        Raises:
            SecretError: sops failed; see `bootstrap.adapters.sops_failures`.
        """
        types = ("--input-type", kind, "--output-type", kind)
        self._run("unset", (*types, "--idempotent", scratch, f'["{name}"]'), b"", file)

    def program(self) -> str:
        """Return the path of the sops that is used here.

        Raises:
            ProviderUnavailableError: There is none.
        """
        return find_sops(self._environ)

    def _run(self, verb: str, arguments: "tuple[str, ...]", stdin: bytes, file: str) -> "Finished":
        program = self.program()
        try:
            finished = run(
                (program, verb, *arguments),
                stdin=stdin,
                env=_environment(self._environ),
                cwd=self._folder(file),
                timeout_s=TIMEOUT_S,
                keep=("SOPS_AGE_",),
            )
        except TimeoutError:
            raise SecretError(
                f"cannot {verb} {file}",
                why=f"sops did not end within {TIMEOUT_S:g} s",
                fix="try again; a key service that it asks may be slow or out of reach",
            ) from None
        except OSError as error:
            raise ProviderUnavailableError(
                f"cannot {verb} {file}",
                why=f"{program} does not start: {os.strerror(error.errno or 0).lower()}",
                fix="unset KEYTURN_SOPS, or install a sops that is made for this machine",
            ) from None
        if finished.returncode != 0:
            from bootstrap.adapters.sops_failures import explain

            raise explain(verb, finished, file)
        return finished

    def _folder(self, file: str) -> str:
        """Return where sops must run: it looks for `.sops.yaml` from there upward."""
        folder = beside = os.path.dirname(file)
        while True:
            if os.path.isfile(os.path.join(folder, _RULES)):
                return folder
            parent = os.path.dirname(folder)
            if parent == folder:
                return self._root if os.path.isdir(self._root) else beside
            folder = parent


def _environment(environ: "Mapping[str, str]") -> dict[str, str]:
    """Return the variables for sops. It runs in another folder, so paths must be absolute."""
    passed = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_NOT_FOR_SOPS) and not name.endswith("_API_KEY")
    }
    for name in _PATHS:
        if passed.get(name):
            passed[name] = os.path.abspath(passed[name])
    return passed | {"SOPS_DISABLE_VERSION_CHECK": "1"}


def _without_duplicates(pairs: "list[tuple[str, object]]") -> "dict[str, object]":
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice")
    return document
