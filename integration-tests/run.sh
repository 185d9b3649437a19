#!/bin/bash
# Runs every check and test, cheapest first, and sums them up.
#
#   run.sh         everything
#   run.sh lint    only what needs no run: format, lints, dependencies, documents
#   run.sh PART    one part, named as below
#
# Each part is a function; its output is shown as it comes. A part that cargo's test runner counts gives as many tests as that
# says; any other part counts as one. Ends with the time of each part and the line `N passed, N failed`. A skipped (ignored)
# test counts as failed: it proves nothing.
set -u
cd "$(dirname "$(realpath "$0")")/.." || exit 1

export CARGO_TERM_COLOR=never RUST_BACKTRACE=1 CI=true
target=${CARGO_TARGET_DIR:-target}
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -E)
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
passed=0 failed=0 times=() broken=()

# part NAME COMMAND...: runs it, counts it, goes on whatever comes of it
part() {
    local name=$1 started=$SECONDS ok=0 counts
    shift
    echo "=== $name"
    if "$@" 2>&1 | tee "$log/part"; [ "${PIPESTATUS[0]}" = 0 ]; then ok=1; fi
    # test result: ok. 7 passed; 0 failed; 0 ignored; ...
    read -r -a counts < <(awk '/^test result: / { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i; if ($(i+1) ~ /^ignored/) f += $i } } END { print p + 0, f + 0 }' "$log/part")
    local good=${counts[0]} bad=${counts[1]}
    if [ $ok = 1 ] && [ $((good + bad)) = 0 ]; then good=1; fi
    if [ $ok = 0 ] && [ "$bad" = 0 ]; then bad=1; fi
    passed=$((passed + good)) failed=$((failed + bad))
    [ "$bad" = 0 ] || broken+=("$name")
    times+=("$(printf '%5d s  %5d passed  %3d failed  %s' $((SECONDS - started)) "$good" "$bad" "$name")")
}

format() {
    cargo fmt --all --check && for crate in uprobes/ebpf protocol-parsers/fuzz; do
        cargo fmt --manifest-path "$crate/Cargo.toml" --check || return 1
    done
}

lints() { cargo clippy --quiet --workspace --all-targets -- -D warnings; }

documents() { RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --quiet --workspace --no-deps --document-private-items; }

directions() { /usr/bin/python3 integration-tests/dependencies.py; }

licences() { cargo deny --log-level error check licenses bans sources; }

unit_tests() { cargo test --workspace --exclude sidelight-integration-tests; }

instructions() { cargo run --quiet --release -p sidelight-benches --bin instructions; }

build() { cargo build --workspace --bins; }

# The test binaries run as root, whoever builds them.
integration_tests() {
    if [ ${#as_root[@]} != 0 ]; then export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="${as_root[*]}"; fi
    cargo test -p sidelight-integration-tests --no-fail-fast
}

unit_file() { integration-tests/unit-file.sh; }

scenes() {
    local protocol broken=0
    for protocol in http grpc postgresql mysql redis; do
        "${as_root[@]}" /usr/bin/python3 -B integration-tests/demo/demo.py "$target/debug/sidelight" $protocol 2 || broken=1
    done
    return $broken
}

guests() { "${as_root[@]}" integration-tests/vm/test.sh "$target/debug/sidelight"; }

ebpf() { uprobes/ebpf/build.sh --check; }

all_lint=(format lints documents directions licences)
all=("${all_lint[@]}" unit_tests instructions build unit_file integration_tests scenes guests ebpf)
case ${1:-all} in
    all) parts=("${all[@]}") ;;
    lint) parts=("${all_lint[@]}") ;;
    *) parts=("$@") ;;
esac
for one in "${parts[@]}"; do part "$one" "$one"; done

echo "=== summary"
printf '%s\n' "${times[@]}"
[ ${#broken[@]} = 0 ] || echo "failed: ${broken[*]}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
