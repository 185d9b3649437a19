//! nginx over HTTP and HTTPS, driven by h2load, ab and curl: the set of server spans is nginx's access log, the set of
//! client spans is what the clients sent.

use std::time::Duration;

use rustix::process::Signal;
use sidelight_integration_tests::{
    compare::{assert_same, log, room, scale, servers, urls},
    daemon::{Daemon, Stopped},
    peers::Nginx,
    scene::Scene,
    serial,
    spans::{Kind, Span, exchanges},
    wait_for,
};

const MECHANISMS: [&str; 2] = ["socket", "syscall"];
const LIMIT: Duration = Duration::from_secs(60);

/// Stops daemon and nginx and compares both sides with the log.
fn finish(mut scene: Scene, nginx: Nginx, daemon: Daemon, requests: usize) -> Stopped {
    nginx.wait_for_requests(requests);
    daemon.wait_for_spans(2 * requests, LIMIT);
    let stopped = daemon.stop();
    assert_same("server spans", &servers(&stopped.spans), &log(&nginx), &stopped);
    assert_same("client spans", &exchanges(&stopped.spans, Kind::Client), &nginx.exchanges(), &stopped);
    stopped.assert_nothing_lost();
    nginx.stop(&mut scene);
    stopped
}

fn h2load(connections: usize, requests: usize, tls: bool, attach: &str) {
    let requests = requests * scale();
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "");
    let room = room(&scene);
    let mut args = vec!["--attach", attach];
    args.extend(room.iter().map(String::as_str));
    let daemon = Daemon::watch(&scene, &args);
    let base =
        if tls { format!("https://127.0.0.1:{}", nginx.https) } else { format!("http://127.0.0.1:{}", nginx.http) };
    let list = urls(&scene, &base, requests / connections);
    let (n, c) = (requests.to_string(), connections.to_string());
    let report = scene.check(&["h2load", "--h1", "-n", &n, "-c", &c, "-i", &list]);
    assert!(report.contains(&format!("{requests} succeeded")), "{report}");
    finish(scene, nginx, daemon, requests);
}

#[test]
fn every_keep_alive_request_over_http_is_two_spans() {
    let _one = serial();
    for attach in MECHANISMS {
        for (connections, requests) in [(1, 200), (8, 400), (64, 1408)] {
            h2load(connections, requests, false, attach);
        }
    }
}

#[test]
fn every_keep_alive_request_over_https_is_two_spans() {
    let _one = serial();
    for attach in MECHANISMS {
        for (connections, requests) in [(1, 200), (64, 1792)] {
            h2load(connections, requests, true, attach);
        }
    }
}

#[test]
fn every_connection_that_ab_closes_is_one_request() {
    let _one = serial();
    for attach in MECHANISMS {
        for tls in [false, true] {
            let mut scene = Scene::new();
            let nginx = Nginx::start(&mut scene, "");
            let daemon = Daemon::watch(&scene, &["--attach", attach]);
            let url = if tls {
                format!("https://127.0.0.1:{}/ab/one", nginx.https)
            } else {
                format!("http://127.0.0.1:{}/ab/one", nginx.http)
            };
            scene.check(&["ab", "-q", "-n", "500", "-c", "8", &url]);
            finish(scene, nginx, daemon, 500);
        }
    }
}

#[test]
fn methods_statuses_and_bodies_of_curl_are_right() {
    let _one = serial();
    for attach in MECHANISMS {
        let mut scene = Scene::new();
        let nginx = Nginx::start(&mut scene, "location /upload { proxy_pass http://127.0.0.1:$server_port/sink; }");
        let daemon = Daemon::watch(&scene, &["--attach", attach]);
        let (http, https) = (format!("http://127.0.0.1:{}", nginx.http), format!("https://127.0.0.1:{}", nginx.https));
        let body = scene.file("upload", &"b".repeat(3_000_000)).display().to_string();
        let data = format!("@{body}");
        for base in [&http, &https] {
            for (id, more) in [
                ("plain", &["-X", "GET"][..]),
                ("head", &["-I"]),
                ("post", &["-d", "a=1"]),
                ("put", &["-T", &body]),
                ("chunked", &["-H", "Transfer-Encoding: chunked", "--data-binary", &data]),
                ("expect", &["-H", "Expect: 100-continue", "--data-binary", &data]),
                ("delete", &["-X", "DELETE"]),
                ("close", &["-H", "Connection: close"]),
                ("http10", &["--http1.0"]),
            ] {
                let url = format!("{base}/{id}");
                let mut argv = vec!["curl", "-sk", "--http1.1", "-o", "/dev/null", &url];
                argv.extend_from_slice(more);
                scene.check(&argv);
            }
            for path in ["status/404/a", "status/500/b", "status/503/c", "none/d", "file", "query?token=1&sig=secret"] {
                scene.check(&["curl", "-sk", "-o", "/dev/null", &format!("{base}/{path}")]);
            }
        }
        let stopped = finish(scene, nginx, daemon, 30);
        let find = |path: &str, kind: Kind| {
            stopped
                .spans
                .iter()
                .find(|span| span.kind == kind && span.path() == path)
                .unwrap_or_else(|| panic!("{path}"))
        };
        assert_eq!(find("/put", Kind::Client).get("http.request.body.size"), "3000000");
        assert_eq!(find("/file", Kind::Server).get("http.response.body.size"), "612", "sendfile counts by length");
        assert_eq!(find("/status/404/a", Kind::Server).status, 0, "a server's 404 is no error");
        assert_eq!(find("/status/404/a", Kind::Client).status, 2);
        assert_eq!(find("/status/500/b", Kind::Server).get("error.type"), "500");
        assert!(find("/query", Kind::Client).get("url.full").ends_with("/query?token=1&sig=REDACTED"));
        assert_eq!(find("/query", Kind::Server).get("url.query"), "token=1&sig=REDACTED");
    }
}

