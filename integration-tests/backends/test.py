"""The demo scene exported to real back ends: what they received is what the servers counted.

usage: test.py SIDELIGHT COLLECTOR JAEGER
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parent / "demo"
sys.path.insert(0, str(DEMO))

from nginx import free_ports, served, wait_until_listening  # noqa: E402  (the path above comes first)

SECONDS = "4"
COLLECTOR = """
receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: 127.0.0.1:{grpc} }}, http: {{ endpoint: 127.0.0.1:{http} }} }} }} }}
exporters: {{ debug: {{ verbosity: detailed, use_internal_logger: false }} }}
service:
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines:
    traces: {{ receivers: [otlp], exporters: [debug] }}
    metrics: {{ receivers: [otlp], exporters: [debug] }}
"""


@contextlib.contextmanager
def running(command, port, log, **environment):
    """A server that is ended by its process id."""
    with open(log, "w", encoding="utf-8") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    try:
        wait_until_listening(port, child)
        yield
    except BaseException:
        print(pathlib.Path(log).read_text()[-4000:], file=sys.stderr)
        raise
    finally:
        child.terminate()
        child.wait(30)


def scene(sidelight, folder, **environment):
    """Runs the scene under the daemon; gives how often each `METHOD PATH STATUS` was served."""
    subprocess.run(
        [sidelight, "run", "--output", "otlp", "--", "/usr/bin/python3", "-B", DEMO / "scene.py", folder, SECONDS],
        check=True, stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    return collections.Counter(served(folder) + (pathlib.Path(folder) / "shop.log").read_text().splitlines())


def through_collector(sidelight, collector, protocol, folder):
    grpc, http = free_ports(2)
    config, log = pathlib.Path(folder) / "collector.yaml", pathlib.Path(folder) / "collector.log"
    config.write_text(COLLECTOR.format(grpc=grpc, http=http))
    endpoint = f"http://127.0.0.1:{grpc if protocol == 'grpc' else http}"
    with running([collector, "--config", config], http, log):
        counted = scene(sidelight, folder, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
                        OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
    text = log.read_text()
    seen = {"Server": collections.Counter(), "Client": collections.Counter()}
    # what follows the last span of a batch is no part of it
    for span in re.findall(r"^Span #(.*?)(?=^Span #|^Resource|^Scope|^\d{4}-|\Z)", text, re.MULTILINE | re.DOTALL):
        kind = re.search(r"Kind +: (\w+)", span)[1]
        facts = dict(re.findall(r"-> ([\w.]+): \w+\((.*)\)", span))
        path = facts.get("url.path") or "/" + facts["url.full"].split("/", 3)[3]
        seen[kind][f"{facts['http.request.method']} {path} {facts['http.response.status_code']}"] += 1
    compare(f"Collector, {protocol}", counted, seen["Server"], seen["Client"])
    for metric in "http.server.request.duration", "http.client.request.duration":
        if f"-> Name: {metric}\n" not in text:
            raise SystemExit(f"Collector, {protocol}: no metric {metric}")


def through_jaeger(sidelight, jaeger, folder):
    grpc, http, query, *others = free_ports(12)
    flags = ["--collector.otlp.grpc.host-port", "--collector.otlp.http.host-port", "--query.http-server.host-port",
             "--query.grpc-server.host-port", "--admin.http.host-port", "--collector.grpc-server.host-port",
             "--collector.http-server.host-port", "--processor.jaeger-binary.server-host-port",
             "--processor.jaeger-compact.server-host-port", "--processor.zipkin-compact.server-host-port", "--http-server.host-port"]
    ports = [f"{flag}=127.0.0.1:{port}" for flag, port in zip(flags, [grpc, http, query, *others])]
    ask = lambda path: json.load(urllib.request.urlopen(f"http://127.0.0.1:{query}/api/{path}", timeout=10))["data"]  # noqa: E731
    with running([jaeger, *ports], query, f"{folder}/jaeger.log", COLLECTOR_OTLP_ENABLED="true", SPAN_STORAGE_TYPE="memory"):
        wait_for_port(grpc)
        counted = scene(sidelight, folder, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{grpc}", OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
                        OTEL_METRICS_EXPORTER="none", OTEL_SDK_DISABLED="true")
        services = set(ask("services"))
        wanted = {"nginx", "shop.py", "scene.py", "curl"}
        if not wanted <= services:
            raise SystemExit(f"Jaeger: services {sorted(services)}, expected {sorted(wanted)}")
        # a service's query gives whole traces: every span is counted once, by its id
        spans = {span["spanID"]: span for service in sorted(wanted)
                 for trace in ask(f"traces?service={service}&limit=10000") for span in trace["spans"]}
    seen = {"server": collections.Counter(), "client": collections.Counter()}
    for span in spans.values():
        facts = {tag["key"]: tag["value"] for tag in span["tags"]}
        path = facts.get("url.path") or "/" + facts["url.full"].split("/", 3)[3]
        seen[facts["span.kind"]][f"{facts['http.request.method']} {path} {facts['http.response.status_code']}"] += 1
        if span["operationName"] != facts["http.request.method"] or not facts.get("server.port"):
            raise SystemExit(f"Jaeger: wrong name or attributes: {span}")
    compare("Jaeger", counted, seen["server"], seen["client"])


def wait_for_port(port):
    """Jaeger opens its ports one after the other."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        wait_until_listening(port, child)
    finally:
        child.kill()
        child.wait()


def compare(name, counted, servers, clients):
    for side, seen in ("server", servers), ("client", clients):
        if seen != counted:
            raise SystemExit(f"{name}: {side} spans differ: missing {dict(counted - seen)}, too many {dict(seen - counted)}")
    print(f"test {name}: {counted.total()} requests, {servers.total()} server and {clients.total()} client spans ... ok", flush=True)


sidelight, collector, jaeger = sys.argv[1:]
for test in (
        lambda folder: through_collector(sidelight, collector, "grpc", folder),
        lambda folder: through_collector(sidelight, collector, "http/protobuf", folder),
        lambda folder: through_jaeger(sidelight, jaeger, folder)):
    with tempfile.TemporaryDirectory(prefix="sidelight-backends.") as temporary:
        os.chmod(temporary, 0o755)
        test(temporary)
