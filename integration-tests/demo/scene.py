"""The HTTP scene: nginx, a Python service that calls it, and a client that calls both. All are children of this process.

usage: scene.py FOLDER SECONDS
"""

import collections
import http.client
import pathlib
import re
import subprocess
import sys
import time

from nginx import Nginx, free_ports, served, wait_until_listening

ORDERS_A_SECOND = 3


def main(folder, seconds):
    with Nginx(folder) as nginx:
        [port] = free_ports(1)
        shop = subprocess.Popen([
            "/usr/bin/python3", pathlib.Path(__file__).with_name("shop.py"), str(port), f"http://127.0.0.1:{nginx.http}",
            f"https://127.0.0.1:{nginx.https}", nginx.certificate, folder / "shop.log"])
        try:
            wait_until_listening(port, shop)
            # one connection kept alive for all orders, as browsers do
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            for number in range(1, max(1, int(seconds * ORDERS_A_SECOND)) + 1):
                client.request("GET", f"/order/{number}")
                client.getresponse().read()
                subprocess.run(
                    ["curl", "-s", "-o", folder / "page", "--cacert", nginx.certificate, "--max-time", "20",
                     f"https://127.0.0.1:{nginx.https}/page/{number}"], check=True)
                time.sleep(1 / ORDERS_A_SECOND)
            client.close()
        finally:
            shop.terminate()
            shop.wait(30)


def counted(folder):
    """What the servers counted, for their own spans and for those of their clients."""
    nginx, shop = served(folder), (folder / "shop.log").read_text().splitlines()
    requests = collections.Counter(nginx + shop)
    return {"->": requests, "<-": requests}, f"nginx {len(nginx)}, Python {len(shop)}"


def labels(span):
    """The same words of a span."""
    if found := re.match(r"GET .*?(/[a-z]+/\d+)\b", span.rest):
        yield f"GET {found[1]} {span.status}"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), float(sys.argv[2]))
