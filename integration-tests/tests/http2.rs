//! HTTP/2 by nginx, Caddy and h2o, driven by h2load, curl and frames written by hand: server spans are the access log, client spans
//! what the clients sent.

use std::{fs, time::Duration};

use sidelight_events::DataHeader;
use sidelight_integration_tests::{
    compare::{assert_same, log, room, scale, servers, urls},
    daemon::{Daemon, Stopped},
    peers::{Nginx, free_port, listening},
    scene::Scene,
    serial,
    spans::{Kind, Span, exchanges},
    wait_for,
};

const MECHANISMS: [&str; 2] = ["socket", "syscall"];
/// Where nginx sends what has a body, by HTTP/1: only for that it reads bodies to their end.
const HOP: &str = "/hop";
const LIMIT: Duration = Duration::from_secs(20);

/// nginx 1.22 speaks HTTP/2 on a port of its own, in plain text to those that know it beforehand; over TLS by ALPN.
struct Server {
    nginx: Nginx,
    plain: String,
    tls: String,
}

impl Server {
    fn start(scene: &mut Scene, more: &str) -> Self {
        let (plain, tls, hop) = (free_port(), free_port(), free_port());
        let nginx = Nginx::start(
            scene,
            &format!(
                "listen 127.0.0.1:{plain} http2 reuseport; listen 127.0.0.1:{tls} ssl http2 reuseport;
                 listen 127.0.0.1:{hop}; location /body/ {{ proxy_pass http://127.0.0.1:{hop}{HOP}; }} {more}"
            ),
        );
        Self { nginx, plain: format!("http://127.0.0.1:{plain}"), tls: format!("https://127.0.0.1:{tls}") }
    }

    /// Stops daemon and nginx and compares both sides with the log.
    fn finish(self, mut scene: Scene, daemon: Daemon, requests: usize) -> Stopped {
        self.nginx.wait_for_requests(requests);
        daemon.wait_for_spans(2 * requests, LIMIT);
        let stopped = daemon.stop();
        assert_same("server spans", &servers(&stopped.spans), &log(&self.nginx), &stopped);
        assert_same("client spans", &exchanges(&stopped.spans, Kind::Client), &self.nginx.exchanges(), &stopped);
        stopped.assert_nothing_lost();
        for span in stopped.spans.iter().filter(|span| !span.exchange().contains(HOP)) {
            assert_eq!(span.get("network.protocol.version"), "2", "{span:?}");
        }
        self.nginx.stop(&mut scene);
        stopped
    }
}

/// h2load with 100 streams a connection, each URL with an id of its own.
fn h2load(scene: &mut Scene, base: &str, connections: usize, requests: usize) {
    let list = urls(scene, base, requests / connections);
    let (n, c) = (requests.to_string(), connections.to_string());
    let report = scene.check(&["h2load", "-n", &n, "-c", &c, "-m", "100", "-i", &list]);
    assert!(report.contains(&format!("{requests} done")), "{report}");
    assert!(report.contains(" 0 errored, 0 timeout"), "{report}");
}

fn watch(scene: &Scene, attach: &str) -> Daemon {
    let room = room(scene);
    let mut args = vec!["--attach", attach];
    args.extend(room.iter().map(String::as_str));
    Daemon::watch(scene, &args)
}

fn hundred_streams(tls: bool) {
    let _one = serial();
    for attach in MECHANISMS {
        for connections in [1, 10] {
            let requests = 2000 * scale();
            let mut scene = Scene::new();
            let server = Server::start(&mut scene, "");
            let daemon = watch(&scene, attach);
            h2load(&mut scene, if tls { &server.tls } else { &server.plain }, connections, requests);
            server.finish(scene, daemon, requests);
        }
    }
}

#[test]
fn every_one_of_a_hundred_streams_is_two_spans() {
    hundred_streams(false);
}

#[test]
fn every_one_of_a_hundred_streams_over_tls_is_two_spans() {
    hundred_streams(true);
}

/// `METHOD PATH STATUS` lines, sorted, twice: as servers and as clients.
fn assert_both(stopped: &Stopped, mut expected: Vec<String>) {
    expected.sort();
    for kind in [Kind::Server, Kind::Client] {
        assert_same(&format!("{kind:?} spans"), &exchanges(&stopped.spans, kind), &expected, stopped);
    }
}

/// Waits until an access log has so many lines, and gives them.
fn lines(path: &std::path::Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait_for(&format!("{count} lines in {}", path.display()), LIMIT, || {
        (read().lines().count() >= count).then_some(())
    });
    read().lines().map(str::to_owned).collect()
}

#[test]
fn caddy_and_h2load_agree() {
    let _one = serial();
    let requests = 2000 * scale();
    let mut scene = Scene::new();
    let port = free_port();
    let dir = scene.dir().display().to_string();
    let config = scene.file(
        "Caddyfile",
        &format!(
            "{{\n admin off\n auto_https off\n storage file_system {dir}\n servers {{\n  protocols h1 h2c\n }}\n}}\n\
             http://127.0.0.1:{port} {{\n log {{\n  output file {dir}/access\n }}\n respond \"hello\"\n}}\n"
        ),
    );
    let caddy = scene.start(&["caddy", "run", "--config", config.to_str().unwrap(), "--adapter", "caddyfile"]);
    listening(port);
    let daemon = watch(&scene, "socket");
    h2load(&mut scene, &format!("http://127.0.0.1:{port}"), 2, requests);
    let expected = lines(&scene.dir().join("access"), requests)
        .iter()
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let text = |key: &str| json["request"][key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("method"), text("uri"), json["status"])
        })
        .collect();
    daemon.wait_for_spans(2 * requests, LIMIT);
    let stopped = daemon.stop();
    assert_both(&stopped, expected);
    stopped.assert_nothing_lost();
    scene.stop(&caddy);
}

