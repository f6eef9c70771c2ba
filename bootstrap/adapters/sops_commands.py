"""The three things we let sops do: decrypt bytes, encrypt bytes, set one name in a scratch file.

What sops reads and prints goes through pipes; it never touches the real file, which it would
truncate and then write (`set` was killed 1500 times at random: the file was left empty 94 times).
"""

import posix

from bootstrap.adapters import ahead
from bootstrap.adapters.paths import folder_of, is_file, is_folder, words, working_folder
from bootstrap.adapters.process import run
from bootstrap.adapters.sops_environment import (
    from_here,
    odd_identity,
    shown_identity,
    sops_environment,
)
from bootstrap.adapters.sops_program import find_sops
from bootstrap.domain.base_errors import (
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
        argv = (self.program(), "decrypt", "--input-type", kind, "--output-type", "json")
        self._check_identities("decrypt", file)
        printed = ahead.take(argv, data, TIMEOUT_S)
        if printed is None:
            printed = self._run("decrypt", argv[2:], data, file).stdout
            ahead.note(argv, self._rules(file), file, data)
        try:
            document = _parsed(printed.decode().strip())
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
        import os

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
        if verb != "encrypt":
            self._check_identities(verb, file)
        if verb != "decrypt":
            self._check_rules(verb, file)
        # To decrypt it needs no rule, only no broken one, and so it need not run beside it.
        decrypts = verb == "decrypt"
        stays = decrypts and working_folder() != ""  # it cannot run in a folder that is gone
        try:
            finished = run(
                (program, verb, *arguments),
                stdin=stdin,
                env=sops_environment(self._environ, self._rules(file) if decrypts else None),
                cwd=None if stays else self._folder(file),
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
                why=f"{program} does not start: {words(error)}",
                fix="unset KEYTURN_SOPS, or install a sops that is made for this machine",
            ) from None
        if finished.returncode != 0:
            from bootstrap.adapters.sops_failures import explain

            raise explain(verb, finished, file, shown_identity(self._environ))
        return finished

    def _check_identities(self, verb: str, file: str) -> None:
        """Refuse an identity that sops would wait for."""
        odd = odd_identity(self._environ)
        if odd is not None:
            raise ProviderUnavailableError(
                f"cannot {verb} {file}",
                why=f"the identity {odd} is not a regular file",
                fix=f"put the identity itself there, 0600; look at it: ls -ld {odd}",
            )

    def _check_rules(self, verb: str, file: str) -> None:
        """Refuse a `.sops.yaml` that sops would wait for."""
        named = self._environ.get("SOPS_CONFIG")
        rules = from_here(named) if named else _first_rules(self._folder(file))
        if posix.access(rules, posix.F_OK) and not is_file(rules):
            raise ProviderUnavailableError(
                f"cannot {verb} {file}",
                why=f"{rules} is not a regular file",
                fix=f"look at it and move it away: ls -ld {rules}",
            )

    def _folder(self, file: str) -> str:
        """Return where sops must run: it looks for `.sops.yaml` from there upward."""
        beside = folder_of(file)
        return _above(beside) or (self._root if is_folder(self._root) else beside)

    def _rules(self, file: str) -> str:
        """Return the `.sops.yaml` that sops would find for `file`."""
        folder = _above(folder_of(file)) or _above(self._root)
        return f"{folder}/{_RULES}" if folder is not None else "/dev/null"


def _above(folder: str) -> str | None:
    """Return `folder` or the nearest one above it that holds a `.sops.yaml`, or None."""
    while not is_file(f"{folder}/{_RULES}"):
        parent = folder_of(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _first_rules(folder: str) -> str:
    """Return the `.sops.yaml`, whatever it is, that sops finds first from `folder` upward."""
    while not posix.access(f"{folder}/{_RULES}", posix.F_OK) and folder != "/":
        folder = folder_of(folder)
    return f"{folder}/{_RULES}"


class _Scanning:
    """How the interpreter's own JSON scanner is to read what sops prints."""

    strict = True
    object_hook = None
    # Numbers keep their digits: 1.50 must not become 1.5 on the way.
    parse_float = parse_int = parse_constant = str
    memo: "dict[str, str]" = {}  # noqa: RUF012 - the scanner empties it after each use

    @staticmethod
    def object_pairs_hook(pairs: "list[tuple[str, object]]") -> "dict[str, object]":
        document = dict(pairs)
        if len(document) != len(pairs):
            raise ValueError("a name stands twice")
        return document


def _parsed(text: str) -> object:
    """Return the JSON value that `text` spells; the `json` module would take 8 ms to load.

    Raises:
        ValueError: It is not JSON, or a name stands twice in it.
    """
    from _json import make_scanner

    try:
        value, end = make_scanner(_Scanning)(text, 0)  # type: ignore[arg-type]
    except StopIteration:
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("more than one value")
    return value
