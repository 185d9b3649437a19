#!/bin/sh
# Records scene.pcap: redis-py and redis-cli against redis-server over loopback (needs root, redis, python3-redis, tcpdump).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../capture.sh"
room=$(mktemp -d)
redis-server --port 16379 --bind 127.0.0.1 --save '' --dir "$room" >"$room/log" & redis=$!
trap 'kill "$redis" $dump; rm -rf "$room"' EXIT
until redis-cli -p 16379 ping >/dev/null 2>&1; do :; done
scene() {
    /usr/bin/python3 "$here/scene.py" 16379
    redis-cli -p 16379 -n 2 set from-cli secret >/dev/null
    redis-cli -p 16379 incr from-cli >/dev/null
    redis-cli -p 16379 hmset myhash field1 Hello field2 World >/dev/null
}
# Seven connections.
capture "$here/scene.pcap" 14 16379 -s 66000 -i lo
