# For the scripts that record captures, to be sourced.

# The tcpdump that is running, for the caller's trap.
dump=

# capture FILE FINS PORT TCPDUMP-OPTIONS...: records what goes over a TCP port while the caller's function `scene` runs, until so many FINs
# were seen: both ends of each connection send one. A slot of tcpdump's ring is as long as the longest packet, so the ring is made large.
capture() {
    file=$1 fins=$2 port=$3 said=$(mktemp)
    shift 3
    tcpdump -U --immediate-mode -B 65536 -w "$file" "$@" "tcp port $port" 2>"$said" & dump=$!
    until grep -q 'listening on' "$said"; do kill -0 "$dump"; done
    scene
    until [ "$(tcpdump -r "$file" 2>/dev/null | grep -c 'Flags \[F')" -ge "$fins" ]; do kill -0 "$dump"; done
    kill -INT "$dump"; wait "$dump" || true
    dump=
    rm "$said"
}
