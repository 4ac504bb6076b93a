#!/usr/bin/env bash
# Measures what docs/BENCHMARKS.md reports and prints tables. Nothing else should run on the machine
# meanwhile.
#
#   scripts/bench.sh            everything
#   scripts/bench.sh function   the function: start, TLS hello, warm tick, memory, size
#   scripts/bench.sh enqueue    a job's way to SetDesiredCapacity, the ticks of 100 calls a second
#   scripts/bench.sh status     the status of 200 hosts and the page that shows them
#   scripts/bench.sh rollout    the time to a 202, ten hosts at canary, the calls of a poll
#   scripts/bench.sh sql        the snapshot statement beside pg-boss's own statistics query
#   scripts/bench.sh hosts      20 and 50 hosts of the fleet on this machine
#   scripts/bench.sh drain      simulated drains: ours beside the rules of others, and how fast an
#                               instance goes
#   scripts/bench.sh host       the host binary: swaps and ways back on a real Docker Engine (needs
#                               root), memory, size
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}

if [ "$what" != drain ]; then
  scripts/setup.sh test >&2
  export PATH="$PWD/.venv/bin:$PATH"
fi

case $what in function | status | sql | all)
  cargo build --quiet --release --locked -p autoscale -p fleet-status --bins --example bare
  cargo build --quiet --locked -p fleet-tests -p aws-double --bins
  ;;
esac
case $what in function | all)
  echo "## The function"
  target/debug/bench-function target/release/autoscale target/release/examples/bare
  ;;
esac
case $what in enqueue | all)
  echo "## A tick on enqueue"
  cargo build --quiet --locked -p autoscale -p fleet-status -p fleet-tests --bins
  target/debug/bench-enqueue
  ;;
esac
case $what in status | all)
  echo "## Fleet status"
  .venv/bin/python tests/python/page/measure.py
  ;;
esac
case $what in sql | all)
  echo "## The snapshot statement"
  target/debug/bench_sql
  ;;
esac
case $what in hosts | all)
  echo "## Hosts on one machine"
  cargo build --quiet --locked -p deploy-server
  cargo build --quiet --locked -p fleet-local --bins --example hosts
  for count in 20 50; do
    target/debug/examples/hosts "$count"
  done
  ;;
esac
case $what in drain | all)
  echo "## Drain, simulated"
  cargo run --quiet --locked -p fleet-core --example drain_compare -- 300
  ;;
esac
case $what in host | all)
  echo "## The host binary"
  deploy-server/bench/measure.py "$(scripts/build-deploy-server.sh)"
  ;;
esac
case $what in rollout | all)
  cargo build --quiet --locked -p deploy -p deploy-server -p fleet-local
  echo "## Rollouts"
  target/debug/bench-rollout
  ;;
esac
