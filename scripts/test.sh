#!/usr/bin/env bash
# Run the tests; sets up .venv and installs the programs they need where those are missing.
#
#   scripts/test.sh               everything, with coverage (fails below the limit in pyproject.toml)
#   scripts/test.sh fast          unit and integration tests
#   scripts/test.sh unit          unit tests only: no real program of others, under a minute
#   scripts/test.sh integration   real sops, age, Secret Service, systemd --user, Redis, direnv, git
#   scripts/test.sh slow          the real LiteLLM proxy and the real droid
#   scripts/test.sh ARGS...       any arguments of pytest
#
# The last line is pytest's closing line, or `N passed, N failed` of all.
# shellcheck source=lib/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/lib/venv.sh"
cd -- "$root"

venv_ready dev
run() { "$venv/bin/python" -m pytest "$@"; }
# More workers than cores, since integration tests wait more than they compute.
# Without a worker that died the rest would wait for its tests for ever.
parallel=(-n "${TEST_WORKERS:-4}" --dist loadgroup --max-worker-restart=0)

case ${1-everything} in
  unit) shift; run -m "not integration and not slow" "${parallel[@]}" "$@"; exit ;;
  -* | */* | *.py) run "$@"; exit ;;
esac
scripts/test-packages.sh
case ${1-everything} in
  fast) shift; run -m "not slow" "${parallel[@]}" "$@"; exit ;;
  integration) shift; run -m "integration and not slow" "${parallel[@]}" "$@"; exit ;;
  slow) shift; run -m slow "$@"; exit ;;
  everything) ;;
  *) run "$@"; exit ;;
esac

log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
status=0
measure=(--cov --cov-report= --cov-fail-under=0)
phase() { # -m MARKS, more ARGS of pytest; no test at all (5) is no failure
  local code=0 part
  part=$(mktemp)
  run "${measure[@]}" "$@" 2>&1 | tee "$part" || code=$?
  # Thousands of tests side by side on a small machine: what fails counts if it fails alone, too.
  if [ "$code" = 1 ] && ! grep -q "^worker .* crashed" "$part"; then
    echo "again, one by one:"
    code=0
    run "${measure[@]}" --cov-append --last-failed --last-failed-no-failures none "$1" "$2" 2>&1 |
      tee -a "$log" || code=$?
    sed -n 's/^\(FAILED\|ERROR\)/failed at first:/p' "$part"
    sed -i -E '/^=+ .* in [0-9.]+s/ s/[0-9]+ (failed|errors?)//g' "$part"
  fi
  cat "$part" >>"$log"
  rm -f -- "$part"
  [ "$code" = 0 ] || [ "$code" = 5 ] || status=1
}
"$venv/bin/coverage" erase
phase -m "not slow" "${parallel[@]}"
phase -m slow --cov-append
"$venv/bin/coverage" report || { status=1; echo "coverage is below the limit, or not known"; }

count() { # WORD: the sum over pytest's closing lines
  awk -v word="$1" '/^=+ .* in [0-9.]+s/ {
    for (i = 2; i <= NF; i++) if ($i ~ "^" word) n += $(i - 1)
  } END { print n + 0 }' "$log"
}
failed=$(($(count failed) + $(count error)))
if [ "$status" != 0 ] && [ "$failed" = 0 ]; then echo "failed although no test did, see above"; fi
echo "$(count passed) passed, $failed failed"
exit "$status"
