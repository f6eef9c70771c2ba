"""What an encrypted file tells without a key: its names, and whether it is sound.

sops reads several unsound files with status 0 and then disagrees with itself: of two lines with
one name `set` changes the first and `exec-env` takes the last, so a rotation would change nothing.
And where it does complain, it quotes the line, plaintext included. So we look first.
"""

from bootstrap.domain.base_errors import StoreDamagedError
from bootstrap.domain.ref import is_variable_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KINDS = {".env": "dotenv", ".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_CONFLICT_MARKS = (b"<<<<<<< ", b"||||||| ", b">>>>>>> ")
_CUT_OFF = "its end is missing, so it was probably cut off while it was written"
_RESTORE = "bring the last good copy back: git checkout HEAD -- {file}"


def kind_of(file: str) -> str | None:
    """Return sops' type for a file name, as for `--input-type`, or None where it has none."""
    return next((kind for end, kind in _KINDS.items() if file.endswith(end)), None)


def names_in(data: bytes, kind: str, file: str) -> tuple[str, ...]:
    """Return the names that a sound encrypted file holds, in its order.

    Args:
        data: The whole file.
        kind: `dotenv`, `json` or `yaml`.
        file: Its path, for complaints.

    Raises:
        StoreDamagedError: It is not sound, or not encrypted; never quotes more than a name.
    """
    _check_bytes(data, file)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _damaged(file, "it is not UTF-8 text", _RESTORE) from None
    reader = {"dotenv": _dotenv_names, "json": _json_names, "yaml": _yaml_names}[kind]
    names = list(reader(text, file))
    _check_names(names, file)
    return tuple(names)


def _damaged(file: str, why: str, fix: str) -> StoreDamagedError:
    import shlex

    return StoreDamagedError(
        f"{file} is not a sound encrypted file",
        why=why,
        fix=fix.replace("{file}", shlex.quote(file)),
    )


def _without_metadata(text: str, file: str) -> StoreDamagedError:
    if "=ENC[AES256_GCM," in text or ": ENC[AES256_GCM," in text:
        return _damaged(file, _CUT_OFF, _RESTORE)
    return _damaged(
        file,
        "it is not encrypted: anybody who reads it reads the secrets",
        "encrypt it: sops encrypt -i {file}, and replace the secrets if it was ever shared",
    )


def _check_bytes(data: bytes, file: str) -> None:
    if not data.strip():
        raise _damaged(file, "it is empty, so probably cut off while it was written", _RESTORE)
    if data.startswith(b"\xef\xbb\xbf"):
        raise _damaged(
            file,
            "it begins with a byte order mark, which becomes part of the first name",
            "remove it: sed -i '1s/^\\xef\\xbb\\xbf//' {file}",
        )
    if any(line.startswith(_CONFLICT_MARKS) for line in data.splitlines()):
        raise _damaged(
            file,
            "it holds the marks of a merge conflict",
            "take one side: git checkout --ours -- {file}, then set what the other side changed",
        )
    if b"\r" in data:
        raise _damaged(
            file,
            "its lines end in CR LF, which its checksum does not cover",
            "write '*.enc.env -text' into .gitattributes, then: sed -i 's/\\r$//' {file}",
        )


def _check_names(names: "Sequence[str]", file: str) -> None:
    seen = set()
    for name in names:
        # What is no name may be a piece of a value that lost its line.
        shown = name if is_variable_name(name) else "a name"
        if name in seen:
            raise _damaged(
                file,
                f"{shown} stands in it twice, and programs disagree on which one counts",
                f"delete one of them: sops unset {{file}} '[\"{shown}\"]'",
            )
        seen.add(name)
        if name.endswith("_unencrypted"):
            raise _damaged(
                file,
                f"{shown} is in the clear, because of the end of its name",
                f"remove it: sops unset {{file}} '[\"{shown}\"]', and store it by another name",
            )


def _dotenv_names(text: str, file: str) -> "Iterator[str]":
    lines = text.split("\n")  # not splitlines(): sops ends a line at '\n' only
    metadata = {line.partition("=")[0] for line in lines if line.startswith("sops_")}
    if not metadata:
        raise _without_metadata(text, file)
    if not {"sops_mac", "sops_version"} <= metadata:
        raise _damaged(file, _CUT_OFF, _RESTORE)
    for number, line in enumerate(lines, 1):
        if line and not line.startswith(("#", "sops_")):
            yield _dotenv_name(line, number, file)


def _dotenv_name(line: str, number: int, file: str) -> str:
    name, equals, value = line.partition("=")
    if not equals:
        raise _damaged(file, f"line {number} is not NAME=VALUE", _RESTORE)
    if name.split() != [name]:
        raise _damaged(
            file,
            f"line {number} has 'export' or a space before the '=', which becomes part of the name",
            f"correct the name on line {number}: sops edit {{file}}",
        )
    if value == "<nil>":
        raise _damaged(
            file,
            f"line {number} was set to null, so that nothing in the file can be decrypted",
            f"delete that line: sed -i {number}d {{file}}, then store the secret again",
        )
    return name


def _json_names(text: str, file: str) -> "Iterator[str]":
    import json

    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise _damaged(file, "it is not JSON", _RESTORE) from None
    # With this hook an object is a list of pairs and an array a list of values.
    if not text.lstrip().startswith("{"):
        raise _damaged(file, "it is not a JSON object", _RESTORE)
    names = [name for name, _ in pairs]
    if "sops" not in names:
        raise _without_metadata(text, file)
    yield from (name for name in names if name != "sops")


def _yaml_names(text: str, file: str) -> "Iterator[str]":
    """Yield top-level names; sops writes each on a line of its own, and its value encrypted."""
    encrypted = False
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line[0] in " #" or line.rstrip() == "---":
            continue
        name, colon, _ = line.partition(":")
        if not colon or line.startswith("-"):
            raise _damaged(file, f"line {number} is not NAME: VALUE", _RESTORE)
        name = name.strip("\"'")
        if name == "sops":
            encrypted = True
        else:
            yield name
    if not encrypted:
        raise _without_metadata(text, file)
