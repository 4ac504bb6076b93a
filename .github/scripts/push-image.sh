#!/usr/bin/env bash
# Builds the image of the folder CONTEXT and pushes it, tagged by the commit, to the repository
# REPOSITORY of this account's registry, or of REGISTRY where that is set. A tag that is there
# already is not built again: a tag means one image for ever. Writes `tag` and `digest` to
# GITHUB_OUTPUT.
set -euo pipefail

context=${CONTEXT:?the folder of the Dockerfile}
repository=${REPOSITORY:?the name of the repository}
tag=${GITHUB_SHA:?the commit}
region=${AWS_REGION:?the region of the registry}

if [ -z "${REGISTRY:-}" ]; then
  account=$(aws sts get-caller-identity --query Account --output text)
  case $region in
    cn-*) suffix=amazonaws.com.cn ;;
    *) suffix=amazonaws.com ;;
  esac
  REGISTRY=$account.dkr.ecr.$region.$suffix
  aws ecr get-login-password --region "$region" |
    docker login --username AWS --password-stdin "$REGISTRY" >/dev/null
fi
image=$REGISTRY/$repository:$tag

if docker manifest inspect ${INSECURE:+--insecure} "$image" >/dev/null 2>&1; then
  echo "$image is there already"
  docker pull --quiet "$image" >/dev/null
else
  docker build --tag "$image" --label "org.opencontainers.image.revision=$tag" "$context"
  docker push --quiet "$image" >/dev/null
fi
digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$image")
digest=${digest##*@}
[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "push-image: no digest of $image" >&2; exit 70; }
echo "$image is $digest"
printf 'tag=%s\ndigest=%s\n' "$tag" "$digest" >>"${GITHUB_OUTPUT:?where the outputs go}"
