"""The help text of `keyturn exec`, apart from it since hardly any run needs it."""

USAGE = """\
usage: keyturn exec [OPTIONS] [--] PROGRAM [ARG]...

Run a program with the lab's secrets in its environment, and become it: its exit status, signals
and terminal are its own. The program never starts when a secret is missing.

options:
  --secret NAME[=REF]  give it this secret (repeatable) [default: [exec] in lab.toml]
  --lab DIR            the lab's folder
  --source SCHEME      ask only sources of this scheme: sops, keyring, env, file
  --keep NAME          let this variable pass although it would be withheld (repeatable)
  --clean              pass no other variables than secrets and those of --keep
  --mask               mask secrets in its output, unless a person's terminal gets it
  --client NAME        set it up as this client of the gateway: droid, claude, openai, one under
                       [clients] in lab.toml, or one that a package brings. With it:
    --model ALIAS        use this model
    --gateway URL        the gateway, on a machine without a lab
    --ephemeral          give it a key of its own, revoked when it ends
    --master             give it the master key
    --trust-project      even where a settings file of the project sends the key elsewhere
  -q, --quiet          do not warn of a stale key in the shell
  -h, --help           show this

SOPS_AGE_*, DIRENV_*, CREDENTIALS_DIRECTORY and the variables that the lab's sources read from are
withheld from the program.

exit status: the program's own; where it was not started 126 not executable, 127 not found,
128+n signal n arrived first, 125 anything else: a missing secret, a wrong option

examples:
  keyturn exec -- python nightly.py
  keyturn exec --client droid -- droid exec "review this"
  keyturn exec --secret OPENAI_API_KEY=env:CI_KEY -- python app.py
  keyturn exec --mask -- printenv | tee log
"""
