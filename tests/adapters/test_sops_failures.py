"""What a failing sops means. The texts are those of sops 3.11.0."""

import pytest

from bootstrap.adapters.process import Finished
from bootstrap.adapters.sops_environment import shown_identity
from bootstrap.adapters.sops_failures import explain
from bootstrap.domain.errors import (
    ProviderUnavailableError,
    SecretError,
    SecretNotFoundError,
    StoreDamagedError,
)

FILE = "/lab/secrets/global.enc.env"
PLAIN = "sk-test-plain-0123456789"
NO_KEY = "Failed to get the data key required to decrypt the SOPS file.\nGroup 0: FAILED\n    - | "


@pytest.mark.parametrize(
    ("code", "stderr", "error", "why"),
    [
        (100, "Error: cannot operate on non-existent file", SecretNotFoundError, "not there"),
        (100, "Error: no file specified", SecretNotFoundError, "not there"),
        (2, f"Error reading file: open {FILE}: permission", ProviderUnavailableError, "be read"),
        (1, "lstat x: no such file or directory", SecretNotFoundError, "not there any more"),
        (51, "MAC mismatch. File has ABC, computed DEF", StoreDamagedError, "checksum"),
        (51, "Cannot decrypt MAC", StoreDamagedError, "checksum"),
        (25, f"Error decrypting tree: Input string {PLAIN}", StoreDamagedError, "without sops"),
        (1, "sops metadata not found", StoreDamagedError, "not encrypted, or was cut off"),
        (1, "Version string empty", StoreDamagedError, "part of it is missing"),
        (1, 'parsing time "" as "2006"', StoreDamagedError, "missing or damaged"),
        (1, f"invalid dotenv input line: {PLAIN}", StoreDamagedError, "not NAME=VALUE"),
        (1, "Error unmarshalling input json: x", StoreDamagedError, "end of its name"),
        (1, "component ['X'] not found", SecretNotFoundError, "not in it"),
        (1, "Key not found: X", SecretNotFoundError, "not in it"),
        (91, "error parsing --extract path", SecretError, "other arguments"),
        (7, "Value for --set is not valid JSON", SecretError, "other arguments"),
        (4, "cannot use complex value in dotenv file", SecretError, "only text"),
        (3, "Could not open in-place file for writing", SecretError, "does not let us write"),
        (1, "write x: no space left on device", SecretError, "disk is full"),
        (1, "write x: file too large", SecretError, "limit for files"),
        (1, "write x: input/output error", SecretError, "disk reports an error"),
        (1, "error loading config: no matching creation rules found", None, "no rule"),
        (1, "config file not found, or has no creation rules", None, "no .sops.yaml"),
        (1, "error loading config: Could not unmarshal config file: x", None, "cannot be read"),
        (1, 'malformed recipient "age1zzz"', None, "recipient in .sops.yaml"),
        (203, "top-level entry called 'sops'", StoreDamagedError, "encrypted already"),
        (1, "flag provided but not defined: -value-stdin", SecretError, "too old"),
        (128, NO_KEY + "failed to obtain passphrase: could not", None, "passphrase"),
        (128, NO_KEY + "failed to open SOPS_AGE_KEY_FILE\n      | file", None, "is not there"),
        (128, NO_KEY + "failed\n      | to parse 'SOPS_AGE_KEY_FILE'", None, "age's format"),
        (128, NO_KEY + "identity did not match any\n | of the recipients", None, "is a recipient"),
        (128, NO_KEY + "failed to load age identities. Did not find", None, "no identity here"),
        (2, "fatal error: failed to reserve page summary memory", SecretError, "too little memory"),
        (-11, "runtime: failed\nfatal error: newosproc", SecretError, "too few processes"),
        (200, f"{PLAIN}", SecretError, "ended with status 200"),
        (-9, "", SecretError, "killed by signal 9"),
    ],
)
def test_each_failure_has_its_error_and_no_word_of_sops(
    code: int, stderr: str, error: type[SecretError] | None, why: str
) -> None:
    explained = explain("decrypt", Finished(code, b"", stderr.encode()), FILE)
    assert type(explained) is (error or ProviderUnavailableError)
    assert explained.what == f"cannot decrypt {FILE}"
    assert why in explained.why
    assert explained.fix
    assert "{" not in explained.fix
    assert PLAIN not in f"{explained.what} {explained.why} {explained.fix}"


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ("", "~/.config/sops/age/keys.txt"),
        ("relative", "~/.config/sops/age/keys.txt"),
        ("/home/me/cfg", "~/cfg/sops/age/keys.txt"),
        ("/srv/cfg", "/srv/cfg/sops/age/keys.txt"),
    ],
)
def test_an_identity_belongs_where_sops_looks_here(config: str, shown: str) -> None:
    keys = shown_identity({"HOME": "/home/me", "XDG_CONFIG_HOME": config})
    missing = Finished(128, b"", f"{NO_KEY}failed to load age identities".encode())
    assert f" into {shown}, 0600" in explain("decrypt", missing, FILE, keys).fix
