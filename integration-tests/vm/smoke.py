"""The smoke test of one kernel under `sidelight run --attach MECHANISM -- ...`: the set of spans is the set of exchanges, and nothing was lost.

HTTP, HTTPS, HTTP/2 with several streams at once and with answers longer than a copy, gRPC: 100 exchanges or so of each.

usage: smoke.py SIDELIGHT MECHANISM        (as root, in a guest or on the host)
       smoke.py --scene FOLDER             (what is watched: nginx with curl and h2load, gRPC's server and client in Go)
"""

import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "demo"))
sys.dont_write_bytecode = True

from nginx import Nginx, free_ports, served, wait_until_listening  # noqa: E402  (the path above comes first)

EACH = 50  # requests over HTTP, and as many over HTTPS
STREAMS = 100  # requests over one HTTP/2 connection, 10 at once
LARGE = 5  # requests over another, of which the hooks copy but the beginning
SIZE = 200_000
CALLS = 100  # of gRPC, 10 at once
PEER = HERE.parent / ".cache/peers/grpc-go"


def scene(folder):
    folder = pathlib.Path(folder)
    with Nginx(folder) as nginx:
        for port, scheme in (nginx.http, "http"), (nginx.https, "https"):
            subprocess.run(
                ["curl", "-s", "-o", f"{folder}/page", "--cacert", nginx.certificate, "--max-time", "60",
                 f"{scheme}://127.0.0.1:{port}/{scheme}/[1-{EACH}]"], check=True)
        (folder / "files").mkdir(mode=0o755)
        for n in range(1, LARGE + 1):
            (folder / "files" / str(n)).write_bytes(bytes(SIZE))
        for name, count, streams in ("http2", STREAMS, 10), ("files", LARGE, 2):
            urls = folder / f"{name}.urls"
            urls.write_text("".join(f"http://127.0.0.1:{nginx.http2}/{name}/{n}\n" for n in range(1, count + 1)))
            subprocess.run(["h2load", "-n", str(count), "-c", "1", "-m", str(streams), "-i", urls], check=True, stdout=subprocess.DEVNULL)
    grpc(folder)


def grpc(folder):
    """Both peers write what they counted."""
    (port,) = free_ports(1)
    with open(folder / "served", "wb") as served_calls, open(folder / "answered", "wb") as answered:
        server = subprocess.Popen([PEER, "server", f"port={port}"], stdout=served_calls)
        try:
            wait_until_listening(port, server)
            subprocess.run([PEER, "client", f"port={port}", f"calls={CALLS}", "streams=10"], stdout=answered, check=True)
        finally:
            server.terminate()
            server.wait(30)


def attributes(span):
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def spans(path):
    """Per kind (2 server, 3 client) how often each `METHOD PATH STATUS`, or `METHOD STATUS` of gRPC, was seen."""
    seen = {2: collections.Counter(), 3: collections.Counter()}
    ids = []
    for line in pathlib.Path(path).read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                facts = attributes(span)
                if "rpc.system.name" in facts:
                    exchange = f"{facts.get('rpc.method')} {facts.get('rpc.response.status_code')}"
                else:
                    where = facts.get("url.path") or "/" + facts["url.full"].split("/", 3)[3]
                    exchange = f"{facts['http.request.method']} {where} {facts.get('http.response.status_code')}"
                seen[span["kind"]][exchange] += 1
                ids.append(span["spanId"])
    assert len(ids) == len(set(ids)), "span ids are not unique"
    return seen


def ledgers(text):
    """`ledger NAME ENTRY=N ...` of the closing report as {(NAME, ENTRY): N}."""
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("ledger ")]
    return {(name, entry.split("=")[0]): int(entry.split("=")[1]) for name, *entries in lines for entry in entries}


def lost(report):
    """What the daemon itself says was lost, and whether it read all of the large answers instead of passing them over."""
    ledger = ledgers(report)
    for entry in ("events", "ring_full"), ("events", "fault"), ("bytes", "gap"), ("bytes", "truncated"), ("calls", "skipped"), ("spans", "dropped"):
        if ledger.get(entry) != 0:
            yield f"{' '.join(entry)}: {ledger.get(entry)}"
    if ledger.get(("bytes", "skipped"), 0) < LARGE * SIZE:
        yield f"{ledger.get(('bytes', 'skipped'))} bytes of long frames were passed over"


def problems_of(folder, done, out):
    """What is wrong, a line each; and how many exchanges there were."""
    problems = [] if done.returncode == 0 else [f"sidelight ended with {done.returncode}"]
    if not any(line.split()[:4] == ["frames", "of", "HTTP/2", "on"] for line in done.stderr.splitlines()):
        problems.append("the programs for long calls are not on")
    numbers = {"http": EACH, "https": EACH, "http2": STREAMS, "files": LARGE}
    expected = collections.Counter(f"GET /{name}/{n} 200" for name, count in numbers.items() for n in range(1, count + 1))
    try:
        requests = collections.Counter(served(folder))
        calls = {kind: collections.Counter(json.loads((folder / name).read_text())) for kind, name in ((2, "served"), (3, "answered"))}
        seen = spans(out)
    except (OSError, ValueError) as error:
        return [*problems, f"the scene did not end: {error}"], 0
    if requests != expected:
        problems.append(f"nginx served {requests.total()} requests, not {expected.total()}")
    if calls[3].total() != CALLS:
        problems.append(f"{calls[3].total()} calls were answered, not {CALLS}")
    for kind, name in (2, "server"), (3, "client"):
        right = expected + calls[kind]
        for exchange in (right - seen[kind]) + (seen[kind] - right):
            problems.append(f"{exchange}: {right[exchange]} times, {seen[kind][exchange]} {name} spans")
    return problems + list(lost(done.stderr)), expected.total() + CALLS


def main(sidelight, mechanism):
    with tempfile.TemporaryDirectory(prefix="sidelight-smoke.") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # nginx's workers are another user's
        out = folder / "spans.json"
        done = subprocess.run(
            [sidelight, "run", "--attach", mechanism, "--output", "otlp-json", "--output-file", out, "--",
             "/usr/bin/python3", __file__, "--scene", folder], stderr=subprocess.PIPE, text=True, check=False)
        problems, count = problems_of(folder, done, out)
    if problems:
        print(done.stderr, *problems, sep="\n", file=sys.stderr)
        return 1
    print(f"{os.uname().release} --attach {mechanism}: {count} exchanges, as many server spans, as many client spans, nothing lost")
    return 0


if sys.argv[1] == "--scene":
    scene(sys.argv[2])
else:
    sys.exit(main(*sys.argv[1:]))
