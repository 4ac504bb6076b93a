#!/usr/bin/env bash
# Adds the bill of materials and the checksums to a release's files, and writes notes.md: the
# version's section of the CHANGELOG.
#
#   release-notes.sh vVERSION FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

tag=${1:?vVERSION} folder=${2:?FOLDER}
version=$("$here/release-version.sh" "$tag")
python3 "$here/bill_of_materials.py" "$version" >"$folder/ghosthands-fleet-$version.cdx.json"
awk -v wanted="## [$version]" '
  index($0, wanted) == 1 { inside = 1; next }
  inside && /^## \[/ { exit }
  inside && /^\[[^]]*\]: / { exit }
  inside { print }
' CHANGELOG.md >notes.md
grep -q '[^[:space:]]' notes.md || { echo "release: the section [$version] is empty" >&2; exit 65; }
(cd "$folder" && rm -f SHA256SUMS && sha256sum -- * >../SHA256SUMS.new && mv ../SHA256SUMS.new SHA256SUMS)
