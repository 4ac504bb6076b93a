#!/usr/bin/env bash
# Every test of the project. One line per suite, under it what failed in it, and last the sum:
# `N passed, N failed`. Ends with 1 when anything failed or a suite did not run. The whole log of
# each suite is in target/test-logs. What ships is built beside the first checks, as its linker uses
# one core for minutes.
#
#   scripts/test.sh            all suites
#   scripts/test.sh PATTERN    only the suites whose name matches this shell pattern
#   scripts/test.sh check      only those that look at the sources and run no program of ours
#
# An ignored or skipped test counts as failed: it proved nothing. One that says `skipped: <why>`
# because this machine cannot run it (no systemd, say) is named under its suite.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
exec 2>&1

# These need no Docker Engine. The hooks of .pre-commit-config.yaml are the same ones.
check='@(format|scripts|style-*|tree|python-tree|lints|docs)'
only=${1:-*}
[ "$only" != check ] || only=$check
logs=target/test-logs
# A line for each suite that ran: how many passed, how many failed.
sums=$logs/.sums
mkdir -p "$logs"
[ -n "${FLEET_TEST_INSIDE:-}" ] || : >"$sums"

finish() {
  if [ ! -s "$sums" ]; then
    echo "no suite is called $only"
    echo 0 1 >>"$sums"
  fi
  echo "after $SECONDS s:"
  awk '{p+=$1; f+=$2} END{print p " passed, " f " failed"; exit f > 0}' "$sums"
  exit
}
# give_up <why>: nothing can run.
give_up() {
  echo "$1"
  echo 0 1 >>"$sums"
  finish
}

if [ -z "${FLEET_TEST_INSIDE:-}" ]; then
  scripts/setup.sh test || give_up "setup: what the tests need is not there, see above"
  # shellcheck disable=SC2053  # the right side is a pattern
  if [ "$only" = "$check" ] || [[ $only == $check ]]; then
    FLEET_TEST_INSIDE=1 exec "$0" "$@"
  fi
  # One engine for all suites. 69 is its word for "no engine"; the sum is then not printed yet.
  result=0
  FLEET_TEST_INSIDE=1 scripts/with-docker.sh "$0" "$@" || result=$?
  [ "$result" -ne 69 ] || give_up "docker: no engine could be had, see above"
  exit "$result"
fi

# Nothing here may reach a real AWS account: loopback, invented keys, no profile of the developer.
unset AWS_PROFILE AWS_SESSION_TOKEN
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true
export AWS_ENDPOINT_URL=http://127.0.0.1:9 AWS_MAX_ATTEMPTS=1 AWS_PAGER=
export SAM_CLI_TELEMETRY=0
# Properties are tried with the same cases in every run; `cargo test` and scripts/fuzz.sh draw new
# ones.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}
export PATH="$PWD/.venv/bin:$PATH" CARGO_TERM_COLOR=never PYTHONDONTWRITEBYTECODE=1

# --- Counting: each reads a log and prints "passed failed" ---------------------------------------

# One check per line, `ok …` or `FAIL …`.
count_checks() { awk '/^ok /{p++} /^FAIL /{f++} END{print p+0, f+0}' "$1"; }
count_cargo() {
  sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored;.*/\1 \2 \3/p' "$1" |
    awk '{p+=$1; f+=$2+$3} END{print p+0, f+0}'
}
count_pytest() {
  tail -n 1 "$1" | grep -oE '[0-9]+ (passed|failed|errors?|skipped|xfailed|xpassed)' |
    awk '$2 == "passed" {p+=$1} $2 != "passed" {f+=$1} END {print p+0, f+0}'
}
# The command itself is the check.
count_one() { if [ "$2" -eq 0 ]; then echo 1 0; else echo 0 1; fi; }

