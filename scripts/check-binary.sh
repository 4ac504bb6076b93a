#!/usr/bin/env bash
# What a machine must give one of our binaries, and how heavy it is. One line per check.
#
#   scripts/check-binary.sh function BINARY    Lambda's provided.al2023
#   scripts/check-binary.sh host BINARY        Debian 11, Ubuntu 22.04, Amazon Linux 2023 and later
set -euo pipefail
kind=$1
binary=$2

case $kind in
  function)
    glibc_limit=2.34
    # It is fetched and unpacked before a cold start's first instruction.
    weighed="zips to"
    weight=$(zip -q -9 - "$binary" | wc -c)
    # The aim is 3 MB, which one function misses (docs/BENCHMARKS.md); no further.
    weight_limit=$((3200 * 1000))
    ;;
  host)
    glibc_limit=2.31
    # A host downloads it at boot.
    weighed="has"
    weight=$(stat -c %s "$binary")
    weight_limit=$((6 * 1024 * 1024))
    ;;
  *)
    echo "usage: scripts/check-binary.sh function|host BINARY" >&2
    exit 64
    ;;
esac

failed=0
# check <what it says> <command that holds>
check() {
  local says=$1
  shift
  if "$@"; then echo "ok $says"; else
    echo "FAIL $says"
    failed=1
  fi
}
at_most() { [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$2" ]; }

# None at all would mean that this looks in the wrong place.
glibc=$(objdump -T "$binary" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
check "needs glibc ${glibc:-of no version}, at most $glibc_limit" at_most "${glibc:-99}" "$glibc_limit"

# The C library's own parts, and nothing that a build machine may add.
strangers=$(objdump -p "$binary" | awk '$1 == "NEEDED" {print $2}' |
  grep -vE '^(libc|libm|libdl|libpthread|librt|libutil|libresolv|ld-linux-(x86-64|aarch64))\.so\.[0-9]+$' || true)
check "needs no library but the C library's${strangers:+: $strangers}" test -z "$strangers"

# scripts/release-flags.sh takes them out. A home of / would be in everything.
home=${HOME:-/}
found=
for path in "$PWD" "${CARGO_HOME:-$home/.cargo}" "$(rustc --print sysroot)" "${home%/}/"; do
  if [ "$path" != / ] && grep -qaF "$path" "$binary"; then found+=" $path"; fi
done
check "holds no path of this machine${found:+:$found}" test -z "$found"

check "$weighed $weight bytes, at most $weight_limit" test "$weight" -le "$weight_limit"

exit "$failed"
