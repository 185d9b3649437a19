"""The smoke test of one kernel: 100 requests under `sidelight run --attach MECHANISM -- ...`; the set of spans is the set of requests.

usage: smoke.py SIDELIGHT MECHANISM        (as root, in a guest or on the host)
       smoke.py --scene FOLDER             (what is watched: nginx and curl)
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

from nginx import Nginx, served  # noqa: E402  (the path above comes first)

EACH = 50  # requests over HTTP, and as many over HTTPS


def scene(folder):
    with Nginx(folder) as nginx:
        for port, scheme in (nginx.http, "http"), (nginx.https, "https"):
            subprocess.run(
                ["curl", "-s", "-o", f"{folder}/page", "--cacert", nginx.certificate, "--max-time", "60",
                 f"{scheme}://127.0.0.1:{port}/{scheme}/[1-{EACH}]"], check=True)


def attributes(span):
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def spans(path):
    """Per kind (2 server, 3 client) how often each `METHOD PATH STATUS` was seen."""
    seen = {2: collections.Counter(), 3: collections.Counter()}
    ids = []
    for line in pathlib.Path(path).read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                facts = attributes(span)
                where = facts.get("url.path") or "/" + facts["url.full"].split("/", 3)[3]
                seen[span["kind"]][f"{facts['http.request.method']} {where} {facts.get('http.response.status_code')}"] += 1
                ids.append(span["spanId"])
    assert len(ids) == len(set(ids)), "span ids are not unique"
    return seen


def main(sidelight, mechanism):
    with tempfile.TemporaryDirectory(prefix="sidelight-smoke.") as folder:
        os.chmod(folder, 0o755)  # nginx's workers are another user's
        out = f"{folder}/spans.json"
        done = subprocess.run(
            [sidelight, "run", "--attach", mechanism, "--output", "otlp-json", "--output-file", out, "--",
             "/usr/bin/python3", __file__, "--scene", folder], stderr=subprocess.PIPE, text=True, check=False)
        problems = [] if done.returncode == 0 else [f"sidelight ended with {done.returncode}"]
        if not any(line.split()[:4] == ["frames", "of", "HTTP/2", "on"] for line in done.stderr.splitlines()):
            problems.append("the programs for long calls are not on")
        requests = collections.Counter(served(folder)) if os.path.exists(f"{folder}/access.log") else collections.Counter()
        expected = collections.Counter(f"GET /{scheme}/{n} 200" for scheme in ("http", "https") for n in range(1, EACH + 1))
        if requests != expected:
            problems.append(f"nginx served {requests.total()} requests, not {expected.total()}")
        seen = spans(out) if os.path.exists(out) else {2: collections.Counter(), 3: collections.Counter()}
        for kind, name in (2, "server"), (3, "client"):
            for request in (expected - seen[kind]) + (seen[kind] - expected):
                problems.append(f"{request}: {expected[request]} requests, {seen[kind][request]} {name} spans")
    if problems:
        print(done.stderr, *problems, sep="\n", file=sys.stderr)
        return 1
    kernel = os.uname().release
    print(f"{kernel} --attach {mechanism}: {expected.total()} requests, {seen[2].total()} server spans, {seen[3].total()} client spans")
    return 0


if sys.argv[1] == "--scene":
    scene(sys.argv[2])
else:
    sys.exit(main(*sys.argv[1:]))
