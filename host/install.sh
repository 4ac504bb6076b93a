#!/usr/bin/env bash
# Puts deploy-server on this host: the binary, its units, sockets and timer, log rotation. Running
# it again updates what changed and restarts the server only then. Needs root.
#
#   host/install.sh BINARY            on this host
#   host/install.sh BINARY --root DIR into a folder (a machine image, a test): nothing is started
set -euo pipefail

usage() {
  echo "usage: install.sh BINARY [--root DIR]" >&2
  exit 64
}
binary=${1:-}
root=
case $# in
  1) ;;
  3) [ "$2" = --root ] && [ -n "$3" ] || usage; root=${3%/} ;;
  *) usage ;;
esac
[ -x "$binary" ] || { echo "install: $binary is not a program" >&2; exit 66; }
[ "$(id -u)" -eq 0 ] || { echo "install: run as root" >&2; exit 77; }
# The build leaves BINARY.sha256 beside the binary; both come over the network.
if [ -e "$binary.sha256" ]; then
  wanted=$(cut -d' ' -f1 "$binary.sha256")
  found=$(sha256sum "$binary" | cut -d' ' -f1)
  if [ "$wanted" != "$found" ]; then
    echo "install: the SHA-256 of $binary is $found, and $binary.sha256 says $wanted: not installed" >&2
    exit 65
  fi
else
  echo "install: there is no $binary.sha256, so $binary is not verified" >&2
fi
here=$(cd "$(dirname "$0")" && pwd)

changed=false
# put <mode> <from> <to>: in one step, and only if it differs; a running program keeps its own copy.
put() {
  local mode=$1 from=$2 to=$root$3
  if cmp -s "$from" "$to" && [ "$(stat -c %a "$to")" = "$mode" ]; then return; fi
  mkdir -p "$(dirname "$to")"
  install -m "$mode" -o root -g root "$from" "$to.new"
  mv -f "$to.new" "$to"
  echo "installed $3"
  changed=true
}

# A binary that does not run here must not replace one that does.
"$binary" --version >/dev/null || { echo "install: $binary does not run on this host" >&2; exit 70; }

for unit in deploy-server.socket deploy-server.service ghosthands-secrets.service \
  ghosthands-cleanup.service ghosthands-cleanup.timer ghosthands-files.socket \
  ghosthands-files@.service ghosthands-metadata-firewall.service ghosthands-boot-check.service; do
  put 644 "$here/$unit" "/etc/systemd/system/$unit"
done
put 755 "$here/metadata-firewall" /usr/local/lib/ghosthands/metadata-firewall
put 755 "$here/take-over" /usr/local/lib/ghosthands/take-over
units_changed=$changed
put 755 "$binary" /usr/local/bin/deploy-server
put 644 "$here/gh-disk-cleanup.logrotate" /etc/logrotate.d/gh-disk-cleanup
if [ -e "$here/../docs/HOST.md" ]; then put 644 "$here/../docs/HOST.md" /usr/local/share/doc/ghosthands/HOST.md; fi
mkdir -p "$root/opt/ghosthands/logs"

if [ -n "$root" ]; then
  wanted=$root/etc/systemd/system
  mkdir -p "$wanted/multi-user.target.wants" "$wanted/sockets.target.wants" "$wanted/timers.target.wants" "$wanted/sysinit.target.wants"
  ln -sfn ../deploy-server.service "$wanted/multi-user.target.wants/deploy-server.service"
  ln -sfn ../ghosthands-secrets.service "$wanted/multi-user.target.wants/ghosthands-secrets.service"
  ln -sfn ../deploy-server.socket "$wanted/sockets.target.wants/deploy-server.socket"
  ln -sfn ../ghosthands-files.socket "$wanted/sockets.target.wants/ghosthands-files.socket"
  ln -sfn ../ghosthands-cleanup.timer "$wanted/timers.target.wants/ghosthands-cleanup.timer"
  mkdir -p "$wanted/docker.service.wants"
  ln -sfn ../ghosthands-boot-check.service "$wanted/docker.service.wants/ghosthands-boot-check.service"
  ln -sfn ../ghosthands-metadata-firewall.service "$wanted/sysinit.target.wants/ghosthands-metadata-firewall.service"
  exit 0
fi

if $units_changed; then
  what=units
elif $changed; then
  what=binary
else
  what=nothing
fi
exec "$here/take-over" "$what"
