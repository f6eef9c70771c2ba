#!/usr/bin/env bash
# Run a program with the lab's secrets in its environment: scripts/exec.sh [OPTIONS] -- PROGRAM ...
# shellcheck source=lib/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/lib/venv.sh"
run_keyturn exec "$@"
