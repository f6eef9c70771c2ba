"""Search for a secret where it must not be: texts, files, argument lists of programs.

Knows the clothes a secret may wear: base64 (at every alignment, also wrapped), hex, URL, JSON,
shell and Python quoting, UTF-16, and gzip or zlib around any of these, in a file of its own or as
a word (direnv keeps the environment that way). Says where, never what.
"""

import base64
import json
import re
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

SHORTEST = 8
_UNPACK_AT_MOST = 64 * 1024 * 1024
_UNPACK_DEPTH = 3
# zlib and gzip streams in base64 begin like this; fewer characters hold no key.
_PACKED_WORD = re.compile(rb"(?:eJ|eA|eF|eN|H4sI)[A-Za-z0-9+/_-]{16,}")
_WHITESPACE = b" \t\r\n"


@dataclass(frozen=True)
class Form:
    """One spelling of a secret: its name for reports, its bytes, and whether lines may break it."""

    name: str
    data: bytes
    breakable: bool = False


def find(
    secret: str,
    roots: Iterable[Path] = (),
    *,
    texts: Mapping[str, str | bytes] | None = None,
    allowed: Iterable[Path] = (),
) -> list[str]:
    """Return where `secret` is found, as `place (form)`, sorted; empty when it is nowhere.

    Args:
        secret: At least 8 characters; a shorter one would be found by accident.
        roots: Files and folders; every file below is read, its name and a symlink's target too.
        texts: Outputs by a name for the report.
        allowed: Files, or folders with all below them, where it may be.

    Raises:
        ValueError: The secret is too short, or there is nothing to search.
        FileNotFoundError: A root does not exist, so searching it would prove nothing.
    """
    if len(secret) < SHORTEST:
        raise ValueError(f"a secret to search for has at least {SHORTEST} characters")
    roots, texts = list(roots), texts or {}
    if not roots and not texts:
        raise ValueError("nothing to search")
    forms = spellings(secret)
    exempt = [path.absolute() for path in allowed]
    found = set()
    for name, text in texts.items():
        found |= {f"{name} ({form})" for form in _search(_to_bytes(text), forms)}
    for path in _entries(roots):
        if any(path == ok or ok in path.parents for ok in exempt):
            continue
        label = _label(path, forms)
        found |= {f"{label} ({form})" for form in _search_entry(path, forms)}
    return sorted(found)


def spellings(secret: str) -> list[Form]:
    """Return the ways to write `secret` that `find` looks for, without repetition."""
    raw = _to_bytes(secret)
    forms = [Form("plain", raw)]
    forms += [Form("base64", text, breakable=True) for text in _base64_cores(raw)]
    forms += [Form("hex", text, breakable=True) for text in _both_cases(raw.hex())]
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        forms.append(Form("URL", quoted.encode()))
        forms.append(Form("URL", re.sub(r"%..", lambda m: m[0].lower(), quoted).encode()))
    escaped = json.dumps(secret)[1:-1]
    forms.append(Form("JSON", escaped.encode()))
    forms.append(Form("JSON", _to_bytes(json.dumps(secret, ensure_ascii=False)[1:-1])))
    forms.append(Form("JSON in JSON", json.dumps(escaped)[1:-1].encode()))
    forms.append(Form("shell", _to_bytes(secret.replace("'", "'\"'\"'"))))
    forms.append(Form("shell", _to_bytes(re.sub(r"([^\w@%+=:,./-])", r"\\\1", secret))))
    forms.append(Form("Python", _to_bytes(repr(secret)[1:-1])))
    forms.append(Form("dollar doubled", _to_bytes(secret.replace("$", "$$"))))
    forms.append(Form("UTF-16", secret.encode("utf-16-le", "surrogatepass")))
    unique: dict[bytes, Form] = {}
    for form in forms:
        if len(form.data) >= SHORTEST:
            unique.setdefault(form.data, form)
    return list(unique.values())


@dataclass(frozen=True)
class Traced:
    """What a program did, with the argument list of every program that it started.

    Attributes:
        status: Its exit status; 128+N after signal N.
        stdout: What it printed.
        stderr: What it complained.
        programs: One line of strace for each execve, argument lists in full.
    """

    status: int
    stdout: str
    stderr: str
    programs: tuple[str, ...]

    def find(self, secret: str) -> list[str]:
        """Return the programs, numbered, that had `secret` in their arguments."""
        numbered = {f"program {n}": line for n, line in enumerate(self.programs, 1)}
        return find(secret, texts=numbered)


