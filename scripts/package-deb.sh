#!/usr/bin/env bash
# Makes the Debian package of the host: the same files in the same places as host/install.sh, which
# lays them out here.
#
#   scripts/package-deb.sh BINARY VERSION amd64|arm64 FOLDER      prints where the package is
#
# The binary has to run on this machine: one that does not is not packaged.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  echo "usage: scripts/package-deb.sh BINARY VERSION amd64|arm64 FOLDER" >&2
  exit 64
}
[ $# -eq 4 ] || usage
binary=$(realpath "$1") version=$2 architecture=$3 folder=$4
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || usage
case $architecture in
  amd64 | arm64) ;;
  *) usage ;;
esac
# install.sh gives its files to root; a namespace is enough for that.
if [ "$(id -u)" -ne 0 ]; then
  exec unshare --user --map-root-user "$0" "$@"
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
host/install.sh "$binary" --root "$stage" >&2
mkdir -p "$stage/DEBIAN" "$folder"
cat >"$stage/DEBIAN/control" <<CONTROL
Package: ghosthands-host
Version: $version
Architecture: $architecture
Maintainer: GhostHands Fleet
Section: admin
Priority: optional
Depends: libc6 (>= 2.31), systemd, iptables
Recommends: docker.io | docker-ce
Description: What a host of a GhostHands fleet holds beside Docker
 deploy-server, its systemd units, timer and log rotation, and the firewall in front of the
 instance metadata.
CONTROL
printf '/etc/logrotate.d/gh-disk-cleanup\n' >"$stage/DEBIAN/conffiles"
# Nothing is started where an image is being made: its next boot starts what is enabled.
cat >"$stage/DEBIAN/postinst" <<'POSTINST'
#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ] && [ ! -e /run/ghosthands-image ]; then
  /usr/local/lib/ghosthands/take-over units
fi
POSTINST
cat >"$stage/DEBIAN/prerm" <<'PRERM'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl disable --now ghosthands-cleanup.timer deploy-server.socket deploy-server.service \
    ghosthands-files.socket ghosthands-secrets.service ghosthands-metadata-firewall.service \
    ghosthands-boot-check.service
fi
PRERM
chmod 755 "$stage/DEBIAN/postinst" "$stage/DEBIAN/prerm"
# The same input makes the same package.
find "$stage" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
package=$folder/ghosthands-host_${version}_$architecture.deb
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} dpkg-deb --root-owner-group -Zgzip --build "$stage" "$package" >&2
echo "$package"
