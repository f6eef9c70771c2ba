#!/usr/bin/env bash
# Install the programs that the tests run for real, where they are missing (Debian, Ubuntu).
#
#   scripts/test-packages.sh           install as root, or by sudo where that asks no password
#   scripts/test-packages.sh --check   only print the Debian packages that are missing; 1 if any
set -euo pipefail

missing=()
need() { # PACKAGE TEST...
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
program() { command -v "$1"; }

need age program age-keygen
need ca-certificates test -d /etc/ssl/certs
need curl program curl
need dbus-bin program dbus-send
need dbus-daemon program dbus-daemon
need dbus-user-session test -e /usr/lib/systemd/user/dbus.socket
need direnv program direnv
need git program git
need gnome-keyring program gnome-keyring-daemon
need jq program jq
need libfaketime compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1'
need libgomp1 compgen -G '/usr/lib/*/libgomp.so.1'
need libsecret-tools program secret-tool
need mount program mount
need nodejs program node
need npm program npm
need postgresql compgen -G '/usr/lib/postgresql/*/bin/initdb'
need procps program ps
need python3 program python3
need python3-venv /usr/bin/python3 -c 'import ensurepip'
need redis-server program redis-server
need shellcheck program shellcheck
need strace program strace
need systemd test -x /usr/lib/systemd/systemd -o -x /lib/systemd/systemd
need util-linux program unshare
need zsh program zsh

[ ${#missing[@]} -gt 0 ] || exit 0
if [ "${1-}" = --check ]; then
  printf '%s\n' "${missing[*]}"
  exit 1
fi

as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
cannot() {
  printf 'error: cannot install what the tests need\ncause: %s\nfix:   as root: apt-get install %s\n' \
    "$1" "${missing[*]}" >&2
  exit 1
}
program apt-get >/dev/null || cannot "there is no apt-get here"
"${as_root[@]}" true 2>/dev/null || cannot "not root, and sudo asks for a password"

printf 'installing for the tests: %s\n' "${missing[*]}" >&2
log=$(mktemp)
policy=
trap 'rm -f -- "$log"; [ -z "$policy" ] || "${as_root[@]}" rm -f -- "$policy"' EXIT
# The tests want the programs; nobody asked for a Redis server that runs from now on.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  policy=/usr/sbin/policy-rc.d
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 0755 /dev/stdin "$policy"
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@" </dev/null >>"$log" 2>&1; }
if ! { apt update && apt install -y --no-install-recommends "${missing[@]}"; }; then
  tail -n 15 "$log" >&2
  cannot "apt-get failed"
fi
