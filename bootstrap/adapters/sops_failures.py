"""What a failing sops means, in our words.

Its exit codes are per cause only in part and 1 is the catch-all, so the text decides; then it is
thrown away, because it may quote a line of the file, plaintext included. Every row was seen with
sops 3.11.0.
"""

from bootstrap.domain.errors import (
    ProviderUnavailableError,
    SecretError,
    SecretNotFoundError,
    StoreDamagedError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bootstrap.adapters.process import Finished

_RESTORE = "bring the last good copy back: git checkout HEAD -- {file}"
_RULES = "look at creation_rules in the .sops.yaml above {file}"
_OUR_FAULT = "unset KEYTURN_SOPS if it is set; if that does not help, please report this"
_KEYS = "{keys}"

# Causes of `Failed to get the data key`, which sops lists for each recipient.
_NO_KEY = (
    (b"passphrase", "the identity that fits is protected by a passphrase, which nobody can type "
     "here", f"put an age identity without a passphrase into {_KEYS}"),
    (b"failed to open", "an identity file is not there or may not be read",
     "look at SOPS_AGE_KEY_FILE and SOPS_AGE_SSH_PRIVATE_KEY_FILE, where they are set, and who may "
     f"read {_KEYS}"),
    (b"failed to parse", "an age identity is not in age's format",
     f"look at SOPS_AGE_KEY, SOPS_AGE_KEY_FILE and {_KEYS}"),
    (b"did not match any of the recipients", "none of the age identities here is a recipient of it",
     f"put the one that is into {_KEYS}, or have its owner add yours to .sops.yaml and run: "
     "sops updatekeys {file}"),
    (b"", "there is no identity here that opens it",
     f"put the age identity that does into {_KEYS}, 0600, or name its file in SOPS_AGE_KEY_FILE"),
)  # fmt: skip

# (exit code or None for any, text or b"" for any, error, why, fix); the first that fits counts.
_ROWS: "tuple[tuple[int | None, bytes, type[SecretError], str, str], ...]" = (
    (None, b"fatal error: ", SecretError, "sops gets too little memory or too few processes here",
     "raise what limits them: ulimit -a"),
    (51, b"", StoreDamagedError, "its checksum does not fit: a line was added, removed or changed "
     "without sops", _RESTORE),
    (25, b"", StoreDamagedError, "a value in it was changed, renamed or replaced without sops",
     _RESTORE),
    (203, b"", StoreDamagedError, "it is encrypted already, or holds a name that starts with sops_",
     "give the secret another name"),
    (3, b"", SecretError, "the folder does not let us write",
     "check its permissions: ls -ld {file}"),
    (None, b"no space left", SecretError, "the disk is full", "free some space, then try again"),
    (None, b"file too large", SecretError, "it would be larger than the limit for files",
     "raise the limit: ulimit -f unlimited"),
    (None, b"input/output error", SecretError, "the disk reports an error",
     "check the disk: dmesg"),
    (None, b"sops metadata not found", StoreDamagedError, "it is not encrypted, or was cut off",
     _RESTORE),
    (None, b"Version string empty", StoreDamagedError, "a part of it is missing", _RESTORE),
    (None, b"parsing time", StoreDamagedError, "a part of it is missing or damaged", _RESTORE),
    (None, b"invalid dotenv input line", StoreDamagedError, "a line of it is not NAME=VALUE",
     _RESTORE),
    (None, b"Error unmarshalling input", StoreDamagedError, "its content is not what the end of "
     "its name promises", "rename it, or: " + _RESTORE),
    (None, b"no matching creation rules", ProviderUnavailableError, "no rule of .sops.yaml is for "
     "this file", _RULES),
    (None, b"config file not found", ProviderUnavailableError, "there is no .sops.yaml that says "
     "for whom to encrypt", "make one: keyturn init"),
    (None, b"malformed recipient", ProviderUnavailableError, "a recipient in .sops.yaml is not one",
     _RULES),
    (None, b"error loading config", ProviderUnavailableError, "the .sops.yaml above it cannot be "
     "read", _RULES),
    (None, b"not found", SecretNotFoundError, "that name is not in it", "keyturn init"),
    (None, b"no such file", SecretNotFoundError, "the file is not there any more", "keyturn init"),
    (100, b"", SecretNotFoundError, "the file is not there any more", "keyturn init"),
    (2, b"", ProviderUnavailableError, "the file cannot be read", "ls -l {file}"),
    (7, b"", SecretError, "this sops takes other arguments than we give", _OUR_FAULT),
    (4, b"", SecretError, "only text can be stored in such a file", _OUR_FAULT),
    (91, b"", SecretError, "this sops takes other arguments than we give", _OUR_FAULT),
    (None, b"flag provided but not defined", SecretError, "this sops is too old for us",
     _OUR_FAULT),
)  # fmt: skip


def explain(
    verb: str, finished: "Finished", file: str, keys: str = "~/.config/sops/age/keys.txt"
) -> SecretError:
    """Return the error for a sops that did not end with status 0.

    Args:
        verb: What we wanted, for example `decrypt`.
        finished: How it ended.
        file: The path of the encrypted file, for the text.
        keys: The file that sops looks for identities in, for the text.
    """
    import shlex

    # sops wraps long messages and draws a bar at their left.
    text = b" ".join((finished.stderr + b" " + finished.stdout).replace(b"|", b" ").split())
    what, quoted = f"cannot {verb} {file}", shlex.quote(file)
    if finished.returncode == 128 or b"Failed to get the data key" in text:
        why, fix = next((why, fix) for needle, why, fix in _NO_KEY if needle in text)
        return ProviderUnavailableError(
            what, why=why, fix=fix.replace("{file}", quoted).replace("{keys}", keys)
        )
    for code, needle, error, why, fix in _ROWS:
        if code in (None, finished.returncode) and needle in text:
            return error(what, why=why, fix=fix.replace("{file}", quoted))
    if finished.returncode < 0:
        why = f"sops was killed by signal {-finished.returncode}"
        return SecretError(what, why=why, fix="try again")
    why = f"sops ended with status {finished.returncode}"
    return SecretError(what, why=why, fix=f"run it by hand to see the cause: sops {verb} {quoted}")
