#!/usr/bin/env bash
# Unpacks the Docker Engine of another Debian release, with the containerd that goes with it, and
# prints a folder to put first in PATH: whatever starts `dockerd` then starts that one. runc is the
# machine's own, because a newer one needs a newer C library.
#
#   PATH=$(scripts/fetch-engine.sh RELEASE [containerd]):$PATH COMMAND
#
# `containerd`: with Docker's containerd image store. RELEASE: trixie (26.1), sid (28.5).
set -euo pipefail
cd "$(dirname "$0")/.."
release=${1:?usage: fetch-engine.sh RELEASE [containerd]}
store=${2:-}
engine=$PWD/target/tools/engine-$release

if [ ! -x "$engine/dockerd" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  scripts/fetch-debian.sh "$release" "$work" docker.io containerd >&2
  mkdir -p "$engine"
  install -m 755 "$work"/usr/bin/containerd "$work"/usr/bin/containerd-shim-runc-v2 \
    "$work/usr/sbin/docker-proxy" "$engine"
  install -m 755 "$work/usr/sbin/dockerd" "$engine"
fi
[ "$store" = containerd ] || { echo "$engine"; exit 0; }

with_store=$engine-containerd
mkdir -p "$with_store"
for program in containerd containerd-shim-runc-v2 docker-proxy; do
  ln -sfn "$engine/$program" "$with_store/$program"
done
echo '{"features": {"containerd-snapshotter": true}}' >"$with_store/daemon.json"
cat >"$with_store/dockerd" <<WRAPPER
#!/bin/sh
exec $engine/dockerd --config-file $with_store/daemon.json "\$@"
WRAPPER
chmod 755 "$with_store/dockerd"
echo "$with_store"
