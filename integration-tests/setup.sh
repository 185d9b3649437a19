#!/bin/bash
# Installs what is missing, and nothing else: from Debian's packages and from crates.io; peers/build.sh adds what the gRPC and MySQL peers need.
#
#   setup.sh build    a C compiler and linker (cargo needs one)
#   setup.sh demo [PROTOCOL]    and what the demo of http (the default), grpc, postgresql, mysql or redis runs
#   setup.sh test     and what the tests run: servers, load generators, guests, the eBPF tool chain, the licence check;
#                     needs Go and Node.js for the peers
set -eu

# The last versions that were compared byte for byte stand in uprobes/ebpf/TOOLCHAIN.
BPF_LINKER=0.13.0
CARGO_DENY=0.20.2

build=(build-essential ca-certificates)
declare -A demo=(
    [http]="nginx-light openssl python3 curl"
    [grpc]="python3 python3-pip"
    [postgresql]="python3 postgresql" # pgbench among it
    [mysql]="python3 mariadb-server mariadb-client python3-pymysql"
    [redis]="python3 redis-server redis-tools"
)
test=(
    "${build[@]}" ${demo[*]} apache2-utils caddy haproxy nghttp2-client php-fpm python3-requests tcpdump wrk # servers and clients
    h2o python3-pip                                                                              # HTTP/2, gRPC
    libmariadb-dev patchelf postgresql-contrib python3-psycopg python3-psycopg2                                          # databases and a client in C
    python3-redis tshark                                                                         # Redis; captures
    qemu-system-x86 qemu-system-common busybox-static cpio xz-utils zstd kmod                    # guests
    bpftool systemd valgrind                                                                     # hooks, unit file, counts
    rustc-web rust-web-src llvm llvm-22-dev libzstd-dev zlib1g-dev                               # eBPF tool chain
)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    echo "installing ${missing[*]}"
    # packages must not start services here: the tests start every server themselves
    local policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod +x $policy && trap "as_root rm -f $policy" EXIT; }
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null
}

# crate NAME VERSION [CARGO-INSTALL-ARG...]: unless that version is there
crate() {
    local name=$1 version=$2
    shift 2
    "$name" --version 2>/dev/null | grep -q " $version\b" && return
    echo "installing $name $version"
    cargo install --quiet --locked "$name" --version "$version" "$@"
}

usage() {
    echo "usage: setup.sh build|demo [http|grpc|postgresql|mysql|redis]|test" >&2
    exit 64
}

case ${1:-} in
    build) packages "${build[@]}" ;;
    demo)
        read -ra scene <<<"${demo[${2:-http}]:-}"
        [ ${#scene[@]} != 0 ] || usage
        packages "${build[@]}" "${scene[@]}"
        if [ "${2:-}" = grpc ]; then "$(dirname "$(realpath "$0")")/peers/build.sh" python; fi
        ;;
    test)
        packages "${test[@]}"
        command -v rustup >/dev/null && rustup component add --toolchain "$(rustc --version | sed 's/^rustc \([^ ]*\).*/\1/')" rustfmt clippy 2>/dev/null
        LLVM_PREFIX=/usr/lib/llvm-22 crate bpf-linker "$BPF_LINKER"
        # a debug build: it reads manifests for a second, and takes a third of the time to build
        crate cargo-deny "$CARGO_DENY" --debug
        "$(dirname "$(realpath "$0")")/peers/build.sh"
        ;;
    *) usage ;;
esac
