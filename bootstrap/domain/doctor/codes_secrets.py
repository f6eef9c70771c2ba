"""KT4xx: where secrets live. Seen with sops 3.11.0, age and git."""

from bootstrap.domain.doctor.finding import Code

IDENTITY_OPEN = Code(
    "KT401",
    "an age identity that other users can read",
    "Whoever has it decrypts every store that was ever encrypted for it.",
    "chmod 600 on that file; if others use this machine: make a new one and keyturn rotate",
    "sops uses an identity whatever its mode. Git history and backups of the stores are opened by "
    "it, too, so a new identity alone does not help once it was read: the secrets must change.",
    fixable=True,
)
IDENTITY = Code(
    "KT402",
    "an age identity that cannot be used or be trusted",
    "The store cannot be decrypted, or others could replace the identity.",
    "mend what is named; keyturn list shows whether the store opens",
    "Identities are taken from SOPS_AGE_KEY, SOPS_AGE_KEY_FILE and sops' own file below "
    "~/.config/sops/age. One with a passphrase cannot be used by a service, and one that belongs "
    "to another user is known to that user.",
)
STORE = Code(
    "KT403",
    "an encrypted store that is not sound",
    "It exposes its secrets, cannot be decrypted, or tells different programs different values.",
    "bring the last good copy back, such as by: git checkout HEAD -- FILE",
    "sops takes several unsound files without a word. Looked for are: plaintext, a file that was "
    "cut off, CR LF, a byte order mark, marks of a merge, a name that stands there twice, names "
    "with `export` or a space, names that end in _unencrypted, and values set to null.",
)
ONE_RECIPIENT = Code(
    "KT404",
    "a store that one identity alone can open",
    "When that file is lost, so is every secret in the store.",
    "keep a copy of the identity, or add a second recipient to .sops.yaml: sops updatekeys FILE",
    "A second recipient is a second public key, such as that of an identity on paper or of another "
    "person. A copy of the identity at a safe place does as well, which cannot be seen from here.",
)
ENV_OPEN = Code(
    "KT405",
    "an env file that other users can read",
    "The keys of the lab stand in it as plain text.",
    "chmod 600 on that file, then keyturn rotate if others use this machine",
    "keyturn writes these files with mode 0600 in a folder of mode 0700. An editor or a copy that "
    "makes a new file may open it.",
    fixable=True,
)
ENV_FORM = Code(
    "KT406",
    "an env file that its readers disagree about",
    "systemd, shells, sops and docker take different values from it.",
    "keyturn apply --force, which writes it anew and keeps a backup",
    "A line is NAME='value', without `export`, without spaces around the `=`, with one line feed "
    "at its end. systemd leaves out lines with `export` and quotes them in its journal.",
)
DISAGREE = Code(
    "KT407",
    "sources of a secret that hold different values",
    "The first one wins; who reads another one gets a key that is not in force.",
    "unset or update the others; keyturn list shows them all",
    "The sources under [secrets.NAME] in lab.toml are asked in order, and the first that has it is "
    "in force. A variable that an old shell exported is the usual one that disagrees.",
)
STALE = Code(
    "KT408",
    "a key in this shell's environment that is not in force",
    "Programs started here send it, and are refused.",
    "unset LITELLM_MASTER_KEY, or start a new shell, or: direnv reload",
    "A shell keeps what it was given when it started, and a rotation does not reach it. `keyturn "
    "exec` gives a program the key of the moment.",
)
SESSION = Code(
    "KT409",
    "a key in the environment of the user's systemd",
    "Every unit and every desktop program that starts gets it, and it stays when the key changes.",
    "systemctl --user unset-environment NAME",
    "`systemctl --user import-environment`, or a display manager, copies a shell's variables "
    "there. All programs of the session can read them.",
    fixable=True,
)
ATTRIBUTES = Code(
    "KT410",
    ".gitattributes does not keep git from changing the stores",
    "A checkout with CR LF makes a store that nobody can decrypt.",
    "keyturn doctor --fix KT410",
    "With core.autocrlf git changes the ends of lines. The line `*.enc.env -text` in the lab's "
    ".gitattributes keeps it from that, as the ones for .json and .yaml do.",
    fixable=True,
)
IN_HISTORY = Code(
    "KT411",
    "git's history holds a store unencrypted",
    "Whoever has the repository, now or later, has those secrets.",
    "replace every secret that was in it (keyturn rotate NAME), then rewrite the history",
    "The newest 200 commits of all branches, tags and stashes that changed the store were looked "
    "at. Taking a file out of the history does not take it back from those who fetched it.",
)
CACHING = Code(
    "KT412",
    "git keeps decrypted texts",
    "`git diff` stores the plaintext of the stores in the repository, and a push can publish it.",
    "git config --unset NAME, then git update-ref -d refs/notes/textconv/DRIVER",
    "With diff.DRIVER.cachetextconv git writes what a textconv program such as sops gives into "
    "refs/notes/textconv/DRIVER.",
)
KEYRING = Code(
    "KT413",
    "a keyring that cannot be used",
    "What it holds cannot be read, so another source is taken, or none.",
    "unlock it in the desktop's password manager, or log out and in with your password",
    "A keyring is locked until you log in with your password, and is not there without a desktop "
    "session. keyturn uses only backends that encrypt: one that the settings of the Python package "
    "keyring choose, and that keeps plain text or forgets what it is given, is refused.",
)
LEFTOVER = Code(
    "KT414",
    "a key that a plaintext keyring still holds",
    "It lies on the disk base64-coded, and stays when the real keyring's key is changed.",
    "keyturn doctor --fix KT414",
    "The Python package keyrings.alt keeps secrets in ~/.local/share/python_keyring/"
    "keyring_pass.cfg where there is no session bus, without a word. keyturn never reads it, other "
    "programs that use the package keyring do. The fix takes the lab's entries out of it, and only "
    "where its code is named, since the file may be the last place that has the key.",
    fixable=True,
)
RECIPIENTS = Code(
    "KT415",
    "a store that is not encrypted for those whom .sops.yaml names",
    "Who was added cannot open it, or who was taken out still can.",
    "sops updatekeys FILE",
    "sops reads .sops.yaml for new files only. After a change of it, sops updatekeys gives an "
    "existing store the recipients of its rule. Who could open it before has the old secrets, so "
    "change them when somebody leaves: sops rotate -i FILE, then keyturn rotate --all.",
)
LOGIN = Code(
    "KT416",
    "a key in the environment of every login",
    "Every program of the session gets it, and the next rotation does not reach it.",
    "keyturn doctor --fix KT416",
    "systemd reads ~/.config/environment.d/*.conf when the user's manager starts. What it has got "
    "by then stays until the next login, or until: systemctl --user unset-environment NAME. Keys "
    "in the start files of shells are KT205, in this shell KT408.",
    fixable=True,
)
