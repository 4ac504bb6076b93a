#!/usr/bin/env bash
# Runs a command with a Docker engine: the one that answers already, else a private one that ends
# with the command and leaves nothing behind.
#
#   scripts/with-docker.sh COMMAND [ARGUMENT ...]
set -euo pipefail

if docker info >/dev/null 2>&1; then
  exec "$@"
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "with-docker: no Docker engine answers, and starting one needs root" >&2
  exit 69
fi
export PATH="$PATH:/usr/sbin:/sbin"
if ! command -v dockerd >/dev/null; then
  echo "with-docker: dockerd is missing: apt-get install docker.io iproute2" >&2
  exit 69
fi

home=$(mktemp -d /tmp/fleet-docker.XXXXXX)
bridge=fleet$$
daemon=
stop() {
  if [ -n "$daemon" ] && kill "$daemon" 2>/dev/null; then
    wait "$daemon" 2>/dev/null || true
  fi
  ip link delete "$bridge" 2>/dev/null || true
  # A container's file system may stay mounted for a moment after its daemon.
  for _ in 1 2 3 4 5; do
    awk -v home="$home/" 'index($2, home) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l 2>/dev/null || true
    rm -rf "$home" 2>/dev/null && return
    sleep 0.2
  done
  echo "with-docker: $home could not be removed" >&2
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A bridge of its own: another engine on this machine owns docker0 and its addresses.
for third in $(seq 0 255); do
  subnet=10.213.$third
  [ -n "$(ip -4 route show "$subnet.0/24")" ] || break
done
ip link add "$bridge" type bridge
ip address add "$subnet.1/24" dev "$bridge"
ip link set "$bridge" up

# Containers reach this machine and nothing beyond it, so no packet filter is touched.
dockerd --host "unix://$home/docker.sock" --data-root "$home/data" --exec-root "$home/exec" --pidfile "$home/pid" \
  --bridge "$bridge" --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false >"$home/log" 2>&1 &
daemon=$!
export DOCKER_HOST="unix://$home/docker.sock"
for _ in $(seq 600); do
  if docker info >/dev/null 2>&1; then
    result=0
    "$@" || result=$?
    exit "$result"
  fi
  kill -0 "$daemon" 2>/dev/null || break
  sleep 0.2
done
echo "with-docker: dockerd does not start; its last lines:" >&2
tail -n 20 "$home/log" >&2
exit 69
