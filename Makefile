# `make help` lists the targets. Rust (rustup) and Go must be installed; the scripts install the rest when they need it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build docs crds image chart monitoring monitoring-e2e e2e-gitops e2e-kinds reproducible lint deny test break test-unit bench bench-hold bench-schedule cluster-test demo demo-maintenance clean

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Builds the torpor command (cargo run -- ARGUMENTS runs it)
	cargo build --locked

crds: ## Writes crds/, and the copies of them and of the presets in the chart, anew from src/
	cargo run --locked --quiet -- crd hibernations > crds/hibernations.yaml
	cargo run --locked --quiet -- crd maintenancewindows > crds/maintenancewindows.yaml
	cp crds/*.yaml charts/torpor/files/crds/
	cp src/hold/kinds/presets.yaml charts/torpor/files/kinds.yaml

docs: ## Writes docs/{metrics,conditions,truncate-cases,bad-input,rbac}.md and the chart's README.md anew from the code and the answers that the tests get
	hack/chart docs
	hack/packages postgresql-15 pgbouncer openssl
	TORPOR_WRITE_DOCS=1 cargo test --locked --lib metrics::
	TORPOR_WRITE_DOCS=1 cargo test --locked --test local -- conditions:: truncate::
	TORPOR_WRITE_DOCS=1 hack/test --test cluster -- what_cannot_be_is_refused each_right_that_the_chart_grants

image: ## Builds the image localhost/torpor:dev into torpor.tar
	hack/image localhost/torpor:dev torpor.tar

chart: ## Tests the Helm chart, as far as that needs no cluster
	hack/chart lint
	hack/chart test

monitoring: ## Tests the alerts of the chart and the queries of its dashboard, with promtool (builds that once, 7 minutes)
	hack/monitoring

monitoring-e2e: ## Runs alerts and queries in a real Prometheus that scrapes an operator on a cluster
	hack/monitoring-e2e

e2e-gitops: ## Runs the real Flux and Argo CD controllers against hibernated projects (builds them once, 25 minutes; WRITE_DOCS=1 writes docs/gitops.md)
	hack/gitops-e2e

e2e-kinds: ## Runs the real KEDA, Argo Rollouts, Flux and CloudNativePG beside held objects of theirs (builds them once, 35 minutes; WRITE_DOCS=1 writes docs/kinds.md)
	hack/kinds-e2e

reproducible: ## Builds the image twice, in two folders, and compares the two
	hack/reproducible

lint: ## Checks format, lints, shell scripts, the chart, licences and sources of dependencies
	cargo fmt --all --check
	hack/cargo lint "Lints (4 minutes on two cores, 1 if dependencies are kept)" clippy --locked --workspace --all-targets -- --deny warnings
	hack/lint-shell
	hack/chart lint
	hack/deny

test: ## Builds everything, sets up a cluster, and runs all tests
	hack/test

break: ## Runs in full the tests of which `make test` runs samples: kills at every write, ... (BREAK="sweep ..." only these)
	hack/break $(BREAK)

test-unit: ## Runs only the tests that need no cluster (some start a PostgreSQL of their own)
	hack/test-unit

bench: ## Times torpor truncate beside psql's TRUNCATE (TORPOR_ROUNDS=N), in a PostgreSQL of its own
	hack/packages postgresql-15
	cargo bench --locked --bench truncate

bench-hold: ## Measures on a real API server the cost of holding 1,000 Deployments, and the operator's memory
	hack/bench-hold

bench-schedule: ## Measures what the worst schedules that admission lets in cost a reconcile; fails above 10 ms
	cargo bench --locked --bench schedule

cluster-test: ## Tests hack/cluster itself
	hack/cluster/test

demo: ## Puts a project to sleep and wakes it, on a real cluster (KEEP=1 leaves it up; CLUSTER=external IMAGE=... uses yours)
	hack/demo

demo-maintenance: ## Stops a worker that sells compute without breaking a deal, and starts it again (KEEP, CLUSTER, IMAGE as above)
	hack/demo-maintenance

clean: ## Removes all builds from this folder (the caches in ~/.cache/torpor stay)
	cargo clean
	rm -f torpor.tar
