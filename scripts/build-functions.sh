#!/usr/bin/env bash
# Builds the functions into .aws-sam/build as they ship. Options go to `sam build`.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=$PWD/.venv/bin:$PATH
RUSTFLAGS=$(scripts/release-flags.sh)
export RUSTFLAGS
# Without --cached: SAM hashes the function's own folder and would miss a change in shared/.
sam build "$@"

# What builds is pinned by hash (requirements-build.txt); SAM and all that it pulls in are not, so
# what it left has to be what cargo-lambda built.
for shipped in .aws-sam/build/*/bootstrap; do
  for built in "${CARGO_TARGET_DIR:-target}"/lambda/*/bootstrap; do
    if cmp -s "$shipped" "$built"; then continue 2; fi
  done
  echo "build-functions: $shipped is not what cargo-lambda built" >&2
  exit 65
done
