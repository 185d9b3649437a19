#!/bin/sh
# Records http2.pcap (nghttp, curl and h2load against nginx) and grpc.pcap (grpcio) over loopback.
# Needs root, nginx, curl, nghttp, h2load, tcpdump and integration-tests/peers/grpc-python in a Python with grpcio.
#   ./record-http2.sh PYTHON   writes http2.pcap and grpc.pcap here
#   ./record-http2.sh golden   writes their *.golden: what tshark finds in them
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/capture.sh"

if [ "$1" = golden ]; then
    "$here/golden-http2.py" "$here/http2.pcap" 18091 >"$here/http2.pcap.golden"
    "$here/golden-http2.py" "$here/grpc.pcap" 18093 >"$here/grpc.pcap.golden"
    exit
fi

python=$1 peer=$here/../../../integration-tests/peers/grpc-python/peer.py
room=$(mktemp -d)
trap 'kill "$nginx" "$grpc" $dump 2>/dev/null; rm -rf "$room"' EXIT
mkdir "$room/www" && printf 'hello\n' >"$room/www/small" && head -c 40000 /dev/zero | tr '\0' x >"$room/www/large"
cat >"$room/nginx.conf" <<CONF
daemon off; master_process off; pid $room/pid; error_log $room/error.log;
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path $room;
    server { listen 127.0.0.1:18091 http2; root $room/www; location /gone { return 410; } location /post { return 201; } }
}
CONF
nginx -p "$room" -c "$room/nginx.conf" & nginx=$!
"$python" "$peer" server port=18093 >"$room/counts" & grpc=$!
until curl -s --http2-prior-knowledge -o "$room/out" http://127.0.0.1:18091/small; do :; done
# It refuses what is no call: 7 is no connection.
until curl -s -o "$room/out" http://127.0.0.1:18093/ || [ $? -ne 7 ]; do :; done

scene() {
    at=http://127.0.0.1:18091
    nghttp -n $at/small $at/large "$at/missing?a=1" $at/gone
    nghttp -n -d "$room/www/small" $at/post
    h2load -n 30 -c 1 -m 10 $at/small >/dev/null
}
capture "$here/http2.pcap" 5 18091 -s 66000 -i lo
scene() {
    "$python" "$peer" client port=18093 calls=40 streams=4
    "$python" "$peer" client port=18093 calls=2 work=cancel
}
capture "$here/grpc.pcap" 2 18093 -s 66000 -i lo
