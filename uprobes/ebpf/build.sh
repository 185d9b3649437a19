#!/bin/sh
# Builds the eBPF programs into uprobes/loader/bpf/sidelight.bpf.o, which is committed and embedded in the daemon.
#
#   build.sh            rebuild the object and record the tool chain in TOOLCHAIN
#   build.sh --check    rebuild elsewhere; with the recorded tool chain the bytes must be the committed ones, with another
#                       one it says that it did not compare. --output FILE keeps what was built
#
# Needs cargo, bpf-linker, llvm-strip, and a rustc that builds core from source: Debian's rustc-web with rust-web-src, or
# rustup's nightly with rust-src. SIDELIGHT_BPF_RUSTC names another one.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
object=$root/uprobes/loader/bpf/sidelight.bpf.o
die() { echo "build.sh: $*" >&2; exit 1; }

check=no keep=
while [ $# -gt 0 ]; do
    case $1 in
        --check) check=yes; shift ;;
        --output) keep=${2:?--output needs a file}; shift 2 ;;
        *) die "unknown argument $1; usage: build.sh [--check [--output FILE]]" ;;
    esac
done

has_source() { "$1" --version >/dev/null 2>&1 && [ -d "$("$1" --print sysroot)/lib/rustlib/src/rust/library/core" ]; }
rustc=
for candidate in "${SIDELIGHT_BPF_RUSTC:-}" /usr/bin/rustc "$(rustup which --toolchain nightly rustc 2>/dev/null || true)"; do
    if [ -n "$candidate" ] && has_source "$candidate"; then
        rustc=$candidate
        break
    fi
done
[ -n "$rustc" ] || die "no rustc with the source of core: install Debian's rustc-web and rust-web-src, or run 'rustup toolchain install nightly --component rust-src'"
command -v bpf-linker >/dev/null || die "bpf-linker is missing: cargo install bpf-linker --version 0.13.0 --locked"
strip=$(command -v llvm-strip || command -v llvm-strip-14) || die "llvm-strip is missing: apt-get install llvm"

toolchain() {
    "$rustc" --version --verbose | sed -n '1p; s/^LLVM version/rustc LLVM/p'
    bpf-linker --version
    "$strip" --version | sed -n 's/^.*LLVM version \([0-9.]*\).*/llvm-strip \1/p' | head -n 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sysroot=$("$rustc" --print sysroot)
registry=${CARGO_HOME:-$HOME/.cargo}
# No path of this machine gets into the object; two checkouts give the same bytes.
# Memory is set and copied in line: verifiers before 6.5 pay dearly for a program with functions (see copy.rs).
flags="-C linker=bpf-linker -C link-arg=--btf -C link-arg=--disable-expand-memcpy-in-order -C target-cpu=v2"
flags="$flags --remap-path-prefix=$root=/sidelight --remap-path-prefix=$registry=/cargo --remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rust"
cd "$here"
target=${SIDELIGHT_BPF_TARGET_DIR:-$work/target}
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER
RUSTC=$rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags CARGO_TARGET_DIR=$target \
    cargo build --locked --release --quiet --target bpfel-unknown-none -Z build-std=core
built=$work/sidelight.bpf.o
# DWARF goes, BTF and its line information stay: the kernel needs them.
"$strip" --strip-debug -o "$built" "$target/bpfel-unknown-none/release/sidelight"
if grep -q -a -e "$root" -e "$registry" "$built"; then
    die "a path of this machine is in the object"
fi

if [ -n "$keep" ]; then cp "$built" "$keep"; fi
if [ "$check" = no ]; then
    mkdir -p "$(dirname "$object")"
    cp "$built" "$object"
    toolchain >TOOLCHAIN
    echo "build.sh: built $(wc -c <"$object") bytes with:"
    cat TOOLCHAIN
elif [ "$(toolchain)" = "$(cat TOOLCHAIN)" ]; then
    cmp "$built" "$object" || die "the committed object is not what the sources give: run make ebpf and commit it"
    echo "build.sh: the committed object is what the sources give, byte for byte"
else
    echo "build.sh: built, but not compared: the committed object was made by"
    sed 's/^/    /' TOOLCHAIN
    echo "  and this machine has"
    toolchain | sed 's/^/    /'
fi
