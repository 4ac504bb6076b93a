#!/usr/bin/env bash
# Makes a machine image of the fleet on a builder of its own, so that no host is touched and nothing
# of a running host is in the image; puts it into service; and removes the images before the last
# three. Needs the AWS CLI and the rights of docs/policies/deployer-workers.json.
#
#   host/bake-image.sh bake VERSION PACKAGE_URL PACKAGE_SHA256    prints the image's id
#   host/bake-image.sh refresh GROUP                              replaces older instances
#   host/bake-image.sh retire                                     keeps the last three images
#
# bake reads SUBNET (has a way to the internet), and may read BASE_IMAGE, APPLICATION_IMAGE with
# INSTANCE_PROFILE (an image of ECR to put onto the disk), INSTANCE_TYPE and BAKE_SECONDS.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  sed -n '6,8s/^# *//p' "$0" >&2
  exit 64
}
fail() {
  echo "bake-image: $1" >&2
  exit "${2:-1}"
}

bake() {
  local version=$1 url=$2 sum=$3 base name image snapshots state waited=0
  [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "$version is no MAJOR.MINOR.PATCH" 64
  [[ $url =~ ^https://[^[:space:]\']+$ ]] || fail "the package's address has to begin with https://" 64
  [[ $sum =~ ^[0-9a-f]{64}$ ]] || fail "$sum is no SHA-256" 64
  [[ ${APPLICATION_IMAGE:-} =~ ^[A-Za-z0-9./:@_-]*$ ]] || fail "APPLICATION_IMAGE is no image" 64
  local subnet=${SUBNET:?set SUBNET to a subnet with a way to the internet}
  base=${BASE_IMAGE:-resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id}
  # Not local: they are of this shell's end, whatever ends it. No builder stays.
  data=$(mktemp)
  builder=
  trap 'rm -f "$data"; [ -z "$builder" ] || aws ec2 terminate-instances --instance-ids "$builder" >/dev/null' EXIT
  # The signature of an address may hold every character of a replacement.
  python3 - "$here/image-user-data.sh" "$url" "$sum" "${APPLICATION_IMAGE:-}" >"$data" <<'PYTHON'
import sys
text = open(sys.argv[1]).read().split("set -euo pipefail", 1)
for name, value in zip(("@PACKAGE_URL@", "@PACKAGE_SHA256@", "@APPLICATION_IMAGE@"), sys.argv[2:]):
    text[1] = text[1].replace(name, value)
print("#!/bin/bash\nset -euo pipefail" + text[1], end="")
PYTHON
  name=ghosthands-worker-golden-$version-$(date -u +%Y%m%d-%H%M%S)
  builder=$(aws ec2 run-instances --image-id "$base" --instance-type "${INSTANCE_TYPE:-t3.large}" \
    --subnet-id "$subnet" --count 1 --user-data "file://$data" \
    ${INSTANCE_PROFILE:+--iam-instance-profile "Name=$INSTANCE_PROFILE"} \
    --instance-initiated-shutdown-behavior stop \
    --metadata-options HttpTokens=required,HttpPutResponseHopLimit=1 \
    --block-device-mappings 'DeviceName=/dev/sda1,Ebs={VolumeSize=40,VolumeType=gp3,Encrypted=true,DeleteOnTermination=true}' \
    --tag-specifications "ResourceType=instance,Tags=[{Key=Name,Value=$name},{Key=ghosthands:builder,Value=true}]" \
    --query 'Instances[0].InstanceId' --output text)
  echo "builder $builder" >&2
  while :; do
    state=$(aws ec2 describe-instances --instance-ids "$builder" \
      --query 'Reservations[0].Instances[0].State.Name' --output text)
    case $state in
      stopped) break ;;
      pending | running | stopping) ;;
      *) fail "the builder is $state" ;;
    esac
    if [ "$waited" -ge "${BAKE_SECONDS:-1200}" ]; then
      aws ec2 get-console-output --instance-id "$builder" --latest --query Output --output text >&2 || true
      fail "the builder did not end within ${BAKE_SECONDS:-1200} s: its console is above"
    fi
    sleep "${POLL_SECONDS:-10}"
    waited=$((waited + ${POLL_SECONDS:-10}))
  done
  # Switched off, so the snapshot is of a whole file system.
  image=$(aws ec2 create-image --instance-id "$builder" --name "$name" \
    --description "GhostHands worker $version" \
    --tag-specifications "ResourceType=image,Tags=[{Key=ghosthands:image,Value=$version}]" \
    --query ImageId --output text)
  aws ec2 wait image-available --image-ids "$image"
  snapshots=$(snapshots_of "$image")
  # shellcheck disable=SC2086  # one word each
  aws ec2 create-tags --resources $snapshots --tags "Key=ghosthands:image,Value=$version"
  echo "$image"
}

snapshots_of() {
  aws ec2 describe-images --image-ids "$1" \
    --query 'Images[0].BlockDeviceMappings[].Ebs.SnapshotId' --output text
}

# Replaces what runs an older launch template version, through the drain hook: a job is waited for.
# What was put into Standby or protected is left, and a failed refresh goes back by itself.
refresh() {
  aws autoscaling start-instance-refresh --auto-scaling-group-name "$1" --strategy Rolling \
    --preferences '{"MinHealthyPercentage":100,"MaxHealthyPercentage":110,"SkipMatching":true,"AutoRollback":true,"StandbyInstances":"Ignore","ScaleInProtectedInstances":"Ignore"}' \
    --query InstanceRefreshId --output text
}

# Newest first; one that a launch template or a machine uses stays, however old.
retire() {
  local images image snapshots snapshot used
  images=$(aws ec2 describe-images --owners self --filters Name=tag-key,Values=ghosthands:image \
    --query 'reverse(sort_by(Images,&CreationDate))[3:].ImageId' --output text)
  for image in $images; do
    [ "$image" != None ] || continue
    used=$(aws ec2 describe-instances \
      --filters "Name=image-id,Values=$image" 'Name=instance-state-name,Values=pending,running,stopping,stopped' \
      --query 'length(Reservations[])' --output text)
    if [ "$used" != 0 ] || in_a_template "$image"; then
      echo "kept $image: it is in use"
      continue
    fi
    snapshots=$(snapshots_of "$image")
    aws ec2 deregister-image --image-id "$image" >/dev/null
    for snapshot in $snapshots; do
      [ "$snapshot" = None ] || aws ec2 delete-snapshot --snapshot-id "$snapshot" >/dev/null
    done
    echo "removed $image"
  done
}

in_a_template() {
  local template
  for template in $(aws ec2 describe-launch-templates \
    --query 'LaunchTemplates[?starts_with(LaunchTemplateName,`ghosthands-worker-lt`)].LaunchTemplateId' --output text); do
    aws ec2 describe-launch-template-versions --launch-template-id "$template" \
      --versions '$Latest' '$Default' \
      --query 'LaunchTemplateVersions[].LaunchTemplateData.ImageId' --output text | grep -qw "$1" && return 0
  done
  return 1
}

case ${1:-} in
  bake) [ $# -eq 4 ] || usage; bake "$2" "$3" "$4" ;;
  refresh) [ $# -eq 2 ] || usage; refresh "$2" ;;
  retire) [ $# -eq 1 ] || usage; retire ;;
  *) usage ;;
esac
