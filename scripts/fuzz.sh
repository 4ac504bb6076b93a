#!/usr/bin/env bash
# Fuzzes everything that is parsed from outside. On hosts: worker answers, the engine's streams, the
# journal, and what the host itself says. In functions: events and bodies of requests, and what the
# database answers. Needs a C++ compiler; no nightly toolchain and no cargo-fuzz, which can run the
# same targets.
#
#   scripts/fuzz.sh [SECONDS [TARGET ...]]      60 s for each target; prints one line per target
set -euo pipefail
cd "$(dirname "$0")/../deploy-server/fuzz"

seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- worker docker_stream journal host api_body queue_rows

# What cargo-fuzz passes where it is told to use no sanitizer: this crate has no unsafe code of its
# own to watch.
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$PWD/target}
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cdebug-assertions"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target the flags reach neither build scripts nor macros.
RUSTFLAGS=$flags cargo build --quiet --release --locked --target "$host"

failed=0
for target in "$@"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  log=$CARGO_TARGET_DIR/$target.log
  if "$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target/" "corpus/$target" "seeds/$target" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "ok $target: $runs executions in $seconds s"
  else
    tail -n 20 "$log"
    echo "FAIL $target: the input is in artifacts/$target"
    failed=1
  fi
done
exit "$failed"
