# `make help` lists the targets. Rust (rustup) and Go have to be there; everything else is set up as it is needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build crds image lint deny test break bench-hold test-unit cluster-test demo clean

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Builds the torpor command (target/debug/torpor)
	cargo build --locked

crds: build ## Writes crds/ anew from src/api/
	target/debug/torpor crd > crds/hibernations.yaml

image: ## Builds the image localhost/torpor:dev into torpor.tar
	hack/image localhost/torpor:dev torpor.tar

lint: ## Checks format, lints, shell scripts, licences and sources of dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	hack/lint-shell
	hack/deny

test: ## Sets up a cluster, builds what is tested, and runs all tests
	hack/test

break: ## Runs what `make test` takes samples of as a whole: kills at every write, ... (BREAK="sweep ..." only these)
	hack/break $(BREAK)

test-unit: ## Runs only the tests that need no cluster
	cargo test --locked --lib --test schedule --test crds

cluster-test: ## Tests hack/cluster itself
	hack/cluster/test

bench-hold: ## Measures on a real API server what holding 1,000 Deployments costs, and the operator's memory
	hack/bench-hold

demo: ## Puts a project to sleep and wakes it, on a real cluster (KEEP=1 leaves it up; CLUSTER=external IMAGE=... uses yours)
	hack/demo

clean: ## Removes what was built here (the caches outside stay)
	cargo clean
	rm -f torpor.tar
