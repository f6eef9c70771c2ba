#!/usr/bin/env bash
# From a fresh clone to a gateway that answers: sets up .venv when needed, then `keyturn bootstrap`.
# shellcheck source=lib/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/lib/venv.sh"
run_keyturn bootstrap "$@"
