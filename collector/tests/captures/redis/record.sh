#!/bin/sh
# Records scene.pcap: redis-py and redis-cli against redis-server over loopback (needs root, redis, python3-redis, tcpdump).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
room=$(mktemp -d)
redis-server --port 16379 --bind 127.0.0.1 --save '' --dir "$room" >"$room/log" & redis=$!
trap 'kill "$redis"; rm -rf "$room"' EXIT
until redis-cli -p 16379 ping >/dev/null 2>&1; do :; done
tcpdump -U --immediate-mode -B 65536 -s 66000 -i lo -w "$here/scene.pcap" 'tcp port 16379' 2>"$room/dump" & dump=$!
until grep -q 'listening on' "$room/dump"; do :; done
/usr/bin/python3 "$here/scene.py" 16379
redis-cli -p 16379 -n 2 set from-cli secret >/dev/null
redis-cli -p 16379 incr from-cli >/dev/null
redis-cli -p 16379 hmset myhash field1 Hello field2 World >/dev/null
# Both ends of the six connections have sent their FIN.
until [ "$(tcpdump -r "$here/scene.pcap" 2>/dev/null | grep -c 'Flags \[F')" -ge 14 ]; do :; done
kill -INT "$dump"; wait "$dump" || true
