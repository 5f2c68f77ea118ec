# The only list of commands. `make help` prints it.

CARGO ?= cargo
# Everything runs from a checkout, wherever that is. Cargo takes a relative CARGO_TARGET_DIR for
# each directory that it is started in; here it always means one below the checkout.
ifdef CARGO_TARGET_DIR
export CARGO_TARGET_DIR := $(if $(filter /%,$(firstword $(CARGO_TARGET_DIR))),,$(CURDIR)/)$(CARGO_TARGET_DIR)
endif
target := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export LGUEST := $(target)/release/lguest
export PROBE := $(or $(CARGO_TARGET_DIR),$(CURDIR)/guest-images/guests/target)/release/probe

PREFIX ?= /usr/local
DESTDIR ?=

.DEFAULT_GOAL := build

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: run
run: setup-packages build guest ## a shell in a Linux guest on this terminal
	@guest-images/run

.PHONY: build
build: ## the launcher, target/release/lguest
	$(CARGO) build --release --locked -p lguest
	@CARGO=$(CARGO) packaging/licences > "$${CARGO_TARGET_DIR:-target}/release/LICENSES-CRATES"

.PHONY: install
install: ## what was built, into PREFIX (/usr/local) below DESTDIR
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) packaging/install

.PHONY: uninstall
uninstall: ## remove that
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) packaging/install remove

.PHONY: deb
deb: build ## a Debian package, in target/debian
	@packaging/deb

.PHONY: guest
guest: ## the guest image: Debian's cloud kernel and a small initramfs
	@guest-images/build

.PHONY: guests
guests: ## the small guests of our own that tests run on any /dev/kvm
	$(CARGO) build --release --locked --manifest-path guest-images/guests/Cargo.toml

.PHONY: nested
nested: setup-packages build guest ## a shell in the nested host, with a complete KVM; it can write to SHARE=DIR
	@guest-images/nested-host shell $(if $(SHARE),--share $(SHARE))

# Each part records what became of its tests; tests/summed tells how.
.PHONY: test
test: setup-packages ## every test; a part that fails does not keep the others from running
	@tests/summed --parts $(MAKE) --no-print-directory --keep-going \
		test-unit test-fuzz test-pages test-kvm test-deb test-linux

.PHONY: test-unit
test-unit: ## without KVM, without root
	@tests/summed $(CARGO) test --locked --no-fail-fast --workspace --exclude tests

.PHONY: test-fuzz
test-fuzz: ## guests of random bytes against the devices, for 5 seconds each
	@FUZZ_SECONDS=5 tests/summed --parts fuzz/run

.PHONY: fuzz
fuzz: ## the same for longer: FUZZ_SECONDS each, or 20
	@fuzz/run

.PHONY: test-kvm
test-kvm: build guests ## the launcher with our own guests, on this machine's /dev/kvm
	@tests/kvm

.PHONY: test-deb
test-deb: build guests ## the Debian package, in a Debian of its own
	@tests/deb

.PHONY: soak
soak: build guests ## guests and hosts at random for SOAK_MINUTES, or 1; SOAK_SEED repeats
	$(CARGO) test --release --locked -p tests --test e2e -- --ignored --nocapture kvm::soak

.PHONY: test-linux
test-linux: build guest ## the launcher with Linux; in the nested host if need be
	@tests/linux

.PHONY: test-kernels
test-kernels: build guest ## a command in unpacked kernels of five releases, from 5.10 to 7 (test has one)
	@LGUEST_TEST_KERNELS= tests/linux linux::exec::kernels

.PHONY: picture
picture: build guest ## docs/ping.svg anew, from a real ping
	@tests/picture

.PHONY: test-pages
test-pages: build ## links, names and wording of README.md and docs/; imports between the modules
	@tests/summed $(CARGO) test --release --locked -p tests --test e2e -- pages:: structure:: summaries::

.PHONY: test-docs
test-docs: build guest ## that, and every command in them (test has all of it)
	@tests/docs

.PHONY: debian
debian: ## a disk with Debian 12 on it, to boot with --block
	@guest-images/setup debian
	@guest-images/debian

.PHONY: test-debian
test-debian: setup-packages build guest debian ## Debian's programs on that disk, and 50 launchers killed
	@eval "$$(guest-images/debian --print)" && DEBIAN="$$DEBIAN" LGUEST_TEST_KILLS=50 \
		tests/linux linux::debian linux::block::kills

.PHONY: check
check: setup-check ## formatting, scripts, crates, clippy and docs; warnings are errors
	@$(MAKE) --no-print-directory check-format check-scripts check-crates
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items
	$(CARGO) clippy --locked --manifest-path guest-images/guests/Cargo.toml -- -D warnings
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml -- -D warnings
	@CARGO=$(CARGO) tests/deny --if-installed

.PHONY: quick
quick: setup-check ## while you work: the quick part of check, wording and imports
	@$(MAKE) --no-print-directory check-format check-scripts check-crates check-words
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: check-format check-scripts check-crates check-words
check-format:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path guest-images/guests/Cargo.toml --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
check-scripts:
	tests/shellcheck
check-crates:
	CARGO=$(CARGO) tests/dependencies
check-words:
	$(CARGO) test --quiet --locked -p tests --test e2e -- pages::wording structure:: --skip dependencies

.PHONY: deny
deny: ## cargo-deny, if you have it: licences, duplicates, sources, and known vulnerabilities
	@CARGO=$(CARGO) tests/deny

.PHONY: msrv
msrv: ## the crates with the oldest Rust that Cargo.toml promises, if you have it
	@CARGO=$(CARGO) tests/msrv

.PHONY: bench
bench: setup-packages build guest debian ## the figures in docs/benchmarks.md; BENCH="disk net" makes a part of them
	@tests/bench/__main__.py $(BENCH)

.PHONY: book
book: ## the code's own documentation, private items too
	$(CARGO) doc --locked --workspace --no-deps --document-private-items --open

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path guest-images/guests/Cargo.toml
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

.PHONY: setup setup-packages setup-check
setup: setup-packages ## install what is missing on a Debian machine; offers a check before each commit
	@.githooks/offer
setup-packages:
	@guest-images/setup packages
setup-check:
	@guest-images/setup check

.PHONY: clean
clean: ## remove what was built here (not the cache)
	$(CARGO) clean
	$(CARGO) clean --manifest-path guest-images/guests/Cargo.toml
	$(CARGO) clean --manifest-path fuzz/Cargo.toml
