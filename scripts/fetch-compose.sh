#!/usr/bin/env bash
# Puts Debian's docker compose (version 2) at target/tools/docker-compose, for the test that it
# reads our environment file as we mean it. Debian 12 has version 1 only, so the package of Debian
# 13 is unpacked, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$PWD/target/tools/docker-compose
[ ! -x "$tool" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/fetch-debian.sh trixie "$work" docker-compose
mkdir -p target/tools
install -m 755 "$work/usr/libexec/docker/cli-plugins/docker-compose" "$tool"
"$tool" version
