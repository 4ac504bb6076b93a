# GhostHands Fleet: what a developer runs. CI runs the same (.ci/run).
.DEFAULT_GOAL := help
.PHONY: help up test check bench mutants reproducible soak setup

# Options of the fleet on one machine, such as ARGS="--jobs 20 --boot-seconds 5 --once".
ARGS =
# A pattern of test suites, such as ONLY="python-*".
ONLY = *

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Run the whole fleet on this machine; ARGS="--help" lists the options
	@scripts/setup.sh up
	@cargo build --locked -p autoscale -p drain -p fleet-status -p deploy -p deploy-server -p fleet-local
	@exec target/debug/fleet-local up $(ARGS)

test: ## Run every test, or ONLY="python-*"; the last line is the sum
	@scripts/test.sh '$(ONLY)'

check: ## Only what needs no program of ours to run: formatting, lints, documentation, dependencies
	@scripts/test.sh check

bench: ## Measure what docs/BENCHMARKS.md reports
	@scripts/bench.sh $(ARGS)

mutants: ## Which changes of shared/core no test would notice; ARGS="scaling" is one part of it
	@scripts/mutants.sh $(ARGS)

reproducible: ## Build the host binary and a function in two folders, and compare the bytes
	@scripts/reproducible.sh

soak: ## Normal work beside faults, floods and hostile rows, for SOAK_MINUTES (15)
	@scripts/setup.sh up
	@cargo build --locked --workspace --bins
	@scripts/soak.py

setup: ## Install what the tests and `make up` need and this machine lacks
	@scripts/setup.sh test
