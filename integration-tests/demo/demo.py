"""The demo: runs the scene under `sidelight run -- ...`, shows its spans as they come, and compares them with what the servers
counted. Exit status 0 only if both agree.

usage: demo.py SIDELIGHT [SECONDS]
"""

import collections
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile

from nginx import served

HERE = pathlib.Path(__file__).parent
# console output: time, -> (server) or <- (client), status, duration, service, method, path or URL, peer
SPAN = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} (->|<-) (\d{3}|---) .*? (GET) .*?(/[a-z]+/\d+)\b")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# what the daemon's closing ledgers call a loss
LOSSES = {
    "events": {"ring_full", "fault", "malformed"},
    "bytes": {"gap", "truncated", "buffered"},
    "exchanges": {"incomplete", "open"},
    "spans": {"dropped", "queued"},
    "calls": {"undecided", "unresolved", "map_full", "late_library", "tls_unbound", "tls_conflict"},
}


def watch(command):
    """Runs `command`, passes its standard error on, and gives its exit status and the lines. A terminal stays one for it."""
    if sys.stderr.isatty():
        reading, writing = pty.openpty()
    else:
        reading, writing = os.pipe()
    with subprocess.Popen(command, stderr=writing, stdin=subprocess.DEVNULL, cwd=HERE) as child:
        os.close(writing)
        text = b""
        while True:
            try:
                piece = os.read(reading, 65536)
            except OSError:  # a pseudo-terminal whose other end is closed
                break
            if not piece:
                break
            os.write(2, piece)
            text += piece
    os.close(reading)
    return child.returncode, COLOUR.sub("", text.decode(errors="replace")).splitlines()


def lost(lines):
    """Every non-zero loss of the daemon's closing ledgers, as `ledger reason=count`."""
    ledgers = {}
    for line in lines:
        if line.startswith("ledger "):
            name, *entries = line.split()[1:]
            ledgers[name] = {key: int(value) for key, value in (entry.split("=") for entry in entries)}
    missing = [f"no ledger of {name}" for name in LOSSES if name not in ledgers]
    return missing + [f"{name} {key}={count}" for name, entries in ledgers.items() for key, count in entries.items()
                      if count and key in LOSSES.get(name, ())]


def main():
    sidelight = pathlib.Path(sys.argv[1]).resolve()
    seconds = sys.argv[2] if len(sys.argv) > 2 else "6"
    with tempfile.TemporaryDirectory(prefix="sidelight-demo.") as folder:
        os.chmod(folder, 0o755)  # nginx's workers are another user's
        status, lines = watch([sidelight, "run", "--output", "console", "--", "/usr/bin/python3", HERE / "scene.py", folder, seconds])
        if status:
            print(f"demo: sidelight run ended with exit status {status}", file=sys.stderr)
            return 1
        nginx, shop = served(folder), (pathlib.Path(folder) / "shop.log").read_text().splitlines()
    counted = collections.Counter(nginx + shop)
    spans = {"->": collections.Counter(), "<-": collections.Counter()}
    for found in filter(None, map(SPAN.match, lines)):
        arrow, code, method, path = found.groups()
        spans[arrow][f"{method} {path} {code}"] += 1
    losses = lost(lines)
    print(f"\nrequests the servers counted   {counted.total():5}   (nginx {len(nginx)}, Python {len(shop)})")
    print(f"spans of the servers           {spans['->'].total():5}")
    print(f"spans of the clients           {spans['<-'].total():5}")
    print(f"lost                           {', '.join(losses) or 'nothing'}")
    agree = counted and counted == spans["->"] == spans["<-"]
    for side, seen in ("server", spans["->"]), ("client", spans["<-"]):
        for request in sorted((counted - seen) + (seen - counted)):
            print(f"demo: {request}: {counted[request]} requests, {seen[request]} {side} spans", file=sys.stderr)
    print("every request has its two spans, and no span is without a request" if agree else "requests and spans do not agree")
    return 0 if agree else 1


sys.exit(main())
