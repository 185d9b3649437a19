#!/bin/sh
# Makes scene.rec, the events of a small scene as the daemon recorded them, and scene.golden, nginx's list of the same requests:
#   ./record.sh SIDELIGHT     (needs root, nginx, curl, openssl, python3)
# The scene runs in /tmp/scene with an empty environment, so that nothing of the machine is in the file. Every file that is asked
# for has as many bytes as its name says: a wrong pairing shows.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
room=/tmp/scene

if [ "${1-}" = scene ]; then
    cd "$room"
    nginx -p "$room" -c "$room/nginx.conf" & nginx=$!
    until curl -sk -o out https://localhost:18444/1 && curl -s -o out http://127.0.0.1:18082/1; do :; done
    curl -s -o out 'http://127.0.0.1:18082/[31-40]'
    curl -sk -o out 'https://localhost:18444/[41-50]' -o out https://localhost:18444/gone/1
    python3 "$room/client.py" 18082
    kill "$nginx"; wait "$nginx" || true
    exit
fi

sidelight=$(realpath "$1")
mkdir "$room"
trap 'rm -rf "$room"' EXIT
mkdir "$room/www"
for n in $(seq 50); do head -c "$n" /dev/zero | tr '\0' x >"$room/www/$n"; done
cp "$here/client.py" "$here/record.sh" "$room"
cd "$room"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>log
cat >nginx.conf <<CONF
daemon off; master_process off; pid $room/pid; error_log $room/error.log;
events { worker_connections 64; }
http {
    log_format golden '\$request_method \$uri \$status \$body_bytes_sent';
    access_log $room/golden golden;
    server {
        listen 127.0.0.1:18082; listen 127.0.0.1:18444 ssl;
        ssl_certificate $room/cert.pem; ssl_certificate_key $room/key.pem;
        root $room/www;
    }
}
CONF
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$sidelight" run --record scene.rec --output otlp-json --output-file spans -- sh ./record.sh scene
sort golden >"$here/scene.golden"
cp scene.rec "$here/scene.rec"
chmod 644 "$here/scene.rec"
