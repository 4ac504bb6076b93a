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
mkdir -p "$work"/{parts,state/lists/partial,cache/archives/partial} target/tools
# The machine's own mirrors, asked for the newer release.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
  [ -f "$list" ] && sed -E 's/\b(bookworm|bullseye)((-updates|-security|-backports)?)\b/trixie\2/g' "$list" >"$work/parts/$(basename "$list")"
done
[ ! -f "$work/parts/sources.list" ] || mv "$work/parts/sources.list" "$work/parts/main.list"
cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/parts";
Dir::State "$work/state";
Dir::State::status "/dev/null";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
CONF
export APT_CONFIG=$work/apt.conf
apt-get -qq update
(cd "$work" && apt-get -qq download docker-compose)
dpkg-deb -x "$work"/docker-compose_*.deb "$work/unpacked"
install -m 755 "$work/unpacked/usr/libexec/docker/cli-plugins/docker-compose" "$tool"
"$tool" version
