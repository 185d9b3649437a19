//! Python's http.server and requests, plain and TLS: client and server in one interpreter each, the `ssl` module mapped long
//! after exec, threads that share a connection.

use std::time::Duration;

use sidelight_integration_tests::{
    daemon::Daemon,
    peers::{Certificate, free_port, listening},
    scene::Scene,
    serial,
    spans::{Kind, exchanges},
};

const LIMIT: Duration = Duration::from_secs(60);

const SERVER: &str = "
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = b'x' * (int(self.path.rsplit('/', 1)[1]) * 37 % 5000)
        self.send_response(404 if self.path.startswith('/missing') else 200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.do_GET()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";

const CLIENT: &str = "
import sys, requests
session = requests.Session()
import urllib3; urllib3.disable_warnings()
for i in range(100):
    path = ('/missing/%d' if i % 10 == 0 else '/got/%d') % i
    if i % 4 == 1:
        session.post(sys.argv[1] + path, data=b'p' * i * 100, verify=False)
    else:
        (requests.get(sys.argv[1] + path, verify=False) if i % 4 == 2 else session.get(sys.argv[1] + path, verify=False))
";

fn expected() -> Vec<String> {
    let mut all: Vec<String> = (0..100)
        .map(|i| {
            let method = if i % 4 == 1 { "POST" } else { "GET" };
            if i % 10 == 0 { format!("{method} /missing/{i} 404") } else { format!("{method} /got/{i} 200") }
        })
        .collect();
    all.sort();
    all
}

#[test]
fn requests_and_http_server_agree_plain_and_over_tls() {
    let _one = serial();
    for attach in ["socket", "syscall"] {
        for tls in [false, true] {
            let mut scene = Scene::new();
            let (server, client) = (scene.file("server.py", SERVER), scene.file("client.py", CLIENT));
            let port = free_port();
            let number = port.to_string();
            let certificate = Certificate::new(&scene);
            let mut argv = vec!["/usr/bin/python3", server.to_str().unwrap(), &number];
            if tls {
                argv.extend([certificate.certificate.to_str().unwrap(), certificate.key.to_str().unwrap()]);
            }
            let serving = scene.start(&argv);
            listening(port);
            let daemon = Daemon::watch(&scene, &["--attach", attach]);
            let base = format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" });
            scene.check(&["/usr/bin/python3", client.to_str().unwrap(), &base]);
            daemon.wait_for_spans(200, LIMIT);
            let stopped = daemon.stop();
            for kind in [Kind::Server, Kind::Client] {
                assert_eq!(
                    exchanges(&stopped.spans, kind),
                    expected(),
                    "{kind:?}, tls {tls}, {attach}\n{}",
                    stopped.stderr
                );
            }
            stopped.assert_nothing_lost();
            let service = |kind| stopped.spans.iter().find(|span| span.kind == kind).unwrap().service().to_owned();
            assert_eq!((service(Kind::Server).as_str(), service(Kind::Client).as_str()), ("server.py", "client.py"));
            scene.stop(&serving);
        }
    }
}

#[test]
fn one_thread_may_write_while_another_reads() {
    let _one = serial();
    let mut scene = Scene::new();
    let server = scene.file("server.py", SERVER);
    let client = scene.file(
        "client.py",
        "
import socket, sys, threading
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
turn = threading.Semaphore(1)
def write():
    for i in range(500):
        turn.acquire()
        s.sendall(b'GET /turn/%d HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' % i)
threading.Thread(target=write).start()
f = s.makefile('rb')
for i in range(500):
    length = 0
    while (line := f.readline()) != b'\\r\\n':
        if line.lower().startswith(b'content-length:'): length = int(line.split(b':')[1])
    f.read(length)
    turn.release()
",
    );
    let port = free_port();
    let number = port.to_string();
    let serving = scene.start(&["/usr/bin/python3", server.to_str().unwrap(), &number]);
    listening(port);
    let daemon = Daemon::watch(&scene, &[]);
    scene.check(&["/usr/bin/python3", client.to_str().unwrap(), &number]);
    daemon.wait_for_spans(1000, LIMIT);
    let stopped = daemon.stop();
    let mut all: Vec<String> = (0..500).map(|i| format!("GET /turn/{i} 200")).collect();
    all.sort();
    for kind in [Kind::Server, Kind::Client] {
        assert_eq!(exchanges(&stopped.spans, kind), all, "{kind:?}\n{}", stopped.stderr);
    }
    stopped.assert_nothing_lost();
    scene.stop(&serving);
}
