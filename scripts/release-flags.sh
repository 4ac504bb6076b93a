#!/usr/bin/env bash
# The compiler's flags for whatever ships, for RUSTFLAGS: no path of the machine that builds is in a
# binary, so that the same sources make the same bytes in any folder (scripts/reproducible.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO_HOME:-$HOME/.cargo}
# Of two rules that fit, rustc takes the last.
echo "--remap-path-prefix=$cargo=/cargo" \
  "--remap-path-prefix=$(rustc --print sysroot)=/rust" \
  "--remap-path-prefix=$PWD=/fleet"
