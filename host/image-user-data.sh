#!/bin/bash
# Makes a machine image on the builder that host/bake-image.sh starts: Docker, the host's package,
# and nothing of any one machine. It ends by switching the builder off, only if all went well; what
# went wrong is on the builder's console.
#
# Placeholders: @PACKAGE_URL@, @PACKAGE_SHA256@, @APPLICATION_IMAGE@ (may be empty).
set -euo pipefail
exec > >(tee -a /var/log/ghosthands-image.log >/dev/console) 2>&1
trap 'echo "GHOSTHANDS IMAGE FAILED at line $LINENO"' ERR

export DEBIAN_FRONTEND=noninteractive
apt-get -q update
# docker.io is Ubuntu's; the helper pulls from ECR with the machine's role, and keeps no password.
apt-get -q install -y --no-install-recommends docker.io docker-compose-v2 iptables \
  ca-certificates curl amazon-ecr-credential-helper
curl --fail --silent --show-error --location --max-time 300 --output /tmp/host.deb '@PACKAGE_URL@'
echo '@PACKAGE_SHA256@  /tmp/host.deb' | sha256sum --check --strict
# The package starts nothing on this machine, which is in no fleet; the next boot does.
touch /run/ghosthands-image
apt-get -q install -y /tmp/host.deb
deploy-server --version
application='@APPLICATION_IMAGE@'
if [ -n "$application" ]; then
  mkdir -p /tmp/docker
  printf '{"credHelpers":{"%s":"ecr-login"}}' "${application%%/*}" >/tmp/docker/config.json
  DOCKER_CONFIG=/tmp/docker docker pull "$application"
fi

# What is this machine's own, and would be every machine's of the image.
systemctl stop amazon-ssm-agent snap.amazon-ssm-agent.amazon-ssm-agent 2>/dev/null || true
rm -rf /tmp/host.deb /tmp/docker /opt/ghosthands/.env /etc/default/ghosthands \
  /var/lib/ghosthands-deploy /var/lib/amazon/ssm \
  /var/snap/amazon-ssm-agent/current/var/lib/amazon/ssm \
  /root/.ssh /home/*/.ssh /root/.docker /etc/ssh/ssh_host_*
apt-get -q clean
cloud-init clean --logs
truncate -s 0 /etc/machine-id
rm -f /var/lib/dbus/machine-id
journalctl --rotate --vacuum-time=1s >/dev/null 2>&1 || true
echo 'GHOSTHANDS IMAGE READY'
sync
shutdown -h now
