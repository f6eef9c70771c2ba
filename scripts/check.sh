#!/usr/bin/env bash
# The checks that run no test: style, types, layers, shell scripts. All are run, any may fail.
# shellcheck source=lib/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/lib/venv.sh"
cd -- "$root"
venv_ready dev

status=0
check() { # NAME COMMAND...
  local name=$1
  shift
  if said=$("$@" 2>&1); then
    echo "ok      $name"
  else
    status=1
    printf 'FAILED  %s\n%s\n' "$name" "$said"
  fi
}
check "ruff check" "$venv/bin/ruff" check
check "ruff format" "$venv/bin/ruff" format --check
check "mypy" "$venv/bin/mypy"
check "layers" "$venv/bin/lint-imports"
if command -v shellcheck >/dev/null; then
  mapfile -t shell < <(git -c safe.directory='*' ls-files -co --exclude-standard | xargs -d '\n' awk 'FNR == 1 && /^(#!.*[\/ ](ba)?sh|# shellcheck shell=bash)$/ { print FILENAME } { nextfile }')
  check "shellcheck" shellcheck --severity=warning "${shell[@]}"
else
  echo "not run shellcheck (scripts/test-packages.sh installs it)"
fi
exit "$status"
