#!/bin/sh
# Installs the system packages that some tests use, on Debian and its relatives. Idempotent, quiet, asks nothing.
# Whatever cannot be installed is named; the tests that need it then say so, and fail where CI=true.
set -eu

# Python's are for test/second-implementation, which uses what Debian packages and nothing else.
packages="strace faketime iproute2 python3-cryptography python3-nacl python3-websocket"

is_installed() {
  command -v "$1" >/dev/null 2>&1 || dpkg -s "$1" 2>/dev/null | grep -q "^Status: install ok installed"
}

missing=""
for package in $packages; do
  is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "install-test-tools: missing:$missing (to install them takes root and apt-get)" >&2
  exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
install() {
  # shellcheck disable=SC2086 -- one word per package
  apt-get install -y --no-install-recommends -qq $missing </dev/null >"$log" 2>&1
}
# The package lists may be stale or absent: they are fetched only if the first attempt fails.
if install || { apt-get update -qq </dev/null >"$log" 2>&1 && install; }; then exit 0; fi
cat "$log" >&2
echo "install-test-tools: could not install:$missing" >&2
exit 1