/// h2o with `/` and `/file.html`; everything else is not found.
fn h2o(scene: &mut Scene) -> (String, std::path::PathBuf) {
    let port = free_port();
    let dir = scene.dir().display().to_string();
    fs::create_dir_all(scene.dir().join("h2o")).expect("a folder");
    scene.file("h2o/index.html", "hello\n");
    let config = scene.file(
        "h2o.conf",
        &format!(
            "user: root\nnum-threads: 2\npid-file: {dir}/pid\nerror-log: {dir}/error\n\
             access-log:\n  path: {dir}/access\n  format: \"%m %U %s\"\n\
             listen:\n  host: 127.0.0.1\n  port: {port}\nhosts:\n  default:\n    paths:\n      /:\n        file.dir: {dir}/h2o\n"
        ),
    );
    scene.start(&["h2o", "-c", &config.display().to_string()]);
    listening(port);
    (format!("http://127.0.0.1:{port}"), scene.dir().join("access"))
}

#[test]
fn h2o_and_h2load_agree() {
    let _one = serial();
    let requests = 2000 * scale();
    let mut scene = Scene::new();
    let (base, access) = h2o(&mut scene);
    let daemon = watch(&scene, "socket");
    h2load(&mut scene, &base, 2, requests);
    let expected = lines(&access, requests);
    daemon.wait_for_spans(2 * requests, LIMIT);
    let stopped = daemon.stop();
    assert_both(&stopped, expected);
    stopped.assert_nothing_lost();
}

#[test]
fn a_connection_upgraded_to_http2_keeps_its_first_request() {
    let _one = serial();
    for attach in MECHANISMS {
        let mut scene = Scene::new();
        let (base, access) = h2o(&mut scene);
        let daemon = watch(&scene, attach);
        // Each run is one connection: the first request asks for the upgrade, the others are streams 3, 5, ...
        for run in 0..10 {
            let urls: Vec<String> =
                (0..4).map(|id| format!("{base}/up/{run}/{id}")).chain([format!("{base}/")]).collect();
            let mut argv = vec!["curl".to_owned(), "-s".to_owned(), "--http2".to_owned()];
            argv.extend(urls.iter().flat_map(|url| ["-o".to_owned(), "/dev/null".to_owned(), url.clone()]));
            scene.check(&argv);
        }
        let expected = lines(&access, 50);
        daemon.wait_for_spans(100, LIMIT);
        let stopped = daemon.stop();
        assert_both(&stopped, expected);
        stopped.assert_nothing_lost();
    }
}

/// Of DATA only the beginning of each frame goes through the ring.
#[test]
fn a_large_download_is_passed_over() {
    const SIZE: usize = 20_000_000;
    let _one = serial();
    for attach in MECHANISMS {
        let mut scene = Scene::new();
        let server = Server::start(&mut scene, "location /large.bin { }");
        scene.file("www/large.bin", &"l".repeat(SIZE));
        let daemon = Daemon::watch(&scene, &["--attach", attach]);
        let url = format!("{}/large.bin", server.plain);
        scene.check(&["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", &url]);
        scene.check(&["h2load", "-n", "4", "-c", "1", "-m", "2", &url]);
        let stopped = server.finish(scene, daemon, 5);
        for span in &stopped.spans {
            assert_eq!(span.get("http.response.body.size"), SIZE.to_string(), "{span:?}");
        }
        let bytes = |entry| stopped.ledger("bytes", entry);
        let (presented, parsed, records) = (bytes("presented"), bytes("parsed"), stopped.ledger("events", "read"));
        println!("{attach}: {presented} bytes, {parsed} of them copied, {records} records");
        assert!(presented > 2 * 5 * SIZE as u64, "{}", stopped.stderr);
        // A call of up to 4 KiB is copied whole, as are such frames.
        assert!(parsed + records * size_of::<DataHeader>() as u64 <= presented / 30, "{}", stopped.stderr);
        assert_eq!(bytes("truncated"), 0, "{}", stopped.stderr);
    }
}

