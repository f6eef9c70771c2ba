#!/usr/bin/env bash
# Regenerate requirements/*.txt from pyproject.toml, and those of the tests' Open WebUI: exact versions
# with hashes, for every platform.
# Needs uv and the network. Versions already pinned stay unless told otherwise:
#
#   scripts/lock.sh                     after a change in pyproject.toml
#   scripts/lock.sh --upgrade           newest of everything
#   scripts/lock.sh --upgrade-package NAME
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."
compile() {
  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --custom-compile-command scripts/lock.sh "$@" >/dev/null
}
compile pyproject.toml --output-file requirements/runtime.txt "$@"
compile requirements/build.in --output-file requirements/build.txt "$@"
compile pyproject.toml requirements/build.in --group dev \
  --constraint requirements/runtime.txt --constraint requirements/build.txt \
  --output-file requirements/dev.txt "$@"
compile tests/tools/openwebui/requirements.in --excludes tests/tools/openwebui/left-out.txt \
  --no-annotate --output-file tests/tools/openwebui/requirements.txt "$@"
