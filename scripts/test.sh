#!/usr/bin/env bash
# Run the tests; sets up .venv and installs the programs they need where those are missing.
#
#   scripts/test.sh               everything, with coverage (fails below the limit in pyproject.toml)
#   scripts/test.sh fast          unit and integration tests
#   scripts/test.sh unit          unit tests only: they start no process; 10 seconds on two cores
#   scripts/test.sh integration   real sops, age, Secret Service, systemd --user, Redis, direnv, git: 2 minutes
#   scripts/test.sh faults        a crash, power loss, failing disk, interruption or restart at each of many points
#   scripts/test.sh slow          the real LiteLLM proxy, llama.cpp, droid, Open WebUI, CI runners, pip: 5 minutes
#   scripts/test.sh heavy         real programs of gigabytes (vLLM), in no other tier: minutes
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
by_file=(-n "${TEST_WORKERS:-3}" --dist loadfile --max-worker-restart=0)
quick=(--hypothesis-profile=quick)

# shellcheck source=lib/phases.sh
. "$root/scripts/lib/phases.sh"
trap 'rm -f -- "$phases_log"' EXIT

unit_tests() { # in as many processes as there are cores
  local parts=${TEST_WORKERS:-$(nproc)} folder=${TMPDIR:-/tmp} part
  local -a started=()
  [ "$parts" -le 8 ] || parts=8
  # In memory, where there is some: they write a hundred thousand files, and wait for each flush.
  if [ -w /dev/shm ] && [ "$(df --output=avail -BM /dev/shm | tr -dc '0-9\n' | tail -n 1)" -gt 1000 ]; then
    folder=/dev/shm
  fi
  scratch=$(mktemp -d "$folder/keyturn-tests.XXXXXX")
  trap 'kill $(jobs -p) 2>/dev/null; rm -rf -- "$scratch" "$phases_log"' EXIT
  for ((part = 2; part <= parts; part++)); do
    unit_part "$part" "$parts" >"$scratch/log$part" 2>&1 &
    started+=("$!")
  done
  unit_part 1 "$parts" 2>&1 | tee -- "$phases_log" || status=1
  for ((part = 2; part <= parts; part++)); do
    wait "${started[part - 2]}" || status=1
    tee -a -- "$phases_log" <"$scratch/log$part"
  done
  closing_line
}

unit_part() { # N M: the Nth of M parts
  unit --part "$1/$2" --basetemp="$scratch/$1" -p no:xdist -p no:cacheprovider
}

unit() { run -m "not integration and not slow and not faults" "${quick[@]}" "$@"; }

case ${1-everything} in
  unit) if [ "$#" = 1 ]; then unit_tests; exit "$status"; else shift; unit "$@"; exit; fi ;;
  -* | */* | *.py) run "$@"; exit ;;
esac
scripts/test-packages.sh
case ${1-everything} in
  fast) shift; run -m "not slow and not faults" "${quick[@]}" "${parallel[@]}" "$@"; exit ;;
  integration) shift; run -m "integration and not slow and not faults" "${parallel[@]}" "$@"; exit ;;
  faults) shift; run -m faults "${parallel[@]}" "$@"; exit ;;
  slow) shift; run -m "slow and not faults and not heavy" "${by_file[@]}" "$@"; exit ;;
  heavy) shift; run -m heavy "$@"; exit ;;
  everything) ;;
  *) run "$@"; exit ;;
esac

run() { "$venv/bin/python" -m pytest --cov --cov-append --cov-report= --cov-fail-under=0 "$@"; }
"$venv/bin/coverage" erase
phase -m "not slow" "${parallel[@]}"
phase -m "slow and not heavy" "${by_file[@]}"
"$venv/bin/coverage" report || { status=1; echo "coverage is below the limit, or not known"; }
closing_line
exit "$status"
