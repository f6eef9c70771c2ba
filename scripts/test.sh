#!/usr/bin/env bash
# Run the tests; sets up .venv and installs the programs they need where those are missing.
#
#   scripts/test.sh               everything, with coverage (fails below the limit in pyproject.toml)
#   scripts/test.sh fast          unit and integration tests
#   scripts/test.sh unit          unit tests only: they start no process; 10 seconds on two cores
#   scripts/test.sh integration   real sops, age, Secret Service, systemd --user, Redis, direnv, git: 2 minutes
#   scripts/test.sh faults        a crash, power loss, failing disk, interruption or restart at each of many points
#   scripts/test.sh slow          the real LiteLLM proxy, droid, Open WebUI, CI runners, pip: 5 minutes
#   scripts/test.sh ARGS...       any arguments of pytest
#
# The last line is pytest's closing line, or `N passed, N failed` of all. `unit` and `fast` have
# hypothesis try 10 examples of each property, everything else as many as hypothesis itself.
# shellcheck source=lib/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/lib/venv.sh"
cd -- "$root"

# Without bytecode every process of thousands compiles what it imports, for twice as long as it runs.
unset PYTHONDONTWRITEBYTECODE
venv_ready dev
run() { "$venv/bin/python" -m pytest "$@"; }
# More workers than cores, since integration tests wait more than they compute.
# Without a worker that died the rest would wait for its tests for ever.
parallel=(-n "${TEST_WORKERS:-4}" --dist loadgroup --max-worker-restart=0)
# Those of one file share one LiteLLM, whose start takes a core for 8 seconds.
by_file=(-n "${TEST_WORKERS:-2}" --dist loadfile --max-worker-restart=0)
quick=(--hypothesis-profile=quick)

unit_tests() {
  local -a places=()
  # In memory, where there is some: they write a hundred thousand files, and wait for each flush.
  if [ -w /dev/shm ] && [ "$(df --output=avail -BM /dev/shm | tr -dc '0-9\n' | tail -n 1)" -gt 1000 ]; then
    scratch=$(mktemp -d /dev/shm/keyturn-tests.XXXXXX)
    trap 'rm -rf -- "$scratch"' EXIT
    places=(--basetemp="$scratch/pytest")
  fi
  run -m "not integration and not slow and not faults" "${quick[@]}" ${places[@]+"${places[@]}"} \
    -n "${TEST_WORKERS:-auto}" --maxprocesses=8 --max-worker-restart=0 "$@"
}

case ${1-everything} in
  unit) shift; unit_tests "$@"; exit ;;
  -* | */* | *.py) run "$@"; exit ;;
esac
scripts/test-packages.sh
case ${1-everything} in
  fast) shift; run -m "not slow and not faults" "${quick[@]}" "${parallel[@]}" "$@"; exit ;;
  integration) shift; run -m "integration and not slow and not faults" "${parallel[@]}" "$@"; exit ;;
  faults) shift; run -m faults "${parallel[@]}" "$@"; exit ;;
  slow) shift; run -m "slow and not faults" "${by_file[@]}" "$@"; exit ;;
  everything) ;;
  *) run "$@"; exit ;;
esac

# shellcheck source=lib/phases.sh
. "$root/scripts/lib/phases.sh"
trap 'rm -f -- "$phases_log"' EXIT
run() { "$venv/bin/python" -m pytest --cov --cov-append --cov-report= --cov-fail-under=0 "$@"; }
"$venv/bin/coverage" erase
phase -m "not slow" "${parallel[@]}"
phase -m slow "${by_file[@]}"
"$venv/bin/coverage" report || { status=1; echo "coverage is below the limit, or not known"; }
closing_line
exit "$status"
