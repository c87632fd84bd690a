# Every target does its own set-up. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast bench lab lab-pods lab-down lab-parts lint docs clean build envoy crd

# cargo-deny is built once into this folder, so that nothing outside the checkout changes.
TOOLS := .cache/tools
CARGO_DENY_VERSION := 0.20.2

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the programs and the example
	@echo "make: building the programs (a few minutes the first time)" >&2
	cargo build --workspace --bins

envoy: ## download the pinned Envoy into .cache
	@lab/envoy/install

demo: build envoy ## two trust zones on this machine, call by call; KEEP=1 leaves it running, SPIRE=1 takes SPIRE (built once, needs Go)
	@spire=$$([ "$(SPIRE)" != 1 ] || lab/spire/install) && KEEP=$(KEEP) COFIDE_SPIRE=$$spire demo/run

test: envoy lab-parts ## all tests, those with real Envoys, clusters, SPIRE, PostgreSQL and the demo included (some need root)
	@lab/network/install
	@lab/postgres/install
	@echo "make: building and running all tests (several minutes the first time)" >&2
	cargo build --workspace --bins
	cargo test --workspace
	demo/run
	COFIDE_SPIRE=$$(lab/spire/install) demo/run

# Documentation and the example, which starts its programs, are for the full run. Most tests wait more than they compute.
test-fast: ## the tests that need no Envoy, no PostgreSQL and no root
	RUST_TEST_THREADS=6 cargo test --workspace --exclude cofide-tests --exclude cofide-bench --exclude cofide-ping-pong --lib --bins --tests -- --skip postgres_server
	cargo test -p cofide-tests --test plane -- --skip postgres_server

bench: envoy lab-parts ## benchmarks beside CoreDNS, go-control-plane, SPIRE and Istio by hand (Go once, root; SHORT=1 to try out the last two)
	@lab/coredns/install >/dev/null
	@lab/go-control-plane/install >/dev/null
	@lab/network/install
	cargo bench -p cofide-bench --bench dns --bench xds
	COFIDE_BENCH_SHORT=$(SHORT) cargo bench -p cofide-bench --bench trust
	cargo build --release -p cofide-agent -p cofide-ping-pong --bins
	COFIDE_BENCH_SHORT=$(SHORT) cargo bench -p cofide-bench --bench kubernetes

# Namespaces of the network need root; the parts stay in the cache of who asks for them.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=HOME,PATH,XDG_CACHE_HOME,COFIDE_CACHE)

lab: build envoy lab-parts ## three Kubernetes clusters, two of them with Istio, left running; make lab-down ends them
	@lab/network/install
	cargo build -p cofide-testkit --example lab
	@$(SUDO) target/debug/examples/lab up

lab-pods: ## start the pods of what was installed in the clusters of make lab
	@$(SUDO) target/debug/examples/lab pods

lab-down: ## end what make lab has started
	cargo build -p cofide-testkit --example lab
	@$(SUDO) target/debug/examples/lab down

lab-parts: ## build etcd, Kubernetes, Istio, Helm and SPIRE (less than half an hour, once for all checkouts)
	@for part in etcd kubernetes istio helm spire go-spiffe spire-controller-manager; do lab/$$part/install > /dev/null || exit; done

lint: $(TOOLS)/bin/cargo-deny ## formatting, clippy, dependency rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo fetch --locked --quiet
	$(TOOLS)/bin/cargo-deny --offline check bans licenses sources

$(TOOLS)/bin/cargo-deny:
	@echo "make: building cargo-deny (once, a few minutes)" >&2
	cargo install --locked --root $(TOOLS) --version $(CARGO_DENY_VERSION) cargo-deny

crd: ## the CustomResourceDefinition in the chart and its reference, from the Rust types
	cargo run --quiet -p xtask -- crd

docs: ## the API documentation of all crates, into target/doc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

clean: ## remove what was built and downloaded
	rm -rf target .cache
