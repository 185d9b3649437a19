#!/bin/sh
# usage: record.sh mariadb|mysql
#
# Records scene.pcap (mariadb) or mysql.pcap: PyMySQL, mysql-connector-python and the server's own command line over loopback (needs root,
# mariadb-server, tcpdump, and what integration-tests/peers/build.sh mysql mysqld makes).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../capture.sh"
peers=$(cd "$here/../../../../integration-tests/.cache/peers" && pwd -P)
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
case ${1:-} in
mariadb)
    file=$here/scene.pcap
    mariadb-install-db --no-defaults --user=root --datadir="$room/data" --skip-test-db --auth-root-authentication-method=normal >"$room/made"
    set -- mariadbd --no-defaults
    client="mariadb --no-defaults --skip-ssl"
    ;;
mysql)
    file=$here/mysql.pcap
    usr=$peers/mysql-server/usr
    set -- "$usr/sbin/mysqld" --no-defaults --basedir="$usr" --lc-messages-dir="$usr/share/mysql" --plugin-dir="$usr/lib/mysql/plugin"
    "$@" --datadir="$room/data" --initialize-insecure --user=root 2>"$room/made"
    set -- "$@" --mysqlx=OFF --disable-log-bin --secure-file-priv=
    client="$usr/bin/mysql --no-defaults --ssl-mode=DISABLED"
    ;;
*)
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 2
    ;;
esac
"$@" --user=root --datadir="$room/data" --socket="$room/socket" --pid-file="$room/pid" --port=13306 --bind-address=127.0.0.1 \
    --skip-name-resolve --local-infile=1 >"$room/log" 2>&1 & server=$!
trap 'kill "$server" $dump; wait; rm -rf "$room"' EXIT
prepared="CREATE DATABASE shop; CREATE DATABASE other; CREATE USER IF NOT EXISTS root@'127.0.0.1'; GRANT ALL ON *.* TO root@'127.0.0.1'"
until $client -u root -S "$room/socket" -e "$prepared" 2>/dev/null; do kill -0 "$server" || { cat "$room/log" >&2; exit 1; }; done
scene() {
    PYTHONPATH=$peers/mysql-python /usr/bin/python3 "$here/scene.py" 13306 "$room/rows.csv"
    $client -h 127.0.0.1 -P 13306 -u root shop -e 'SELECT * FROM items; USE other; SELECT nothing' >"$room/cli" 2>&1 || true
}
# Three connections.
capture "$file" 6 13306 -s 66000 -i lo
