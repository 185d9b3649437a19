//! What is not selected is not looked at: counted in the kernel, not only in spans.

use std::time::Duration;

use sidelight_integration_tests::{
    daemon::Daemon,
    peers::{Nginx, listening},
    scene::Scene,
    serial,
    spans::{Kind, exchanges},
};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_process_outside_the_tree_gives_no_event_at_all() {
    let _one = serial();
    let (mut outside, inside) = (Scene::new(), Scene::new());
    let nginx = Nginx::start(&mut outside, "");
    let daemon = Daemon::watch(&inside, &[]);
    for url in [format!("http://127.0.0.1:{}/no", nginx.http), format!("https://127.0.0.1:{}/no", nginx.https)] {
        outside.check(&["curl", "-sk", &url]);
        outside.check(&["h2load", "--h1", "-n", "100", "-c", "4", &url]);
    }
    let stopped = daemon.stop();
    assert_eq!(stopped.ledger("events", "attempted"), 0, "{}", stopped.stderr);
    assert_eq!(stopped.ledger("bytes", "presented"), 0);
    assert!(stopped.spans.is_empty());
    nginx.stop(&mut outside);
}

#[test]
fn only_the_selected_side_of_a_connection_is_seen() {
    let _one = serial();
    let (mut server, mut client) = (Scene::new(), Scene::new());
    let nginx = Nginx::start(&mut server, "");
    for (scene, kind) in [(server.selector(), Kind::Server), (client.selector(), Kind::Client)] {
        let daemon = Daemon::start(&["run", "--only", &scene, "--output", "otlp-json"], &[]);
        client.check(&[
            "curl",
            "-sk",
            &format!("http://127.0.0.1:{}/a", nginx.http),
            &format!("https://127.0.0.1:{}/b", nginx.https),
        ]);
        daemon.wait_for_spans(2, LIMIT);
        let stopped = daemon.stop();
        assert_eq!(exchanges(&stopped.spans, kind), ["GET /a 200", "GET /b 200"]);
        assert_eq!(stopped.spans.len(), 2);
    }
    nginx.stop(&mut server);
}

#[test]
fn ports_select_connections_and_except_wins() {
    let _one = serial();
    let mut scene = Scene::new();
    let one = Nginx::start(&mut scene, "");
    let mut other_scene = Scene::new();
    let two = Nginx::start(&mut other_scene, "");
    let tree = scene.selector();
    let (port, https) = (format!("port:{}", one.http), format!("port:{}", one.https));
    let daemon =
        Daemon::start(&["run", "--only", &tree, "--only", &port, "--except", &https, "--output", "otlp-json"], &[]);
    let mut client = Scene::new();
    client.check(&["curl", "-s", &format!("http://127.0.0.1:{}/by-port", one.http)]);
    client.check(&["curl", "-s", &format!("http://127.0.0.1:{}/other", two.http)]);
    scene.check(&["curl", "-sk", &format!("https://127.0.0.1:{}/excepted", one.https)]);
    scene.check(&["curl", "-s", &format!("http://127.0.0.1:{}/by-tree", two.http)]);
    daemon.wait_for_spans(3, LIMIT);
    let stopped = daemon.stop();
    assert_eq!(exchanges(&stopped.spans, Kind::Client), ["GET /by-port 200", "GET /by-tree 200"], "{}", stopped.stderr);
    assert_eq!(exchanges(&stopped.spans, Kind::Server), ["GET /by-port 200"]);
    one.stop(&mut scene);
    two.stop(&mut other_scene);
}

#[test]
fn executables_are_selected_by_pattern_at_start_and_later() {
    let _one = serial();
    let mut scene = Scene::new();
    // A copy of curl under a name that nothing else on this machine has.
    let name = format!("curl-{}", std::process::id());
    let curl = scene.dir().join(&name);
    std::fs::copy("/usr/bin/curl", &curl).unwrap();
    let nginx = Nginx::start(&mut scene, "");
    let pattern = format!("exe:*/{name}");
    let daemon = Daemon::start(&["run", "--only", &pattern, "--output", "otlp-json"], &[]);
    listening(nginx.http);
    scene.check(&["curl", "-s", &format!("http://127.0.0.1:{}/other", nginx.http)]);
    scene.check(&[curl.to_str().unwrap(), "-s", &format!("http://127.0.0.1:{}/mine", nginx.http)]);
    daemon.wait_for_spans(1, LIMIT);
    let stopped = daemon.stop();
    assert_eq!(stopped.spans.len(), 1);
    assert_eq!(exchanges(&stopped.spans, Kind::Client), ["GET /mine 200"]);
    nginx.stop(&mut scene);
}
