#!/usr/bin/env bash
# Unpacks packages of another Debian release into a folder; nothing is installed.
#
#   scripts/fetch-debian.sh RELEASE FOLDER PACKAGE [PACKAGE ...]
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: fetch-debian.sh RELEASE FOLDER PACKAGE..." >&2; exit 64; }
release=$1 folder=$2
shift 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,debs} "$folder"
# The machine's own mirror, asked for the other release.
lists=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
mirror=$(sed -nE 's|^[^#]*(https?://[^ ]+/debian)/?( .*)?$|\1|p' <<<"$lists" | sort -u | sed -n 1p)
key=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$key] ${mirror:?no Debian mirror is configured} $release main" >"$work/sources.list"
cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$work/state";
Dir::State::status "/dev/null";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
CONF
export APT_CONFIG=$work/apt.conf
apt-get -qq update
(cd "$work/debs" && apt-get -qq download "$@")
for package in "$work"/debs/*.deb; do
  dpkg-deb -x "$package" "$folder"
done
