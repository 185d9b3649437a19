#!/bin/sh
# Records scene.pcap: psql and pgbench against a real server over loopback (needs root, tcpdump, Debian's postgresql and its contrib).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../capture.sh"
room=$(mktemp -d)
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
port=15432
url="host=127.0.0.1 port=$port user=postgres sslmode=disable gssencmode=disable"
trap 'kill "$server" $dump 2>/dev/null && wait "$server"; rm -rf "$room"' EXIT
chown postgres "$room"
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
as_postgres "$bin/initdb" -A trust --no-sync -D "$room/data" >/dev/null
setpriv --reuid=postgres --regid=postgres --clear-groups "$bin/postgres" -D "$room/data" -p $port -k "$room" -c fsync=off 2>"$room/log" & server=$!
until psql -X -q -c 'create table item (id int primary key, name text)' "$url" 2>/dev/null; do :; done
pgbench -i -q "$url" 2>/dev/null

scene() {
    psql -X -q "$url" >/dev/null 2>&1 <<'SQL' || true
insert into item select id, 'name ' || id from generate_series(1, 500) id;
select * from item;
select 1 \; select 'two' \; update item set name = 'three' where id = 3;
selec 1;
insert into item values (1, 'again');
begin;
select 1 / 0;
rollback;
copy item from stdin;
501	five
502	six
\.
copy (select * from item where id > 490) to stdout;
listen news;
notify news, 'read';
SQL
    pgbench -n -M prepared -t 2 "$url" >/dev/null 2>&1
    pgbench -n -M extended -t 1 "$url" >/dev/null 2>&1
}
# Five connections: pgbench looks around on one of its own.
capture "$here/scene.pcap" 10 $port -s 66000 -i lo
