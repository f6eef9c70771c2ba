#!/usr/bin/env bash
# Run the real Factory droid CLI once, offline, against a custom model.
#
#   droid_exec.sh [options] HOME_DIR CACHE_DIR [PROMPT]
#
# HOME_DIR   a directory that holds .factory/ (settings.json with customModels,
#            or the legacy config.json); droid writes sessions, logs and caches
#            below it (see --copy)
# CACHE_DIR  where the npm package is installed on first use and found again
# PROMPT     default "hi"
#
#   -m MODEL   model selector: custom:<id>, or custom:<model field>;
#              default: the session default, else the first custom model
#   -e NAME    pass environment variable NAME through (repeatable); everything
#              else but PATH, LANG and what is set below is dropped
#   -o FORMAT  text (default), json or stream-json
#   -C DIR     working directory (default: a fresh empty one, so that no
#              project-level .factory/ can shadow the user's models)
#   -t SEC     time limit (default 120)
#   --copy     run on a throw-away copy of HOME_DIR/.factory
#   --list     print the custom model ids droid loaded, one a line, and stop
#   --doctor   run `droid doctor --config --json` instead; exit 1 on findings
#   --print-bin  install if needed, print the path of the binary, and stop
#
# Environment: DROID_VERSION (default 0.215.0; 0.225.2 works too).
# No login and no key of Factory's is needed: airgap mode forbids every request
# but those to the models' own base URLs.
# Exit status: droid's own (0 reply printed, 1 failure), 2 usage, 3 install,
# 124 time limit.
set -euo pipefail

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2; }

version=${DROID_VERSION:-0.215.0}
model='' format=text limit=120 copy=0 what=exec cwd='' pass=()
while [ $# -gt 0 ]; do
  case $1 in
    -m|-e|-o|-C|-t)
      [ $# -ge 2 ] || usage
      case $1 in
        -m) model=$2 ;; -e) pass+=("$2") ;; -o) format=$2 ;;
        -C) cwd=$2 ;; -t) limit=$2 ;;
      esac
      shift 2 ;;
    --copy) copy=1; shift ;;
    --list|--doctor|--print-bin) what=${1#--}; shift ;;
    -h|--help) usage ;;
    --) shift; break ;;
    -*) echo "unknown option: $1" >&2; usage ;;
    *) break ;;
  esac
done
[ $# -ge 2 ] || usage
home=$(cd "$1" && pwd) || exit 2
mkdir -p "$2"
cache=$(cd "$2" && pwd)
prompt=${3:-hi}

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) arch=linux-x64 ;;
  Linux-aarch64|Linux-arm64) arch=linux-arm64 ;;
  *) echo "unsupported platform: $(uname -sm)" >&2; exit 3 ;;
esac
if [ "$arch" = linux-x64 ] && ! grep -qw avx2 /proc/cpuinfo 2>/dev/null; then
  arch=linux-x64-baseline
fi
prefix=$cache/droid-$version
bin=$prefix/node_modules/@factory/cli-$arch/bin/droid
if [ ! -x "$bin" ]; then
  mkdir -p "$prefix"
  (
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    [ -x "$bin" ] || npm install --prefix "$prefix" --no-audit --no-fund \
      --no-save "@factory/cli-$arch@$version" >"$prefix/npm.log" 2>&1
  ) 9>"$prefix/.lock" || { cat "$prefix/npm.log" >&2; exit 3; }
  [ -x "$bin" ] || { echo "no binary at $bin" >&2; exit 3; }
fi
if [ "$what" = print-bin ]; then echo "$bin"; exit 0; fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [ "$copy" = 1 ]; then
  mkdir -p "$tmp/home"
  cp -a "$home/.factory" "$tmp/home/"
  home=$tmp/home
fi
if [ -z "$cwd" ]; then mkdir -p "$tmp/work"; cwd=$tmp/work; fi

vars=(PATH="$PATH" LANG="${LANG:-C.UTF-8}" HOME="$home"
      FACTORY_AIRGAP_ENABLED=true FACTORY_DROID_AUTO_UPDATE_ENABLED=false
      FACTORY_DISABLE_KEYRING=1 NO_PROXY="127.0.0.1,localhost")
for name in "${pass[@]+"${pass[@]}"}"; do
  if [ -n "${!name+x}" ]; then vars+=("$name=${!name}"); fi
done
run() { (cd "$cwd" && timeout -k 5 "$limit" env -i "${vars[@]}" "$bin" "$@" </dev/null); }

case $what in
  doctor)
    run doctor --config --json ;;
  list)
    # An unknown id makes droid print what it loaded and stop before any request.
    run exec -m custom:__none__ x 2>&1 | sed -n '/^Available custom models:/{n;p;q;}' |
      grep -oE 'custom:[^ ,]+' || true ;;
  exec)
    args=(exec -o "$format")
    if [ -n "$model" ]; then args+=(-m "$model"); fi
    run "${args[@]}" -- "$prompt" ;;
esac