# what_failed <log>: what the failed tests said, as cargo and pytest print it; of any other log the
# checks that failed and its end. At most as much as a person reads.
what_failed() {
  said=$(awk '/^failures:$/ || /^=+ (FAILURES|ERRORS) =+$/ {on=1} on {print} /^test result: /{on=0}' "$1")
  [ -n "$said" ] || said=$(grep '^FAIL ' "$1"; tail -n 100 "$1")
  tail -n 400 <<<"$said"
}

# suite <name> <how to count> <command …>
suite() {
  local name=$1 count=$2 result=0 started=$SECONDS p f said
  shift 2
  # shellcheck disable=SC2053  # a pattern is what the caller gives
  [[ $name == $only ]] || return 0
  local log=$logs/$name.log
  "$@" >"$log" 2>&1 </dev/null || result=$?
  read -r p f < <("$count" "$log" "$result")
  # Ended badly without a failed test, or ran nothing: it did not run.
  if [ "$f" -eq 0 ] && { [ "$result" -ne 0 ] || [ "$p" -eq 0 ]; }; then
    f=1
    echo "(the suite did not run to its end: exit status $result)" >>"$log"
  fi
  echo "$p $f" >>"$sums"
  # In one piece: another suite may end at the same time.
  said=$(report "$name" "$p" "$f" "$((SECONDS - started))" "$log")
  echo "$said"
}
report() {
  printf '%-14s %5d passed %5d failed %5d s\n' "$1" "$2" "$3" "$4"
  grep -h '^skipped: ' "$5" | sort -u | sed 's/^/    /'
  if [ "$3" -ne 0 ]; then
    echo "--- $5"
    what_failed "$5"
    echo "---"
  fi
}

# --- The suites ----------------------------------------------------------------------------------

functions=$PWD/.aws-sam/build
export FLEET_FUNCTIONS=$functions

# A test that hangs is a test that fails. The longest takes a fifth of this.
in_time="timeout --kill-after=15 900"

# With private items: the documentation is for those who work on this.
documentation() {
  RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' \
    cargo doc --workspace --no-deps --document-private-items --locked
}
validate() { sam validate --lint && cfn-lint template.yaml fleet.yaml; }

function_binaries() {
  local binary result=0
  for binary in "$functions"/*/bootstrap; do
    basename "$(dirname "$binary")"
    scripts/check-binary.sh function "$binary" || result=1
  done
  return "$result"
}
what_ships() {
  suite template count_one validate
  suite sam-build count_one scripts/build-functions.sh
  suite sam-binary count_checks function_binaries
  # It checks what it built and prints the checks.
  suite host-binary count_checks scripts/build-deploy-server.sh
}
what_ships &

suite format count_one cargo fmt --all --check
suite scripts count_one shellcheck --severity=warning scripts/*.sh .ci/run \
  .github/scripts/*.sh host/*.sh host/take-over host/metadata-firewall
python_style() { ruff check . && ruff format --check .; }
suite style-python count_one python_style
suite style-js count_one scripts/lint/node_modules/.bin/biome check --error-on-warnings .
suite tree count_checks .venv/bin/python scripts/check-tree.py
suite lints count_one cargo clippy --workspace --all-targets --locked -- -D warnings
suite docs count_one documentation
if cargo deny --version >/dev/null 2>&1; then
  suite deny count_one cargo deny --offline check bans licenses sources
fi
# 69: there is nothing to check with, which is said and is no failure.
result=0
advisories=$(scripts/advisories.sh 2>&1) || result=$?
if [ "$result" -eq 69 ]; then
  echo "$advisories"
else
  suite advisories count_one scripts/advisories.sh
fi
suite build count_one cargo build --workspace --all-targets --locked
wait

suite doctests count_cargo cargo test --workspace --doc --locked
suite rust count_cargo .venv/bin/python scripts/run-tests.py --show-output
for folder in tests/python/*/; do
  name=$(basename "$folder")
  case $name in __*) continue ;; esac
  # shellcheck disable=SC2086
  suite "python-$name" count_pytest $in_time pytest -q -p no:cacheprovider "$folder"
done

finish
