# shellcheck shell=bash
# Sourced by scripts/test.sh: runs parts of the tests one after the other and adds up what they say.
#
#   phase -m MARKS ARGS...   run one part by `run ...`, which calls pytest; a failure sets status to 1
#   closing_line             print `N passed, N failed` of all parts
#
# What failed in a part is run again, alone, and counts only if it fails then, too: thousands of tests
# side by side on a small machine disturb each other. `failed at first:` names it. A part whose worker
# died is run again as a whole, once, since nobody knows which of its tests did not run; `died at
# first:` names the test.
phases_log=$(mktemp)
status=0

phase() { # -m MARKS, more ARGS of pytest; no test at all (5) is no failure
  local code=0 part
  part=$(mktemp)
  run "$@" 2>&1 | tee "$part" || code=$?
  if died "$part"; then
    code=0
    sed -n 's/^worker .* crashed while running/died at first:/p' "$part"
    echo "again, as a whole:"
    run "$@" 2>&1 | tee "$part" || code=$?
  fi
  if [ "$code" = 1 ] && ! died "$part"; then
    echo "again, one by one:"
    code=0
    run "$1" "$2" --last-failed --last-failed-no-failures none 2>&1 | tee -a "$phases_log" ||
      code=$?
    sed -n 's/^\(FAILED\|ERROR\)/failed at first:/p' "$part"
    sed -i -E '/^=+ .* in [0-9.]+s/ s/[0-9]+ (failed|errors?)//g' "$part"
  fi
  cat "$part" >>"$phases_log"
  rm -f -- "$part"
  [ "$code" = 0 ] || [ "$code" = 5 ] || status=1
}

died() { grep -q "^worker .* crashed" "$1"; } # FILE: what pytest printed

count() { # WORD: the sum over pytest's closing lines
  awk -v word="$1" '/^=+ .* in [0-9.]+s/ {
    for (i = 2; i <= NF; i++) if ($i ~ "^" word) n += $(i - 1)
  } END { print n + 0 }' "$phases_log"
}

closing_line() {
  local failed
  failed=$(($(count failed) + $(count error)))
  if [ "$status" != 0 ] && [ "$failed" = 0 ]; then echo "failed although no test did, see above"; fi
  echo "$(count passed) passed, $failed failed"
}
