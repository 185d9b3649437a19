"""nginx over HTTP, HTTPS and HTTP/2 without TLS in a folder of its own, for the demo and the guests' smoke test.

In: a folder. Out: three loopback ports, a certificate to trust, an access log of `METHOD PATH STATUS` lines.
"""

import contextlib
import pathlib
import signal
import socket
import subprocess
import time

CONFIG = """
worker_processes 2; daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log notice;
events {{ worker_connections 256; }}
http {{
    log_format ids '$request_method $uri $status';
    access_log {dir}/access.log ids;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl; listen 127.0.0.1:{http2} http2;
        ssl_certificate {dir}/certificate.pem; ssl_certificate_key {dir}/key.pem;
        location / {{ return 200 'fine\\n'; }}
        location /gone/ {{ return 404; }}
        location /files/ {{ root {dir}; }}
    }}
}}
"""


def free_ports(count):
    """Loopback ports nobody listens on; all are held until all are known."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until_listening(port, child, seconds=60):
    """Returns once `port` accepts; ends the program if `child` dies or the time is over. A bare connection is no request."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port} (exit status {child.poll()})")


class Nginx:
    """A running nginx; a context manager that ends it gracefully, so that its log is complete."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.http, self.https, self.http2 = free_ports(3)
        self.certificate = self.folder / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", self.folder / "key.pem", "-out", self.certificate],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        config = self.folder / "nginx.conf"
        config.write_text(CONFIG.format(dir=self.folder, http=self.http, https=self.https, http2=self.http2))
        self.child = subprocess.Popen(["nginx", "-c", config, "-p", self.folder, "-e", self.folder / "error.log"])

    def __enter__(self):
        wait_until_listening(self.http, self.child)
        wait_until_listening(self.https, self.child)
        wait_until_listening(self.http2, self.child)
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGQUIT)
        self.child.wait(30)


def served(folder):
    """`METHOD PATH STATUS` of every request that nginx answered."""
    return (pathlib.Path(folder) / "access.log").read_text().splitlines()
