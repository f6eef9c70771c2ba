#!/usr/bin/env bash
# Is everything as the lab file says, and does the gateway accept its key and no other?
# shellcheck source=lib/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/lib/venv.sh"
run_keyturn check "$@"
