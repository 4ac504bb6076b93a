#!/usr/bin/env bash
# Builds what a release holds for one processor.
#
#   release-files.sh vVERSION x86_64|aarch64 FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

tag=${1:?vVERSION} machine=${2:?x86_64 or aarch64} folder=${3:?FOLDER}
version=$("$here/release-version.sh" "$tag")
case $machine in
  x86_64) debian=amd64 lambda=x86-64 ;;
  aarch64) debian=arm64 lambda=arm64 ;;
  *)
    echo "release-files: $machine is neither x86_64 nor aarch64" >&2
    exit 64
    ;;
esac
scripts/setup.sh up
[ "$(uname -m)" = "$machine" ] || { echo "release-files: build on a machine of $machine" >&2; exit 69; }
mkdir -p "$folder"

binary=$(scripts/build-deploy-server.sh "$machine")
install -m 755 "$binary" "$folder/deploy-server-$version-linux-$machine"
scripts/package-deb.sh "$binary" "$version" "$debian" "$folder"

export PATH=$PWD/.venv/bin:$PATH
RUSTFLAGS=$(scripts/release-flags.sh)
export RUSTFLAGS
# It runs where the host binary runs.
target=$machine-unknown-linux-gnu
cargo zigbuild --quiet --locked --release --package ghfleet --bin ghfleet --target "$target.2.31"
ghfleet=${CARGO_TARGET_DIR:-target}/$target/release/ghfleet
scripts/check-binary.sh host "$ghfleet"
install -m 755 "$ghfleet" "$folder/ghfleet-$version-linux-$machine"

for function in autoscale deploy drain fleet-status; do
  cargo lambda build --locked --release --package "$function" "--$lambda" \
    --output-format zip --lambda-dir "target/release-lambda"
  install -m 644 "target/release-lambda/$function/bootstrap.zip" \
    "$folder/$function-$version-linux-$machine.zip"
done
