#!/usr/bin/env bash
# Builds the host binary and the drain function of the last commit in two folders, and compares
# them byte by byte. One line per binary; ten minutes or more.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=$PWD/.venv/bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in "$work/one" "$work/another/folder"; do
  mkdir -p "$folder"
  git archive HEAD | tar -x -C "$folder"
  ln -s "$PWD/.venv" "$folder/.venv"
  (
    cd "$folder"
    # A target of its own, inside the folder.
    unset CARGO_TARGET_DIR
    scripts/build-deploy-server.sh >/dev/null
    # cargo-lambda moves every binary that it finds in the target's folder.
    cp target/x86_64-unknown-linux-gnu/release/deploy-server deploy-server.built
    RUSTFLAGS=$(scripts/release-flags.sh)
    export RUSTFLAGS
    cargo lambda build --quiet --locked --release --package drain
  )
done

failed=0
for binary in deploy-server.built target/lambda/drain/bootstrap; do
  one=$work/one/$binary another=$work/another/folder/$binary
  if cmp "$one" "$another"; then
    echo "ok $binary is the same from two folders: $(sha256sum <"$one" | cut -d' ' -f1)"
  else
    echo "FAIL $binary differs between two folders"
    failed=1
  fi
done
exit "$failed"
