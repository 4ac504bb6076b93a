#!/usr/bin/env bash
# Prints the version that a tag vVERSION names, if it is the one that Cargo.toml and CHANGELOG.md
# have too.
#
#   release-version.sh vVERSION
set -euo pipefail
cd "$(dirname "$0")/../.."

tag=${1:?vVERSION}
version=${tag#v}
if ! [[ $tag =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
  echo "release: $tag is no vMAJOR.MINOR.PATCH" >&2
  exit 64
fi
ours=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
if [ "$ours" != "$version" ]; then
  echo "release: the tag says $version, and Cargo.toml says $ours: change one of them" >&2
  exit 65
fi
if ! grep -q "^## \[$version\]" CHANGELOG.md; then
  echo "release: CHANGELOG.md has no section [$version]: rename Unreleased" >&2
  exit 65
fi
echo "$version"
