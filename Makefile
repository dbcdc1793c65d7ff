# What a person (and the continuous integration) types. `make help` lists it.
# Runs as root or as an ordinary user with sudo; asks apt only for what is missing.

SHELL := /bin/bash
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
PRODUCTS := -p mod_wsgid -p wsgid -p wsgid-worker

# For `make serve`.
APP ?=
HOST ?= localhost
PORT ?= 8000
PROCESSES ?= 2
THREADS ?= 5

# For `make bench`: what comes after `wsgid-bench`, for instance --full.
BENCH_ARGS ?=
# For `make fuzz` and `make soak`, in seconds.
FUZZ_TIME ?= 60
SOAK_TIME ?= 600
SOAK_SEED ?=

export CARGO
export CARGO_TARGET_DIR := $(abspath $(TARGET))
export WSGID_ARTIFACTS := $(abspath $(RELEASE))

.PHONY: help build serve test unit e2e lint bench soak pictures isolation-packages fuzz clean packages-serve packages-test packages-fuzz packages-lint

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'
	@echo
	@echo '  make serve APP=path/to/wsgi.py PORT=8080 PROCESSES=4 THREADS=5'

build: ## the release: target/release/{wsgid,libmod_wsgid.so,libwsgid_worker.so}
	$(CARGO) build --release --locked $(PRODUCTS)

serve: packages-serve build ## serve a Flask example, or APP=…, on http://localhost:8000
	@exec conf/examples/serve "$(RELEASE)" "$(APP)" "$(HOST)" "$(PORT)" "$(PROCESSES)" "$(THREADS)"

test: packages-test build unit e2e ## everything: unit tests, then end to end with the real httpd

unit:
	@tests/run-suites --workspace --exclude wsgid-tests

# The users that suites make are removed again, unless another run needs them.
# Many of their cases wait most of the time: three of a suite at once also on two cores.
e2e: export RUST_TEST_THREADS ?= $(shell n=$$(nproc); echo $$((n < 3 ? 3 : n)))
e2e:
	@status=0; tests/run-suites -p wsgid-tests || status=$$?; tests/remove-users; exit $$status

lint: packages-lint ## format and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo 'note: cargo-deny is not installed: licences and advisories were not checked'; fi

bench: packages-test build ## compare with other servers behind the same httpd
	$(CARGO) run --release --locked -p wsgid-bench -- $(BENCH_ARGS)

soak: packages-test build ## mixed load with kills and restarts, for SOAK_TIME seconds (SOAK_SEED: the same chaos again)
	WSGID_SOAK_SECONDS=$(SOAK_TIME) WSGID_SOAK_SEED=$(SOAK_SEED) $(CARGO) test --locked -p wsgid-tests --test soak --test streaming --test files -- --nocapture

pictures: packages-test build ## draw the pictures of docs/watching.md again
	WSGID_PICTURES=$(CURDIR)/docs/pictures $(CARGO) test --locked -p wsgid-tests --test pictures

isolation-packages: packages-test build ## the packages of docs/isolation.md, the large ones too (fetches 400 MB once)
	WSGID_PACKAGES=all $(CARGO) test --locked -p wsgid-tests --test isolation_packages

fuzz: packages-fuzz ## every decoder of the protocol, FUZZ_TIME seconds each
	protocol/fuzz/run.sh $(FUZZ_TIME)

clean: ## remove all that was built, and what the tests made outside
	$(CARGO) clean
	tests/remove-users
	@if test "$$(id -u)" = 0; then rm -rf /var/cache/wsgid-tests /var/cache/wsgid-serve; fi

packages-serve:
	@conf/examples/install-packages cc=gcc libc6-dev apache2-bin python3 python3-venv

packages-test:
	@conf/examples/install-packages cc=gcc libc6-dev apache2-bin apache2-dev python3 python3-dev python3-venv curl=curl openssl=openssl nghttp=nghttp2-client chromium=chromium chromedriver=chromium-driver

packages-lint:
	@conf/examples/install-packages cc=gcc libc6-dev

packages-fuzz:
	@conf/examples/install-packages c++=g++
