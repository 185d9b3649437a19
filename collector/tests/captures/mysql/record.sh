#!/bin/sh
# Records scene.pcap: PyMySQL, mysql-connector-python and the command line against MariaDB over loopback (needs root, mariadb-server,
# tcpdump, and the packages that integration-tests/peers/build.sh mysql installs).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
packages=$here/../../../../integration-tests/.cache/peers/mysql-python
room=$(mktemp -d)
mariadb-install-db --no-defaults --user=root --datadir="$room/data" --skip-test-db --auth-root-authentication-method=normal >"$room/made"
mariadbd --no-defaults --user=root --datadir="$room/data" --socket="$room/socket" --port=13306 --bind-address=127.0.0.1 \
    --skip-name-resolve --local-infile=1 >"$room/log" 2>&1 & server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$room"' EXIT
until mariadb --no-defaults -S "$room/socket" -e 'CREATE DATABASE shop; CREATE DATABASE other' 2>/dev/null; do :; done
tcpdump -U --immediate-mode -B 65536 -s 66000 -i lo -w "$here/scene.pcap" 'tcp port 13306' 2>"$room/dump" & dump=$!
until grep -q 'listening on' "$room/dump"; do :; done
PYTHONPATH=$packages /usr/bin/python3 "$here/scene.py" 13306 "$room/rows.csv"
mariadb --no-defaults --skip-ssl -h 127.0.0.1 -P 13306 -u root shop -e 'SELECT * FROM items; USE other; SELECT nothing' >"$room/cli" 2>&1 || true
# Both ends of the three connections have sent their FIN.
until [ "$(tcpdump -r "$here/scene.pcap" 2>/dev/null | grep -c 'Flags \[F')" -ge 6 ]; do :; done
kill -INT "$dump"; wait "$dump" || true
