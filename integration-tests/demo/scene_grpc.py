"""The gRPC scene: a server and a client on grpcio, unary and streaming calls, some of them failing. All are children of this process.

usage: scene_grpc.py FOLDER SECONDS
"""

import collections
import json
import pathlib
import re
import signal
import subprocess
import sys

from nginx import free_ports, wait_until_listening

PEER = pathlib.Path(__file__).resolve().parent.parent / ".cache/peers/grpc-python"
CALLS_A_SECOND = 40


def main(folder, seconds):
    [port] = free_ports(1)
    with open(folder / "server.json", "w", encoding="utf-8") as out:
        server = subprocess.Popen([PEER, "server", f"port={port}"], stdout=out)
    try:
        wait_until_listening(port, server)
        with open(folder / "client.json", "w", encoding="utf-8") as out:
            subprocess.run([PEER, "client", f"port={port}", f"calls={int(seconds * CALLS_A_SECOND)}", "streams=4"], check=True, stdout=out)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def counted(folder):
    """The calls by method and status, as each side's library saw them."""
    server, client = (collections.Counter(json.loads((folder / name).read_text())) for name in ("server.json", "client.json"))
    return {"->": server, "<-": client}, f"server {server.total()} calls, client {client.total()}"


def labels(span):
    """The same words of a span."""
    if span.rest.startswith("sidelight.test.Echo/"):
        code = re.search(r" (?:error|status)=(\S+)", span.rest)
        yield f"{span.rest.split()[0]} {code[1] if code else 'OK' if span.status == 'ok' else '?'}"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), float(sys.argv[2]))
