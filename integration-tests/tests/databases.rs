//! What the database family adds to an export: metrics of both sides, and what the operator leaves out. Redis stands for all.

#![expect(clippy::unwrap_used, reason = "tests panic")]

use std::collections::{BTreeMap, BTreeSet};

use sidelight_integration_tests::{
    daemon::{Daemon, Stopped},
    otlp_sink::{Protocol, Sink},
    peers::{free_port, listening},
    points::{attributes, count, health, last_points},
    scene::Scene,
    serial,
    spans::Kind,
};

/// What must never leave the machine.
const SECRET: &str = "4711-hidden";

/// Commands, and how often each is sent.
const COMMANDS: [(&str, &[&str], usize); 4] = [
    ("SET", &["user:1", SECRET], 5),
    ("GET", &["user:1"], 7),
    ("INCR", &["user:1"], 2),
    ("LPUSH", &["queue", "a", "b"], 3),
];
const SENT: usize = 17;

/// Watches a Redis server and its clients with this configuration.
fn watch(sink: &Sink, config: &str) -> Stopped {
    let mut scene = Scene::new();
    let config = scene.file("sidelight.yaml", config).display().to_string();
    let port = free_port().to_string();
    let server = scene.start(&["redis-server", "--port", &port, "--bind", "127.0.0.1", "--save", ""]);
    listening(port.parse().unwrap());
    let daemon = Daemon::start(
        &["run", "--config", &config, "--only", &scene.selector()],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ],
    );
    for (command, words, times) in COMMANDS {
        for _ in 0..times {
            let all = [&["redis-cli", "-h", "127.0.0.1", "-p", &port, command], words].concat();
            scene.check(&all);
        }
    }
    let stopped = daemon.stop();
    scene.stop(&server);
    stopped.assert_nothing_lost();
    assert!(!format!("{:?}", sink.requests()).contains(SECRET), "a value left");
    stopped
}

/// How often each `operation error` was measured.
fn measured(sink: &Sink, metric: &str) -> BTreeMap<String, u64> {
    let mut measured = BTreeMap::new();
    for (_, point) in last_points(&[sink], metric) {
        let attributes = attributes(&point.attributes);
        assert_eq!(attributes["db.system.name"], "redis");
        assert!(!attributes.contains_key("db.query.text"), "{attributes:?}");
        let error = attributes.get("error.type").map_or("", String::as_str);
        *measured.entry(format!("{} {error}", attributes["db.operation.name"])).or_default() += point.count;
    }
    measured
}

#[test]
fn both_sides_of_a_database_are_measured_and_no_value_leaves() {
    let _one = serial();
    let sink = Sink::start(Protocol::Http);
    let stopped = watch(&sink, "");
    // Debian's redis-server is a link to redis-check-rdb.
    let services: BTreeSet<String> = sink.values().iter().map(|span| span.service().to_owned()).collect();
    assert_eq!(services, BTreeSet::from(["redis-cli".to_owned(), "redis-server".to_owned()]));
    let expected = COMMANDS.map(|(command, _, times)| {
        // a text is no number to count up
        let error = if command == "INCR" { "ERR" } else { "" };
        (format!("{command} {error}"), times as u64)
    });
    for metric in ["db.client.operation.duration", "db.server.operation.duration"] {
        assert_eq!(measured(&sink, metric), BTreeMap::from(expected.clone()), "{metric}\n{}", stopped.stderr);
    }
    for kind in [Kind::Client, Kind::Server] {
        let spans: Vec<_> = sink.values().into_iter().filter(|span| span.kind == kind).collect();
        assert_eq!(spans.len(), SENT);
        for span in spans {
            let words = span.get("db.query.text").split(' ').collect::<Vec<_>>();
            assert!(span.name.starts_with(words[0]) && span.get("db.operation.name") == words[0], "{span:?}");
            assert_eq!(span.get("error.type"), if words[0] == "INCR" { "ERR" } else { "" }, "{span:?}");
        }
    }
}

#[test]
fn query_texts_and_the_databases_own_side_can_be_left_out() {
    let _one = serial();
    let sink = Sink::start(Protocol::Http);
    watch(&sink, "database:\n  query_text: false\n  server_side: false\n");
    let spans = sink.values();
    assert_eq!(spans.len(), SENT);
    for span in &spans {
        assert_eq!((span.kind, span.get("db.query.text")), (Kind::Client, ""), "{span:?}");
        assert_eq!(span.get("db.system.name"), "redis");
    }
    assert_eq!(count(&[&sink], "db.client.operation.duration"), SENT);
    assert_eq!(count(&[&sink], "db.server.operation.duration"), 0);
    assert_eq!(health(&[&sink])["sidelight.exchanges.left_out"], SENT as i64);
}
