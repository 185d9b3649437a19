"""The demo: runs a scene under `sidelight run -- ...`, shows its spans as they come, and compares them with what the peers counted.
Exit status 0 only if both agree.

usage: demo.py SIDELIGHT [http|grpc|postgresql|mysql|redis] [SECONDS]
"""

import collections
import importlib
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
SCENES = {"http": "scene", "grpc": "scene_grpc", "postgresql": "scene_postgresql", "mysql": "scene_mysql", "redis": "scene_redis"}
# console output: time, -> (server) or <- (client), status, duration, service, name and more
SPAN = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} (->|<-) (\d{3}|ok|err|---) +(\S+) (\S+) +(.*)$")
Span = collections.namedtuple("Span", "arrow status duration service rest")
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
    protocol = sys.argv[2] if len(sys.argv) > 2 else "http"
    seconds = sys.argv[3] if len(sys.argv) > 3 else "6"
    scene = importlib.import_module(SCENES[protocol])
    with tempfile.TemporaryDirectory(prefix="sidelight-demo.") as folder:
        os.chmod(folder, 0o755)  # servers run as other users
        status, lines = watch([sidelight, "run", "--output", "console", "--", "/usr/bin/python3", "-B", scene.__file__, folder, seconds])
        if status:
            print(f"demo: sidelight run ended with exit status {status}", file=sys.stderr)
            return 1
        counted, source = scene.counted(pathlib.Path(folder))
    seen = {"->": collections.Counter(), "<-": collections.Counter()}
    for found in filter(None, map(SPAN.match, lines)):
        span = Span(*found.groups())
        seen[span.arrow].update(scene.labels(span))
    losses = lost(lines)
    print(f"\ncounted by the peers     {source}")
    for arrow, side in ("->", "server"), ("<-", "client"):
        print(f"{side}s: counted {counted[arrow].total():6}, spans {seen[arrow].total():6}")
        for what in sorted((counted[arrow] - seen[arrow]) + (seen[arrow] - counted[arrow])):
            print(f"demo: {what}: {counted[arrow][what]} counted, {seen[arrow][what]} {side} spans", file=sys.stderr)
    print(f"lost: {', '.join(losses) or 'nothing'}")
    agree = all(counted.values()) and counted == seen
    print("spans and counts agree" if agree else "spans and counts do not agree")
    return 0 if agree else 1


sys.exit(main())
