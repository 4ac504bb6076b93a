#!/usr/bin/env bash
# Deploys what scripts/build-functions.sh left in .aws-sam/build as the control plane of one
# environment, by samconfig.toml. Nobody is asked: the environment's reviewers were.
#
#   deploy-stack.sh staging|production
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=${1:-}
case $environment in
  staging | production) ;;
  *)
    echo "usage: deploy-stack.sh staging|production" >&2
    exit 64
    ;;
esac
[ -e .aws-sam/build/template.yaml ] || { echo "deploy-stack: there is no build: run scripts/build-functions.sh" >&2; exit 66; }
if ! command -v sam >/dev/null; then
  python3 -m venv .venv
  .venv/bin/pip install -q "$(grep '^aws-sam-cli==' scripts/requirements-test.txt)" -c scripts/constraints.txt
  PATH=$PWD/.venv/bin:$PATH
fi
# An artifact of a workflow keeps no permission to execute.
chmod 755 .aws-sam/build/*/bootstrap
exec sam deploy --config-env "$environment" --no-confirm-changeset --no-fail-on-empty-changeset
