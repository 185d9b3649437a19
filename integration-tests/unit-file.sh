#!/bin/bash
# systemd-analyze verify must have nothing to say about deploy/sidelight.service, and find it well confined.
set -eu
cd "$(dirname "$(realpath "$0")")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# the binary of the unit is not installed here; any executable stands for it
sed 's|^ExecStart=/usr/local/bin/sidelight|ExecStart=/bin/true|' deploy/sidelight.service >"$dir/sidelight.service"
grep -q '^ExecStart=/bin/true run' "$dir/sidelight.service"
said=$(systemd-analyze verify --man=no "$dir/sidelight.service" 2>&1)
[ -z "$said" ] || { echo "$said"; exit 1; }
# 0 is locked up, 10 is free; tracing needs what it needs
systemd-analyze security --offline=yes --threshold=50 "$dir/sidelight.service" | tail -1
