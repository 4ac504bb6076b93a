#!/usr/bin/env bash
# Builds deploy-server so that one binary runs on Ubuntu 22.04 and later, Debian 11 and later and
# Amazon Linux 2023: linked by zig against the oldest C library among them, whatever this machine
# has.
#
#   scripts/build-deploy-server.sh [x86_64|aarch64]      prints where the binary is
set -euo pipefail
cd "$(dirname "$0")/.."

machine=${1:-x86_64}
case $machine in
  x86_64 | aarch64) ;;
  *)
    echo "usage: scripts/build-deploy-server.sh [x86_64|aarch64]" >&2
    exit 64
    ;;
esac
# Debian 11; the others have 2.34 and 2.35. scripts/check-binary.sh holds it against the same.
glibc=2.31

# By hash: what these two do ends up in the binary.
export PATH=$PWD/.venv/bin:$PATH
if ! command -v cargo-zigbuild >/dev/null; then
  [ -x .venv/bin/pip ] || { echo "build-deploy-server: run scripts/setup.sh test first" >&2; exit 69; }
  .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes \
    -r scripts/requirements-build.txt
fi

target=$machine-unknown-linux-gnu
RUSTFLAGS=$(scripts/release-flags.sh)
export RUSTFLAGS
cargo zigbuild --quiet --locked --release --package deploy-server --bin deploy-server \
  --target "$target.$glibc" >&2
binary=${CARGO_TARGET_DIR:-target}/$target/release/deploy-server
scripts/check-binary.sh host "$binary" >&2
# host/install.sh takes no binary that differs from it.
(cd "$(dirname "$binary")" && sha256sum deploy-server >deploy-server.sha256)
echo "$binary"