def watch_argv(
    argv: Iterable[object],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    input: str = "",
    timeout: float = 60,
) -> Traced:
    """Run a program under strace and return what it, and all below it, executed.

    Sampling the process list would miss programs that live for a millisecond; this misses none.
    Daemons that outlive the program go on, untraced from then.

    Raises:
        subprocess.TimeoutExpired: It ran for more than `timeout` seconds; it was ended.
    """
    # The scratch folder is elsewhere: what the program finds in `cwd` must not differ.
    with tempfile.TemporaryDirectory() as folder:
        trace, said, complained = (Path(folder) / name for name in ("trace", "out", "err"))
        command = ["strace", "-I2", "-f", "-q", "-s", "65536", "-e", "trace=execve,execveat"]
        command += ["-e", "signal=none", "-o", str(trace), "--", *map(str, argv)]
        with (
            tempfile.TemporaryFile() as stdin,
            said.open("wb") as out,
            complained.open("wb") as err,
        ):
            stdin.write(input.encode())
            stdin.seek(0)
            strace = subprocess.Popen(
                command, stdin=stdin, stdout=out, stderr=err, env=env, cwd=cwd
            )
            status = _wait_for_first_program(strace, trace, timeout)
        lines = trace.read_text(errors="replace").splitlines()
        stdout, stderr = (path.read_text(errors="replace") for path in (said, complained))
    programs = tuple(line for line in lines if "execve" in line)
    if not programs:
        raise AssertionError(f"strace traced nothing: {stderr.strip()}")
    return Traced(status, stdout, stderr, programs)


def _wait_for_first_program(strace: "subprocess.Popen[bytes]", trace: Path, timeout: float) -> int:
    """Wait for strace, or for the end of the first program where daemons keep strace going."""
    for _ in range(int(timeout / 0.05)):
        try:
            return strace.wait(0.05)
        except subprocess.TimeoutExpired:
            ended = _end_of_first(trace)
            if ended is not None:
                strace.terminate()
                strace.wait(10)
                return ended
    strace.terminate()
    strace.wait(10)
    raise subprocess.TimeoutExpired(strace.args, timeout)


def _end_of_first(trace: Path) -> int | None:
    text = trace.read_text(errors="replace") if trace.exists() else ""
    first = text.split(" ", 1)[0]
    ended = re.search(rf"^{first} +\+\+\+ exited with (\d+) \+\+\+$", text, re.MULTILINE)
    return int(ended[1]) if first and ended else None


def _to_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _both_cases(text: str) -> tuple[bytes, bytes]:
    return text.lower().encode(), text.upper().encode()


def _base64_cores(raw: bytes) -> Iterator[bytes]:
    """Yield the characters that `raw` alone decides, after 0, 1 and 2 bytes of something else."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw)
        core = text[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _entries(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        root.lstat()
        yield root.absolute()
        if root.is_dir():
            yield from root.absolute().rglob("*")


def _label(path: Path, forms: Iterable[Form]) -> str:
    label = _to_bytes(str(path))
    for form in forms:
        label = label.replace(form.data, b"<secret>")
    return label.decode(errors="replace")


def _search_entry(path: Path, forms: list[Form]) -> set[str]:
    found = {f"{form}, in the name" for form in _search(_to_bytes(path.name), forms)}
    if path.is_symlink():
        target = _to_bytes(str(path.readlink()))
        return found | {f"{form}, in the target" for form in _search(target, forms)}
    return found | _search(path.read_bytes(), forms) if path.is_file() else found


def _search(data: bytes, forms: list[Form], depth: int = _UNPACK_DEPTH) -> set[str]:
    found = {form.name for form in forms if form.data in data}
    joined = data.translate(None, _WHITESPACE)
    found |= {form.name for form in forms if form.breakable and form.data in joined}
    if depth:
        for inner in _unpacked(data):
            found |= {f"{name}, compressed" for name in _search(inner, forms, depth - 1)}
    return found


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Yield what is inside `data` where it is compressed, or holds compressed words in base64."""
    candidates = [data] if data[:1] == b"\x78" or data[:2] == b"\x1f\x8b" else []
    for word in _PACKED_WORD.findall(data):
        standard = word.translate(bytes.maketrans(b"-_", b"+/"))
        standard = standard[: len(standard) - (len(standard) % 4 == 1)]
        candidates.append(base64.b64decode(standard + b"=" * (-len(standard) % 4)))
    for candidate in candidates:
        unpacker = zlib.decompressobj(wbits=47)  # zlib or gzip, whichever it is
        try:
            yield unpacker.decompress(candidate, _UNPACK_AT_MOST)
        except zlib.error:
            continue
