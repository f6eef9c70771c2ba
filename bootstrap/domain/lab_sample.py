"""The files that `keyturn init` writes for a new lab."""

LAB = """\
# The lab: one LiteLLM gateway, its models, its clients. This file is yours: only `keyturn models
# import` and `keyturn adopt` add to its end. After an edit: `keyturn plan` shows what would change,
# `keyturn apply` does it.
version = 1

[gateway]
port = {port}
# host = "127.0.0.1"            # loopback only, unless you change it
# service = "auto"              # auto, systemd (a --user unit) or supervisor (no systemd needed)
# litellm_version = "{version}"
# command = "/path/to/litellm"  # use an installation of your own
# auth = "guard"                # "master-key": LiteLLM's own check; a rotation then restarts it
# socket = "auto"               # "never": LiteLLM opens the port itself, restarts refuse requests
# literal_keys = false          # true writes keys into config.yaml instead of os.environ/NAME

# LITELLM_MASTER_KEY and LITELLM_SALT_KEY are always there. Sources are asked in order, the first
# that holds the secret wins; this is the default order:
# [secrets.OPENAI_API_KEY]
# sources = ["sops:secrets/global.enc.env#OPENAI_API_KEY", "keyring:keyturn#OPENAI_API_KEY",
#            "env:OPENAI_API_KEY"]
# optional = true               # without it, its models are left out

# kind: ollama, ollama-cloud, llama.cpp, vllm, openai-compatible, openai, anthropic
# [backends.ollama]
# kind = "ollama"
# url = "http://127.0.0.1:11434"
#
# [backends.openai]
# kind = "openai"
# key = "OPENAI_API_KEY"        # the name of a secret, never a key

# A model `lab-echo` with a canned answer is always there, so that the gateway can be proven
# without any backend; `echo = false` above [gateway] removes it.
# [[models]]
# alias = "qwen2.5-coder:7b"    # what clients ask for
# backend = "ollama"
# upstream = "qwen2.5-coder:7b" # what the backend calls it; the alias by default
# output_tokens = 16384         # a real cap on the length of an answer
# context_tokens = 32768
# fallbacks = ["lab-echo"]
# id = "qwen"                   # the alias it had first: who chose it in droid keeps it
# clients = ["droid", "claude", "openwebui"]

# With profile = "local" above [gateway], only these models are rendered:
# [profiles]
# local = ["lab-echo", "qwen2.5-coder:7b"]

# [secrets.REDIS_PASSWORD]
# [redis]
# password = "REDIS_PASSWORD"

# [rotate]
# grace = "10m"                 # for how long a rotated-out key is still accepted
# restart = "always"            # restart the gateway too, without refusing a connection

# A program of yours for `keyturn exec --client aider`; droid, claude and openai are there already:
# [clients.aider]
# like = "openai"
# environment = {{ AIDER_MODEL = "openai/{{model}}" }}

# How a client gets the key: "helper", "variable" or "literal"; `keyturn clients` shows it.
# [clients.droid]
# hand_over = "helper"          # droid asks keyturn for the key: no key lies in its settings

# A file of your own with a key in it, from LAB/templates/tool.env.j2; rotated with the others:
# [[files]]
# path = "~/.config/tool/tool.env"
# template = "tool.env.j2"      # TOOL_KEY={{{{ secrets.LITELLM_MASTER_KEY | dotenv }}}}

# [targets]
# claude_settings = true        # Claude Code asks keyturn for the key
# openwebui_env = true          # an env file for Open WebUI's unit or compose file
# envrc = false
"""

SOPS_RULES = """\
# Who can decrypt the files of this lab. Add the public key of a second person or a backup, then
# run: sops updatekeys {store}
creation_rules:
  - path_regex: secrets/.*\\.enc\\.(env|json|yaml)$
    age: {recipient}
"""

IGNORED = ("*.dec.env", ".*.tmp", ".direnv/", "*.keyturn-backup*")
ATTRIBUTES = ("*.enc.env -text", "*.enc.json -text", "*.enc.yaml -text")


def missing_lines(text: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the lines of `wanted` that `text` lacks."""
    present = {line.strip() for line in text.splitlines()}
    return tuple(line for line in wanted if line not in present)
