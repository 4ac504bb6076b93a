#!/usr/bin/env bash
# Puts deploy-server on this host: the binary, its units, socket and timer, log rotation. Running it
# again updates what changed and restarts the server only then. Needs root.
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
  ghosthands-cleanup.service ghosthands-cleanup.timer ghosthands-metadata-firewall.service; do
  put 644 "$here/$unit" "/etc/systemd/system/$unit"
done
put 755 "$here/metadata-firewall" /usr/local/lib/ghosthands/metadata-firewall
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
  ln -sfn ../ghosthands-cleanup.timer "$wanted/timers.target.wants/ghosthands-cleanup.timer"
  ln -sfn ../ghosthands-metadata-firewall.service "$wanted/sysinit.target.wants/ghosthands-metadata-firewall.service"
  exit 0
fi

# What this replaces: the cron entry of the old cleanup script, and the server that ran in a
# container on the same port. The container is stopped and kept, so that the old way can be gone
# back to.
if crontab -l 2>/dev/null | grep -q gh-disk-cleanup; then
  # Not grep, which calls it a failure when nothing else is left.
  crontab -l | sed '/gh-disk-cleanup/d' | crontab -
  echo "removed the old cron entry"
fi
if command -v docker >/dev/null; then
  for name in ghosthands-deploy-server ghosthands-deploy-server-1; do
    if [ "$(docker container inspect --format '{{.State.Running}}' "$name" 2>/dev/null)" = true ]; then
      docker update --restart=no "$name" >/dev/null
      docker stop "$name" >/dev/null
      echo "stopped the container $name"
    fi
  done
fi

# Compose before 2.20 reads nothing of an environment file in which a value ends in a backslash.
if compose=$(docker compose version --short 2>/dev/null); then
  lowest=$(printf '%s\n' 2.20.0 "${compose#v}" | sort -V | head -n 1)
  if [ "$lowest" != 2.20.0 ]; then
    echo "install: docker compose $compose is older than 2.20 and may not read .env" >&2
  fi
fi

systemctl daemon-reload
systemctl enable --quiet ghosthands-metadata-firewall.service ghosthands-secrets.service \
  deploy-server.socket deploy-server.service ghosthands-cleanup.timer
# First: from here on the containers cannot take the instance role's credentials. It needs iptables,
# as Docker does.
if $units_changed || ! systemctl is-active --quiet ghosthands-metadata-firewall.service; then
  systemctl restart ghosthands-metadata-firewall.service
fi
if $units_changed || ! systemctl is-active --quiet deploy-server.socket; then
  # systemd opens no socket for a server that runs already. While only the binary changes, the
  # socket stays open.
  systemctl stop deploy-server.socket deploy-server.service
  systemctl start deploy-server.socket
fi
if $changed || ! systemctl is-active --quiet deploy-server.service; then
  systemctl restart deploy-server.service
fi
# Last: a cleanup that was missed starts at once.
systemctl start ghosthands-cleanup.timer
deploy-server status || echo "install: the server runs; see its status above"
