#!/bin/bash
# A real OpenTelemetry Collector and a real Jaeger receive the demo scene. Builds both with Go (cached), then compares.
set -eu
cd "$(dirname "$(realpath "$0")")"
cache=$(realpath -m ../.cache)
mkdir -p "$cache"
export GOWORK=off
command -v go >/dev/null || { echo "go is missing: install Go 1.25 or later" >&2; exit 1; }
[ -x "$cache/collector" ] || (cd collector && go build -o "$cache/collector" .)
# the module pins the version; its requirements follow from it
[ -x "$cache/jaeger" ] || (cd jaeger && go build -mod=mod -o "$cache/jaeger" github.com/jaegertracing/jaeger/cmd/all-in-one)
../setup.sh demo
(cd ../.. && cargo build --release)
target=${CARGO_TARGET_DIR:-../../target}
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -E)
"${as_root[@]}" /usr/bin/python3 -B test.py "$target/release/sidelight" "$cache/collector" "$cache/jaeger"