#[test]
fn methods_statuses_and_bodies_of_curl_are_right() {
    let _one = serial();
    for attach in MECHANISMS {
        let mut scene = Scene::new();
        let server = Server::start(&mut scene, "location /large.html { }");
        let (up, down) = (100_000, 1_000_000);
        scene.file("www/large.html", &"l".repeat(down));
        let daemon = Daemon::watch(&scene, &["--attach", attach]);
        let body = scene.file("put", &"b".repeat(up)).display().to_string();
        let data = format!("@{body}");
        // nginx compares for equality: curl sends the file's own time
        let unchanged = scene.dir().join("www/file.html").display().to_string();
        for (base, how) in [(&server.plain, "--http2-prior-knowledge"), (&server.tls, "--http2")] {
            let mut curl = |path: &str, more: &[&str]| {
                let url = format!("{base}/{path}");
                let mut argv = vec!["curl", "-sk", how, "-o", "/dev/null", &url];
                argv.extend_from_slice(more);
                scene.check(&argv);
            };
            curl("plain", &[]);
            curl("head", &["-I"]);
            curl("body/post", &["-d", "a=1"]);
            curl("body/put", &["-T", &body]);
            curl("body/unsized", &["-X", "POST", "-H", "Content-Length:", "--data-binary", &data]);
            curl("delete", &["-X", "DELETE"]);
            curl("file", &["-z", &unchanged]);
            curl("large.html", &[]);
            for path in ["status/404/a", "status/500/b", "status/503/c", "none/d", "file", "query?token=1&sig=secret"] {
                curl(path, &[]);
            }
            if how == "--http2" {
                // several requests on one connection
                curl("many/[1-20]", &[]);
            } else {
                // curl 7.88 and nginx 1.22 disagree about a second request without TLS (exit 16)
                (1..=20).for_each(|n| curl(&format!("many/{n}"), &[]));
            }
        }
        let stopped = server.finish(scene, daemon, 74);
        let find = |what: &str, kind: Kind| -> Vec<&Span> {
            let all: Vec<_> =
                stopped.spans.iter().filter(|span| span.kind == kind && span.exchange().contains(what)).collect();
            assert_eq!(all.len(), 2, "{what}: plain and TLS");
            all
        };
        for kind in [Kind::Server, Kind::Client] {
            for span in find("GET /file 200", kind) {
                assert_eq!(span.get("http.response.body.size"), "612", "{span:?}");
            }
            for span in find("PUT /body/put", kind) {
                assert_eq!(span.get("http.request.body.size"), up.to_string(), "{span:?}");
            }
            for span in find("/large.html", kind) {
                assert_eq!(span.get("http.response.body.size"), down.to_string(), "{span:?}");
            }
            for what in ["HEAD /head 200", "GET /none/d 204", "GET /file 304"] {
                for span in find(what, kind) {
                    assert!(["", "0"].contains(&span.get("http.response.body.size")), "{span:?}");
                }
            }
            for span in find("/status/500/", kind) {
                assert_eq!(span.get("error.type"), "500", "{span:?}");
            }
        }
        for span in find("/status/404/", Kind::Server) {
            assert_eq!(span.status, 0, "a server's 404 is no error: {span:?}");
        }
        for span in find("/query", Kind::Client) {
            assert!(span.get("url.full").ends_with("/query?token=1&sig=REDACTED"), "{span:?}");
        }
    }
}

/// A client that writes its frames itself: what no usual client sends.
const FRAMES: &str = r#"
import socket, struct, sys
def frame(kind, flags, stream, payload=b''):
    return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload
def text(value):
    return bytes([len(value)]) + value
def head(method, path, *more, index=0):
    fields = [(b':method', method), (b':scheme', b'http'), (b':authority', b'localhost'), (b':path', path), *more]
    return b''.join(bytes([index]) + text(name) + text(value) for name, value in fields)
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 1, 1, 4, 8, 32
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(SETTINGS, 0, 0))
buffer = b''
def answers(*streams):
    """Reads until these streams have ended."""
    global buffer
    left = set(streams)
    while left:
        while len(buffer) < 9 or len(buffer) < 9 + int.from_bytes(buffer[:3], 'big'):
            more = s.recv(65536)
            assert more, f'closed, {left} open'
            buffer += more
        length = int.from_bytes(buffer[:3], 'big')
        kind, flags, stream = buffer[3], buffer[4], int.from_bytes(buffer[5:9], 'big')
        if kind == SETTINGS and not flags & ACK: s.sendall(frame(SETTINGS, ACK, 0))
        assert kind != GOAWAY, buffer[:9 + length]
        if kind == RST or kind in (DATA, HEADERS) and flags & END_STREAM: left.discard(stream)
        buffer = buffer[9 + length:]
