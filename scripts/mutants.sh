#!/usr/bin/env bash
# Which changes of the decisions would no test notice? Runs cargo-mutants on shared/core and prints
# the score, as docs/BENCHMARKS.md has it, and the changes that survived. Takes hours.
#
#   scripts/mutants.sh                 all of shared/core
#   scripts/mutants.sh scaling         one folder of shared/core/src
#   scripts/mutants.sh scaling 2/8     the second of eight parts of it
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo mutants --version >/dev/null 2>&1; then
  echo "mutants: cargo-mutants is missing: cargo install --locked cargo-mutants" >&2
  exit 69
fi

what=${1:-}
output=target/mutants${what:+-$what}
arguments=(--package fleet-core --output "$output" --no-shuffle --colors never)
[ -z "$what" ] || arguments+=(--file "shared/core/src/$what/**")
[ -z "${2:-}" ] || arguments+=(--shard "$2" --sharding round-robin)
# A folder is held by its own tests: those of the others take minutes and notice nothing more.
tests=()
if [ -n "$what" ] && [ -d "shared/core/tests/$what" ]; then tests=(-- --lib --test "$what"); fi
# The simulated lives are optimised and take most of the time; a mutant that loops is a caught one.
# Ends with 2 when a mutant survived, 3 when one only timed out: both are results.
result=0
PROPTEST_RNG_SEED=1 cargo mutants "${arguments[@]}" --minimum-test-timeout 60 "${tests[@]}" || result=$?
case $result in
  0 | 2 | 3) ;;
  *) exit "$result" ;;
esac

count() { if [ -e "$output/mutants.out/$1.txt" ]; then wc -l <"$output/mutants.out/$1.txt"; else echo 0; fi; }
caught=$(($(count caught) + $(count timeout)))
missed=$(count missed)
echo "| ${what:-all} | $((caught + missed)) | $caught | $missed | $((100 * caught / (caught + missed))) % |"
cat "$output/mutants.out/missed.txt"