#[test]
fn pipelined_requests_are_paired_in_order() {
    let _one = serial();
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "");
    let daemon = Daemon::watch(&scene, &[]);
    let script = format!(
        "import socket
s = socket.create_connection(('127.0.0.1', {}))
paths = ['/status/404/%d' % i if i % 3 == 0 else '/pipe/%d' % i for i in range(60)]
s.sendall(b''.join(b'GET %s HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n' % p.encode() for p in paths))
s.shutdown(socket.SHUT_WR)
while s.recv(100): pass
s.close()",
        nginx.http
    );
    scene.check(&["/usr/bin/python3", "-c", &script]);
    finish(scene, nginx, daemon, 60);
}

#[test]
fn a_request_whose_client_gave_up_is_a_span_without_status() {
    let _one = serial();
    for attach in MECHANISMS {
        let mut scene = Scene::new();
        let nginx = Nginx::start(&mut scene, "location /given/ { proxy_pass http://127.0.0.1:$server_port/sink; }");
        let daemon = Daemon::watch(&scene, &["--attach", attach]);
        let script = format!(
            "import socket
s = socket.create_connection(('127.0.0.1', {}))
s.sendall(b'GET /given/up HTTP/1.1\\r\\nHost: localhost\\r\\n')
s.sendall(b'X-Long: ' + b'x' * 100 + b'\\r\\nContent-Length: 10\\r\\n\\r\\nabc')
s.close()",
            nginx.http
        );
        scene.check(&["/usr/bin/python3", "-c", &script]);
        daemon.wait_for_spans(2, LIMIT);
        let stopped = daemon.stop();
        for kind in [Kind::Server, Kind::Client] {
            assert_eq!(exchanges(&stopped.spans, kind), ["GET /given/up "], "{kind:?} {}", stopped.stderr);
        }
        assert_eq!(stopped.ledger("exchanges", "incomplete"), 2);
        nginx.stop(&mut scene);
    }
}

#[test]
fn a_request_that_is_never_answered_lasts_until_its_client_gives_up() {
    const PATIENCE: &str = "0.4";
    let _one = serial();
    for attach in MECHANISMS {
        let mut scene = Scene::new();
        let daemon = Daemon::watch(&scene, &["--attach", attach]);
        let script = format!(
            "import socket, http.client
silent = socket.create_server(('127.0.0.1', 0))
client = http.client.HTTPConnection(*silent.getsockname(), timeout={PATIENCE})
client.request('GET', '/silence')
server, _ = silent.accept()
server.recv(1000)
try: client.getresponse()
except TimeoutError: client.close()
server.recv(1000)
server.close()"
        );
        scene.check(&["/usr/bin/python3", "-c", &script]);
        daemon.wait_for_spans(2, LIMIT);
        let stopped = daemon.stop();
        for kind in [Kind::Server, Kind::Client] {
            assert_eq!(exchanges(&stopped.spans, kind), ["GET /silence "], "{kind:?} {}", stopped.stderr);
        }
        for span in &stopped.spans {
            let lasted = span.end - span.start;
            assert!((400_000_000..2_000_000_000).contains(&lasted), "{lasted} ns: {span:?}");
        }
    }
}

#[test]
fn a_daemon_that_comes_and_goes_under_load_disturbs_nobody_and_joins_open_connections() {
    let _one = serial();
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "");
    let script = scene.file(
        "load.py",
        "import http.client, ssl, sys
plain = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))
tls = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[2]), context=ssl._create_unverified_context())
n = 0
import signal
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
while not stop:
    for c in (plain, tls):
        c.request('GET', '/load/%d' % n)
        r = c.getresponse(); r.read()
        assert r.status == 200
        n += 1
        print(n, flush=True)
",
    );
    let (http, https) = (nginx.http.to_string(), nginx.https.to_string());
    let load = scene.start(&["/usr/bin/python3", script.to_str().unwrap(), &http, &https]);
    let progress = |by: usize| {
        let start = load.stdout().lines().count();
        wait_for("the load to go on", LIMIT, || (load.stdout().lines().count() >= start + by).then_some(()));
    };
    progress(20);
    for round in 0..3 {
        let daemon = Daemon::watch(&scene, &[]);
        let before = load.stdout().lines().count();
        progress(100);
        daemon.wait_for_spans(100, LIMIT);
        let after = load.stdout().lines().count();
        let stopped = if round == 1 { daemon.kill() } else { daemon.stop() };
        let paths: Vec<&str> = stopped.spans.iter().map(Span::path).collect();
        // Requests that began after `ready` and were answered before the stop. A kill may cost what was not written yet.
        let sure = if round == 1 { before } else { after };
        for id in before + 2..sure.saturating_sub(4) {
            let path = format!("/load/{id}");
            let count = paths.iter().filter(|one| **one == path).count();
            assert_eq!(count, 2, "spans of {path} (round {round}, {before}..{after})\n{}", stopped.stderr);
        }
        for span in &stopped.spans {
            assert!(["200", ""].contains(&span.get("http.response.status_code")), "{span:?}");
        }
        progress(20);
    }
    load.signal(Signal::TERM);
    let done = scene.wait(&load);
    assert_eq!(done.code, 0, "a request failed: {}", done.stderr);
    nginx.stop(&mut scene);
}