# a head in four parts, the last empty; unknown frames and a ping before it
block = head(b'GET', b'/continued')
s.sendall(frame(0x42, 0xff, 0, b'unknown') + frame(PING, 0, 0, b'12345678'))
s.sendall(frame(HEADERS, END_STREAM, 1, block[:7]) + frame(CONTINUATION, 0, 1, block[7:30]))
s.sendall(frame(CONTINUATION, 0, 1, block[30:]) + frame(CONTINUATION, END_HEADERS, 1))
answers(1)
# padding and priority in the head, padded data
block = head(b'POST', b'/padded')
s.sendall(frame(HEADERS, END_HEADERS | PADDED | PRIORITISED, 3, b'\x05' + b'\0\0\0\0\x10' + block + bytes(5)))
s.sendall(frame(DATA, PADDED, 3, b'\x0a' + b'x' * 20 + bytes(10)) + frame(PRIORITY, 0, 5, b'\0\0\0\0\x20'))
s.sendall(frame(DATA, END_STREAM, 3))
answers(3)
# a head into the dynamic table, then two requests that are nothing but indices, in one write with a byte-wise one
s.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 5, head(b'GET', b'/indexed', index=0x40)))
answers(5)
indices = bytes([0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62])
for byte in frame(HEADERS, END_STREAM | END_HEADERS, 7, indices): s.sendall(bytes([byte]))
s.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 9, indices))
answers(7, 9)
# the table is emptied and shrunk
s.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 11, b'\x20' + head(b'GET', b'/emptied')))
answers(11)
# an upload given up
s.sendall(frame(HEADERS, END_HEADERS, 13, head(b'POST', b'/given/up', (b'content-length', b'1000'))) + frame(DATA, 0, 13, b'abc'))
s.sendall(frame(RST, 0, 13, b'\0\0\0\x08'))
s.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 15, head(b'GET', b'/after')))
answers(15)
s.close()
"#;

#[test]
fn frames_that_usual_clients_do_not_send_are_understood() {
    let _one = serial();
    for attach in MECHANISMS {
        let mut scene = Scene::new();
        let server = Server::start(&mut scene, "location /given/ { proxy_pass http://127.0.0.1:$server_port; }");
        let daemon = Daemon::watch(&scene, &["--attach", attach]);
        let port = server.plain.rsplit(':').next().unwrap_or_default().to_owned();
        scene.check(&["/usr/bin/python3", "-c", FRAMES, &port]);
        daemon.wait_for_spans(16, LIMIT);
        let stopped = daemon.stop();
        let mut expected: Vec<String> = ["continued", "indexed", "indexed", "indexed", "emptied", "after"]
            .iter()
            .map(|path| format!("GET /{path} 200"))
            .collect();
        expected.extend(["POST /padded 200".to_owned(), "POST /given/up ".to_owned()]);
        assert_both(&stopped, expected);
        let padded = stopped.spans.iter().filter(|span| span.path() == "/padded");
        // nginx does not wait for the body: where its answer is whole first, the size is not known.
        assert!(
            padded.into_iter().all(|span| ["", "20"].contains(&span.get("http.request.body.size"))),
            "padding is no body"
        );
        let mut scene = scene;
        server.nginx.stop(&mut scene);
    }
}

#[test]
fn a_client_that_gives_up_leaves_a_span_without_status_and_nothing_else() {
    let _one = serial();
    let mut scene = Scene::new();
    let server = Server::start(&mut scene, "location /slow.html { limit_rate 20k; }");
    scene.file("www/slow.html", &"s".repeat(1_000_000));
    let daemon = Daemon::watch(&scene, &[]);
    // nginx sends what it may each second. The answer has begun, so its status is known; its body has no size
    let gone = scene.run(&[
        "curl",
        "-s",
        "--http2-prior-knowledge",
        "--max-time",
        "1.6",
        "-o",
        "/dev/null",
        &format!("{}/slow.html", server.plain),
    ]);
    assert_eq!(gone.code, 28, "{gone:?}");
    scene.check(&["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", &format!("{}/then", server.plain)]);
    daemon.wait_for_spans(4, LIMIT);
    let stopped = daemon.stop();
    assert_both(&stopped, vec!["GET /slow.html 200".to_owned(), "GET /then 200".to_owned()]);
    for span in stopped.spans.iter().filter(|span| span.path() == "/slow.html") {
        assert_eq!(span.get("http.response.body.size"), "", "{span:?}");
        let lasted = Duration::from_nanos(span.end - span.start);
        assert!(lasted > Duration::from_millis(500), "{lasted:?} {span:?}");
    }
    server.nginx.stop(&mut scene);
}
