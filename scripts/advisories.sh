#!/usr/bin/env bash
# Whether a dependency has a known weakness, by the RustSec advisory database as it is on this
# machine: nothing is downloaded here (`cargo deny fetch` does). Ends with 1 for a weakness, and
# with 69 and the reason where nothing could be checked.
set -euo pipefail
cd "$(dirname "$0")/.."

not_checked() {
  echo "advisories not checked: $1"
  exit 69
}
cargo deny --version >/dev/null 2>&1 || not_checked "cargo-deny is not installed (cargo install cargo-deny)"
home=${CARGO_HOME:-$HOME/.cargo}/advisory-dbs
database=$(find "$home" -maxdepth 1 -name 'advisory-db-*' -type d 2>/dev/null | head -n 1)
[ -n "$database" ] || not_checked "no advisory database on this machine (cargo deny fetch)"
echo "the advisory database is of $(git -C "$database" log -1 --format=%cs 2>/dev/null || echo 'an unknown date')"
exec cargo deny --offline check advisories
