#!/bin/bash
# Builds the peers (gRPC in four languages, Connect and gRPC-Web in Go, gRPC-Web-Text in Go and for browsers, MySQL's and
# PostgreSQL's clients in Go, PostgreSQL's in Rust, MariaDB's in C, MySQL's server) into ../.cache/peers. Versions are pinned here,
# in go.mod, Cargo.toml and package.json, but for MySQL's server: Debian's newest. What is there already and not older than its
# sources stays.
#
#   build.sh [go|connect|text|rust|python|node|mysql|mysqld|bulk|pgx|tokio]...    those, or all
set -eu
cd "$(dirname "$(realpath "$0")")"
GRPCIO=1.76.0
PYMYSQL=1.1.2
MYSQL_CONNECTOR=9.5.0

here=$PWD
cache=$(realpath -m ../.cache/peers)
mkdir -p "$cache"
wanted=" ${*:-go connect text rust python node mysql mysqld bulk pgx tokio} "
for tool in go:go connect:go text:go text:node text:npm mysql:go pgx:go rust:cargo tokio:cargo bulk:mariadb_config node:node node:npm mysqld:patchelf; do
    case $wanted in *" ${tool%:*} "*) ;; *) continue ;; esac
    command -v "${tool#*:}" >/dev/null || { echo "${tool#*:} is missing: the peers need Go 1.25, Rust, Node.js 18 or later, libmariadb-dev, patchelf" >&2; exit 1; }
done

# current LANGUAGE: whether the peer is newer than all its sources, or not wanted
current() {
    case $wanted in *" $1 "*) [ -x "$cache/grpc-$1" ] && [ -z "$(find "grpc-$1" go-peer build.sh -newer "$cache/grpc-$1" -type f)" ] ;; esac
}

# script LANGUAGE TEXT: the peer as a shell script, written last
script() {
    printf '#!/bin/sh\n%s\n' "$2" >"$cache/grpc-$1"
    chmod +x "$cache/grpc-$1"
}

for peer in go connect; do
    if ! current "$peer"; then
        (cd "grpc-$peer" && GOWORK=off go build -o "$cache/grpc-$peer" .)
        touch "$cache/grpc-$peer"
    fi
done
case $wanted in
*" pgx "*)
    if [ -n "$(find pgx build.sh -newer "$cache/pgx" -type f 2>&1)" ]; then
        (cd pgx && GOWORK=off go build -o "$cache/pgx" .)
        touch "$cache/pgx"
    fi
    ;;
esac
if ! current rust; then
    cargo build --quiet --locked --release --manifest-path grpc-rust/Cargo.toml --target-dir "$cache/rust"
    cp "$cache/rust/release/grpc-rust" "$cache/grpc-rust"
fi
if ! current python; then
    rm -rf "$cache/python"
    /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-cache-dir \
        --target "$cache/python" --only-binary :all: "grpcio==$GRPCIO"
    script python "PYTHONPATH='$cache/python' exec /usr/bin/python3 -B '$here/grpc-python/peer.py' \"\$@\""
fi
if ! current node; then
    mkdir -p "$cache/node"
    cp grpc-node/package.json grpc-node/package-lock.json "$cache/node/"
    npm ci --silent --ignore-scripts --no-fund --no-audit --prefix "$cache/node"
    script node "NODE_PATH='$cache/node/node_modules' exec node '$here/grpc-node/peer.js' \"\$@\""
fi
if ! current text; then
    (cd grpc-text && GOWORK=off go build -o "$cache/text-server" .)
    mkdir -p "$cache/text"
    cp grpc-text/package.json grpc-text/package-lock.json "$cache/text/"
    npm ci --silent --ignore-scripts --no-fund --no-audit --prefix "$cache/text"
    script text "[ \"\$1\" = client ] || exec '$cache/text-server' \"\$@\"
NODE_PATH='$cache/text/node_modules' exec node '$here/grpc-text/client.js' \"\$@\""
fi
case $wanted in
    *" mysql "*)
        if ! { [ -x "$cache/mysql-go" ] && [ -z "$(find mysql-go build.sh -newer "$cache/mysql-go" -type f)" ]; }; then
            rm -rf "$cache/mysql-python"
            /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-cache-dir \
                --target "$cache/mysql-python" --only-binary :all: "PyMySQL==$PYMYSQL" "mysql-connector-python==$MYSQL_CONNECTOR"
            (cd mysql-go && GOWORK=off go build -o "$cache/mysql-go" .)
            touch "$cache/mysql-go"
        fi
        ;;
esac
case $wanted in
    *" bulk "*)
        if ! { [ -x "$cache/mariadb-bulk" ] && [ -z "$(find mariadb-bulk build.sh -newer "$cache/mariadb-bulk" -type f)" ]; }; then
            cc -O1 -Wall -Wextra -Werror -o "$cache/mariadb-bulk" mariadb-bulk/main.c $(mariadb_config --cflags --libs)
        fi
        ;;
esac
case $wanted in
    *" tokio "*)
        if ! { [ -x "$cache/tokio-postgres" ] && [ -z "$(find tokio-postgres build.sh -newer "$cache/tokio-postgres" -type f)" ]; }; then
            cargo build --quiet --locked --release --manifest-path tokio-postgres/Cargo.toml --target-dir "$cache/rust"
            cp "$cache/rust/release/tokio-postgres-peer" "$cache/tokio-postgres"
        fi
        ;;
esac
# Bookworm has MariaDB only. Debian's newest MySQL runs with its own C library and all it needs beside it.
case $wanted in
    *" mysqld "*)
        if ! [ -d "$cache/mysql-server" ]; then
            . ../debian.sh
            new=$cache/mysql-server.new
            rm -rf "$new"
            mkdir -p "$new"
            debian_lists "$new/apt" sid
            apt-get "${apt[@]}" --download-only --yes --no-install-recommends install \
                mysql-server-core mysql-client-core >/dev/null
            for file in "$new"/apt/cache/archives/{lib,mysql-,zlib}*.deb; do dpkg -x "$file" "$new"; done
            rm -rf "$new/apt"
            usr=$cache/mysql-server/usr
            for program in sbin/mysqld bin/mysql; do
                patchelf --set-interpreter "$usr/lib64/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$usr/lib/x86_64-linux-gnu" "$new/usr/$program"
            done
            mv "$new" "$cache/mysql-server"
        fi
        ;;
esac
