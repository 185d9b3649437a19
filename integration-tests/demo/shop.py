"""The demo's Python service: each order asks nginx for the stock (HTTP) and the price (HTTPS).

usage: shop.py PORT HTTP_URL HTTPS_URL CERTIFICATE LOG
"""

import http.server
import ssl
import sys
import urllib.error
import urllib.request

PORT, HTTP, HTTPS, CERTIFICATE, LOG = sys.argv[1:]
TRUST = ssl.create_default_context(cafile=CERTIFICATE)


def ask(url):
    try:
        with urllib.request.urlopen(url, timeout=20, context=TRUST if url.startswith("https") else None) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        number = self.path.rsplit("/", 1)[1]
        # every tenth article does not exist
        stock, _ = ask(f"{HTTP}/{'gone' if number.endswith('0') else 'stock'}/{number}")
        ask(f"{HTTPS}/price/{number}")
        body = f"order {number}: {'out of stock' if stock == 404 else 'shipped'}\n".encode()
        self.send_response(404 if stock == 404 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        print(self.command, self.path, int(code), file=log, flush=True)


with open(LOG, "a", encoding="utf-8") as log:
    http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), Shop).serve_forever()
