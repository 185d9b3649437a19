#!/usr/bin/env python3
"""Overhead on a real workload: nginx and wrk, or gRPC in Go, with and without Sidelight, on the same cores.

Paired runs: without, with, without, with ... ; medians. CPU is what the whole machine was busy (/proc/stat) per request that
the client counted, so hooks, daemon and sink are all in it. Every run also checks that no exchange was lost: spans built =
requests that the client saw, from the daemon's own ledgers.

    benches/overhead/run.py [--runs 7] [--seconds 5] [--attach socket|syscall] [--tls] [--grpc] [--select both|server|client|none]
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def busy():
    """Busy CPU seconds of the whole machine since boot."""
    fields = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def listening(port):
    wanted = f"0100007F:{port:04X}"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if any(line.split()[1] == wanted and line.split()[3] == "0A" for line in open("/proc/net/tcp").readlines()[1:]):
            return
        time.sleep(0.01)
    sys.exit(f"nobody listens on port {port}")


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Scene:
    """A server, and clients as descendants of one shell: what is selected."""

    # Requests under way when the client's time is up, which it does not count.
    uncounted = 0

    def __init__(self, server):
        self.servers = subprocess.Popen(server, stdout=subprocess.DEVNULL)
        listening(self.port)
        self.clients = subprocess.Popen(["/bin/sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, command):
        """What a client printed."""
        self.clients.stdin.write(f"{command}; echo END\n")
        self.clients.stdin.flush()
        report = ""
        while not report.endswith("END\n"):
            report += self.clients.stdout.readline()
        return report

    def stop(self):
        self.clients.stdin.close()
        self.clients.wait()
        self.servers.send_signal(self.ends_with)
        self.servers.wait()


class Http(Scene):
    """nginx and wrk."""

    uncounted = 32
    ends_with = signal.SIGQUIT

    def __init__(self, folder, tls):
        self.port = free_port()
        (folder / "www").mkdir()
        (folder / "www/file.html").write_text("x" * 612)
        folder.chmod(0o755)
        listen = f"listen 127.0.0.1:{self.port}" + (" ssl" if tls else "") + " reuseport;"
        if tls:
            subprocess.run(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
                f"-keyout {folder}/key.pem -out {folder}/cert.pem", shell=True, check=True, capture_output=True)
            listen += f" ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;"
        (folder / "nginx.conf").write_text(f"""
            worker_processes 2; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; sendfile on; keepalive_requests 100000000; client_body_temp_path {folder}/b;
                proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
                server {{ {listen} root {folder}/www; }} }}""")
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/file.html"
        super().__init__(["nginx", "-c", f"{folder}/nginx.conf", "-p", str(folder)])

    def load(self, seconds):
        """Requests, seconds of wall clock and busy CPU of one wrk run."""
        before = busy()
        report = self.run(f"wrk -t1 -c32 -d{seconds}s {self.url}")
        used = busy() - before
        found = re.search(r"(\d+) requests in ([\d.]+)s", report)
        if "Socket errors" in report or "Non-2xx" in report or not found:
            sys.exit(f"wrk met errors:\n{report}")
        return int(found[1]), float(found[2]), used


class Grpc(Scene):
    """grpc-go on both sides: unary calls, 100 at a time on one connection (integration-tests/peers)."""

    ends_with = signal.SIGTERM

    def __init__(self, folder):
        self.port = free_port()
        self.peer = ROOT / "integration-tests/.cache/peers/grpc-go"
        self.end = folder / "end"
        super().__init__([self.peer, "server", f"port={self.port}"])

    def load(self, seconds):
        """As Http.load: calls, seconds, busy CPU."""
        self.end.unlink(missing_ok=True)
        before, start = busy(), time.monotonic()
        timer = threading.Timer(seconds, self.end.touch)
        timer.start()
        report = self.run(f"{self.peer} client port={self.port} calls=1000000000 streams=100 work=unary stop={self.end}")
        wall, used = time.monotonic() - start, busy() - before
        counts = json.loads(report.splitlines()[0])
        if list(counts) != ["sidelight.test.Echo/Unary OK"]:
            sys.exit(f"calls failed:\n{report}")
        return sum(counts.values()), wall, used


class Watched:
    """The daemon exporting uncompressed OTLP/HTTP to a sink that reads and discards."""

    def __init__(self, target, folder, scene, args):
        port = free_port()
        self.sink = subprocess.Popen([target / "otlp-discard", str(port)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        listening(port)
        only = {"both": [scene.servers.pid, scene.clients.pid], "server": [scene.servers.pid], "client": [scene.clients.pid], "none": []}[args.select]
        command = [target / "sidelight", "run", "--attach", args.attach]
        if args.select == "none":
            # Nothing of the load is selected, but its TLS library is probed: what an unselected server pays.
            command += ["--only", f"pid:{os.getpid()}"]
        else:
            for pid in only:
                command += ["--only", f"tree:{pid}"]
        self.log = open(folder / "daemon.log", "w+")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
        self.daemon = subprocess.Popen(command, env=environment, stderr=self.log)
        end = time.monotonic() + 60
        while "\nready\n" not in self.text():
            if time.monotonic() > end or self.daemon.poll() is not None:
                sys.exit(f"the daemon did not become ready:\n{self.text()}")
            time.sleep(0.02)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def memory(self):
        """RSS and its high-water mark, MiB."""
        status = open(f"/proc/{self.daemon.pid}/status").read()
        return [int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in ("VmRSS", "VmHWM")]

    def stop(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait()
        self.sink.stdin.close()
        self.sink.wait()
        ledgers = {}
        for line in self.text().splitlines():
            if line.startswith("ledger "):
                _, name, *entries = line.split()
                ledgers[name] = {key: int(value) for key, value in (entry.split("=") for entry in entries)}
        return ledgers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--attach", default="socket", choices=["socket", "syscall"])
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--grpc", action="store_true")
    parser.add_argument("--select", default="both", choices=["both", "server", "client", "none"])
    args = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sidelight-overhead-"))
    scene = Grpc(folder) if args.grpc else Http(folder, args.tls)
    scene.load(2)
    without, with_, memory, watched = [], [], [], None
    try:
        for run in range(args.runs):
            without.append(scene.load(args.seconds))
            watched = Watched(target, folder, scene, args)
            with_.append(scene.load(args.seconds))
            memory.append(watched.memory())
            ledgers = watched.stop()
            requests = with_[-1][0]
            ends = {"both": 2, "server": 1, "client": 1, "none": 0}[args.select]
            built, exported = ledgers["spans"]["built"], ledgers["spans"]["exported"]
            print(f"run {run + 1}: {without[-1][0] / without[-1][1]:,.0f} -> {requests / with_[-1][1]:,.0f} req/s, "
                  f"{requests:,} requests, {built:,} spans built, {exported:,} exported, "
                  f"ring_full {ledgers['events']['ring_full']:,}", flush=True)
            # wrk's count leaves out what was under way when its time was up: at most one request a connection.
            if not ends * requests <= built <= ends * (requests + scene.uncounted) or exported != built:
                sys.exit(f"exchanges were lost:\n{json.dumps(ledgers, indent=1)}")
    finally:
        if watched and watched.daemon.poll() is None:
            watched.stop()
        scene.stop()
        shutil.rmtree(folder)
    rate = [statistics.median(n / wall for n, wall, _ in runs) for runs in (without, with_)]
    cost = [statistics.median(cpu / n * 1e6 for n, _, cpu in runs) for runs in (without, with_)]
    ratio = statistics.median((b[0] / b[1]) / (a[0] / a[1]) for a, b in zip(without, with_))
    print(f"medians of {args.runs}: {rate[0]:,.0f} -> {rate[1]:,.0f} req/s, ratio {ratio:.3f}; "
          f"CPU {cost[0]:.1f} -> {cost[1]:.1f} us a request, added {cost[1] - cost[0]:.1f}; "
          f"RSS {statistics.median(m[0] for m in memory):.1f} MiB, peak {max(m[1] for m in memory):.1f}")


if __name__ == "__main__":
    main()
