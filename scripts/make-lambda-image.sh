#!/usr/bin/env bash
# Makes the image that `sam local` runs a function in, without any registry of images: a root file
# system of 13 MB with a C library older than Lambda's, and the runtime interface emulator that
# SAM's wheel ships. It is not Amazon's image: a function that runs here needs no more than this.
#
#   scripts/make-lambda-image.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# The name under which SAM looks for an image that has the emulator already, so that it builds none.
image=public.ecr.aws/lambda/provided:al2023-rapid-x86_64

# Debian 11's C library, 2.31. Lambda has 2.34: what starts here starts there. A newer one, such as
# this machine's, would hide a symbol that Lambda lacks.
libc=libc6_2.31-13+deb11u11_amd64.deb
libc_sha256=05f7264da867b37f4c5ce49266b558ea1e81e05a9464f623152fca70f3550282

cache=${FLEET_CACHE:-.fleet}/lambda-image
mkdir -p "$cache"

# The package comes from whatever Debian mirror this machine is set up with.
fetch_libc() {
  local mirror
  mirror=$(apt-get --print-uris download base-files 2>/dev/null | sed -n "s#^'\(.*\)/pool/.*#\1#p" | head -n 1)
  [ -n "$mirror" ] || return 1
  curl -fsS --retry 2 -o "$cache/$libc.part" "$mirror/pool/main/g/glibc/$libc" || return 1
  echo "$libc_sha256  $cache/$libc.part" | sha256sum --quiet --check || return 1
  mv "$cache/$libc.part" "$cache/$libc"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -e "$cache/$libc" ] || fetch_libc; then
  dpkg-deb -x "$cache/$libc" "$work/libc"
  libraries=$work/libc/lib/x86_64-linux-gnu
else
  echo "make-lambda-image: $libc is not to be had; using this machine's C library, which proves less" >&2
  libraries=/lib/x86_64-linux-gnu
fi

root=$work/root
mkdir -p "$root"/{lib/x86_64-linux-gnu,lib64,tmp,var/task,var/rapid,opt,etc/ssl/certs}
chmod 1777 "$root/tmp"
# The last two read /etc/hosts and ask the name server.
for library in ld-linux-x86-64.so.2 libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 \
  libutil.so.1 libresolv.so.2 libnss_files.so.2 libnss_dns.so.2; do
  cp -L "$libraries/$library" "$root/lib/x86_64-linux-gnu/"
done
ln -s /lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root/lib64/ld-linux-x86-64.so.2"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
install -m 755 .venv/lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64 "$root/var/rapid/aws-lambda-rie"

tar -C "$root" --owner=0 --group=0 -c . |
  docker import --change 'WORKDIR /var/task' --message 'hand-made root file system with the emulator' - "$image" >/dev/null
echo "$image"
