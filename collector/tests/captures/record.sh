#!/bin/sh
# Records the captures of this directory: curl against nginx over loopback, by tcpdump (needs root, nginx, curl, tcpdump, editcap).
#   ./record.sh            writes *.pcap and *.pcapng here
#   ./record.sh golden     writes *.golden: what tshark finds in them
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/capture.sh"

if [ "${1-}" = golden ]; then
    for file in "$here"/*.pcap "$here"/*.pcapng; do
        tshark -r "$file" -2 -R 'http.request || http.response' -T fields -E separator=' ' \
            -e http.request.method -e http.request.uri -e http.response.code -e tcp.srcport -e tcp.dstport 2>/dev/null |
            sed 's/^ *//' | sort >"$file.golden"
    done
    exit
fi

room=$(mktemp -d)
trap 'kill "$nginx" $dump 2>/dev/null; rm -rf "$room"' EXIT
mkdir "$room/www" && printf 'hello\n' >"$room/www/small" && head -c 40000 /dev/zero | tr '\0' x >"$room/www/large"
cat >"$room/nginx.conf" <<CONF
daemon off; master_process off; pid $room/pid; error_log $room/error.log;
events { worker_connections 64; }
http {
    access_log off;
    server { listen 127.0.0.1:18081; listen [::1]:18081; root $room/www; location /gone { return 410; } location /post { return 201; } }
}
CONF
nginx -p "$room" -c "$room/nginx.conf" & nginx=$!
until curl -s -o "$room/out" http://127.0.0.1:18081/small; do :; done

# Four connections.
scene() {
    curl -s -o /dev/null http://127.0.0.1:18081/small http://127.0.0.1:18081/large 'http://127.0.0.1:18081/missing?a=1' -o /dev/null -o /dev/null
    curl -s -o /dev/null -H 'Connection: close' http://127.0.0.1:18081/gone
    curl -s -o /dev/null -g 'http://[::1]:18081/small'
    curl -s -o /dev/null -d "$(head -c 3000 /dev/zero | tr '\0' y)" http://127.0.0.1:18081/post
}
capture "$here/ethernet.pcap" 8 18081 -s 66000 -i lo
capture "$here/cooked-any.pcap" 8 18081 -s 66000 -i any -y LINUX_SLL
capture "$here/cooked2-any.pcap" 8 18081 -s 66000 -i any -y LINUX_SLL2
capture "$here/nanoseconds.pcap" 8 18081 -s 66000 -i lo --time-stamp-precision=nano
editcap -F pcapng "$here/ethernet.pcap" "$here/ethernet.pcapng"
# Heads are whole, bodies are not.
editcap -F pcap -s 400 "$here/ethernet.pcap" "$here/cut.pcap"
# Without the first packets of the first connection: no SYN.
editcap "$here/ethernet.pcap" "$here/joined.pcapng" 1-3
