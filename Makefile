# Recipes. `make demo` shows it, `make test` proves it.

TARGET := $(or $(CARGO_TARGET_DIR),target)
PROTOCOL ?= http
EXACT := SIDELIGHT_BIN=$(abspath $(TARGET))/release/sidelight
SCALED := cargo test -p sidelight-integration-tests
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E)

.PHONY: build release ebpf test test-backends demo bench overhead exact fuzz-smoke lint vm-test clean

build:            ## debug build of the daemon
	integration-tests/setup.sh build
	cargo build

release:          ## optimised build of the daemon: target/release/sidelight
	integration-tests/setup.sh build
	cargo build --release

ebpf:             ## rebuilds the committed eBPF objects (uprobes/ebpf/TOOLCHAIN names the versions)
	uprobes/ebpf/build.sh

test:             ## installs what the tests need and runs everything
	integration-tests/setup.sh test
	integration-tests/run.sh

test-backends:    ## a real OpenTelemetry Collector and a real Jaeger (needs Go)
	integration-tests/backends/run.sh

demo:             ## a small scene of real processes and their spans, live; PROTOCOL=http, grpc, postgresql, mysql or redis
	integration-tests/setup.sh demo $(PROTOCOL)
	cargo build --release
	$(AS_ROOT) /usr/bin/python3 -B integration-tests/demo/demo.py $(TARGET)/release/sidelight $(PROTOCOL)

bench:            ## parsers, pipeline and encoder; benches/README.md has the figures and the recipes of the others
	cargo bench -p sidelight-benches

overhead:         ## what watching costs nginx and wrk: paired runs, see benches/overhead/run.py --help
	integration-tests/setup.sh test
	cargo build --release --bin sidelight --bin otlp-discard --workspace
	$(AS_ROOT) /usr/bin/python3 -B benches/overhead/run.py

exact:            ## by every protocol 10,000 exchanges and more, by each mechanism, compared with what the peers counted
	cargo build --release
	$(EXACT) SIDELIGHT_SCALE=100 $(SCALED) --test http every_keep_alive -- --nocapture
	$(EXACT) SIDELIGHT_SCALE=5 $(SCALED) --test grpc every_call -- --nocapture
	$(EXACT) SIDELIGHT_SCALE=10 $(SCALED) --test connect every_call -- --nocapture
	$(EXACT) SIDELIGHT_SCALE=50 $(SCALED) --test http2 every_one -- --nocapture
	$(EXACT) SIDELIGHT_SCALE=5 $(SCALED) --test postgresql pgbench -- --nocapture
	$(EXACT) SIDELIGHT_SCALE=15 $(SCALED) --test mysql agree -- --nocapture
	$(EXACT) SIDELIGHT_SCALE=5 $(SCALED) --test redis redis_benchmark -- --nocapture

# What is found goes to the first folder, which is made and not committed; the others are only read.
fuzz-smoke:       ## every fuzz target for FUZZ_SECONDS=10 each (needs nightly Rust and cargo-fuzz)
	cd protocol-parsers && for target in $$(cargo +nightly fuzz list); do mkdir -p fuzz/target/found/$$target && cargo +nightly fuzz run $$target fuzz/target/found/$$target fuzz/corpus/$$target -- -max_total_time=$(or $(FUZZ_SECONDS),10) -max_len=16384 || exit 1; done

lint:             ## what `make test` checks before it runs anything
	integration-tests/run.sh lint

vm-test:          ## the smoke test in guests with Linux 6.1 and 6.12
	cargo build
	$(AS_ROOT) integration-tests/vm/test.sh $(TARGET)/debug/sidelight

clean:
	cargo clean
	rm -rf uprobes/ebpf/target integration-tests/.cache
