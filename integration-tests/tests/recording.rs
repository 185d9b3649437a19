//! What a run recorded is replayed as it was seen live.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use sidelight_integration_tests::{
    daemon::{Daemon, binary},
    peers::Nginx,
    scene::Scene,
    serial,
    spans::{self, Kind, Span, exchanges},
};

/// Pipelines requests, then writes and reads on two threads.
const CLIENT: &str = include_str!("../../collector/tests/recordings/client.py");

/// Everything but the ids, which are drawn anew, and the node, which a replay does not know.
fn told(spans: &[Span]) -> Vec<String> {
    let one = |span: &Span| {
        let Span { name, kind, start, end, status, attributes, .. } = span;
        let pid = span.resource.get("process.pid");
        format!("{start} {end} {kind:?} {name} {status} {} {pid:?} {attributes:?}", span.service())
    };
    let mut all: Vec<_> = spans.iter().map(one).collect();
    all.sort();
    all
}

#[test]
fn a_recording_replays_to_the_spans_of_the_run() {
    let _one = serial();
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "location /gone/ { return 404; }");
    let client = scene.file("client.py", CLIENT).display().to_string();
    let file = scene.dir().join("run.rec");
    let daemon = Daemon::watch(&scene, &["--record", file.to_str().unwrap()]);
    let port = nginx.http.to_string();
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("http://127.0.0.1:{port}/plain/[1-20]")]);
    scene.check(&["curl", "-sk", "-o", "/dev/null", &format!("https://127.0.0.1:{}/secure/[1-20]", nginx.https)]);
    scene.check(&["/usr/bin/python3", &client, &port]);
    nginx.wait_for_requests(70);
    daemon.wait_for_spans(140, Duration::from_secs(30));
    let stopped = daemon.stop();
    stopped.assert_nothing_lost();
    for kind in [Kind::Server, Kind::Client] {
        assert_eq!(exchanges(&stopped.spans, kind), nginx.exchanges(), "{kind:?}\n{}", stopped.stderr);
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "it holds traffic");

    let done = Command::new(binary()).arg("replay").arg(&file).args(["--output", "otlp-json"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{stderr}");
    assert_eq!(told(&spans::parse(&String::from_utf8_lossy(&done.stdout))), told(&stopped.spans), "{stderr}");
    nginx.stop(&mut scene);
}
