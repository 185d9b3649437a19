//! The daemon beside an OTLP end point: what arrives is what was requested, once, under the right resource; its own export is
//! never seen.

#![expect(clippy::unwrap_used, reason = "tests panic")]

use std::{collections::BTreeSet, fs};

use sidelight_integration_tests::{
    daemon::{Daemon, Stopped},
    otlp_sink::{Message, Protocol, Reply, Sink},
    peers::Nginx,
    points::{attributes, count, health, last_points},
    scene::Scene,
    serial,
    spans::{Kind, Span, exchanges},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const INTERVAL: (&str, &str) = ("OTEL_METRIC_EXPORT_INTERVAL", "500");

/// Requests of every sort; gives how many there are. Those below `/silent/` belong to a trace that is not sampled.
fn traffic(scene: &mut Scene, nginx: &Nginx) -> usize {
    let (http, https) = (format!("http://127.0.0.1:{}", nginx.http), format!("https://127.0.0.1:{}", nginx.https));
    let parent = |flags: &str| format!("traceparent: 00-{TRACE}-{PARENT}-{flags}");
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("{http}/plain/[1-20]")]);
    scene.check(&["curl", "-sk", "-o", "/dev/null", &format!("{https}/secure/[1-20]")]);
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("{http}/status/404/x"), &format!("{http}/status/500/y")]);
    scene.check(&["curl", "-s", "-H", &parent("01"), &format!("{http}/child")]);
    scene.check(&["curl", "-s", "-o", "/dev/null", "-H", &parent("00"), &format!("{http}/silent/[1-5]")]);
    nginx.wait_for_requests(48);
    48
}

/// nginx's log without what no span is made for.
fn sampled(nginx: &Nginx) -> Vec<String> {
    nginx.exchanges().into_iter().filter(|line| !line.contains("/silent/")).collect()
}

fn assert_spans(spans: &[Span], nginx: &Nginx, stopped: &Stopped) {
    for kind in [Kind::Server, Kind::Client] {
        assert_eq!(exchanges(spans, kind), sampled(nginx), "{kind:?}\n{}", stopped.stderr);
    }
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "no span came twice");
    assert_eq!(stopped.ledger("spans", "exported"), spans.len() as u64);
    stopped.assert_nothing_lost();
}

fn assert_resources(spans: &[Span]) {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for span in spans {
        let resource = |key: &str| span.resource.get(key).map_or("", String::as_str);
        assert_eq!((resource("telemetry.distro.name"), resource("host.name")), ("sidelight", host.trim()));
        assert_eq!(resource("service.instance.id").len(), 36, "{span:?}");
        assert_eq!(span.service(), if span.kind == Kind::Server { "nginx" } else { "curl" });
        if span.kind == Kind::Server {
            let comm = fs::read_to_string(format!("/proc/{}/comm", resource("process.pid"))).unwrap();
            assert_eq!(comm.trim(), "nginx");
        } else {
            assert!(resource("process.pid").parse::<u32>().is_ok_and(|pid| pid > 1), "{span:?}");
        }
    }
    let instances: BTreeSet<_> = spans.iter().map(|span| &span.resource["service.instance.id"]).collect();
    assert_eq!(instances.len(), 2, "nginx's workers are one instance, and so are all runs of curl");
}

fn assert_traces(spans: &[Span]) {
    for span in spans {
        let remote = span.path() == "/child";
        assert_eq!(span.parent, if remote { PARENT } else { "" }, "{span:?}");
        assert_eq!(span.trace_id == TRACE, remote, "{span:?}");
    }
}

fn assert_metrics(sinks: &[&Sink], requests: usize) {
    for (name, service) in [("http.server.request.duration", "nginx"), ("http.client.request.duration", "curl")] {
        assert_eq!(count(sinks, name), requests, "{name}");
        for (resource, point) in last_points(sinks, name) {
            assert_eq!(resource["service.name"], service);
            assert_eq!(resource["telemetry.distro.name"], "sidelight");
            assert!(resource.contains_key("host.name") && resource.contains_key("service.instance.id"));
            assert!(!resource.keys().any(|key| key.starts_with("process.")), "{resource:?}");
            assert!(point.start_time_unix_nano < point.time_unix_nano);
        }
    }
}

fn assert_health(sinks: &[&Sink], stopped: &Stopped) {
    let health = health(sinks);
    for (metric, ledger, entry) in [
        ("sidelight.events.attempted", "events", "attempted"),
        ("sidelight.events.submitted", "events", "submitted"),
        ("sidelight.events.read", "events", "read"),
        ("sidelight.events.lost", "events", "ring_full"),
        ("sidelight.bytes.presented", "bytes", "presented"),
        ("sidelight.bytes.parsed", "bytes", "parsed"),
        ("sidelight.exchanges.begun", "exchanges", "begun"),
        ("sidelight.exchanges.done", "exchanges", "done"),
        ("sidelight.exchanges.incomplete", "exchanges", "incomplete"),
        ("sidelight.spans.built", "spans", "built"),
        ("sidelight.spans.exported", "spans", "exported"),
        ("sidelight.spans.dropped", "spans", "dropped"),
    ] {
        let value = health.get(metric).unwrap_or_else(|| panic!("{metric} did not arrive"));
        assert_eq!(u64::try_from(*value).unwrap(), stopped.ledger(ledger, entry), "{metric}");
    }
    assert_eq!(health["sidelight.exchanges.unsampled"], 10);
}

/// Watches [`traffic`] and checks all that came; spans in the first end point, metrics in the last.
fn round(sinks: &[&Sink], env: &[(&str, &str)]) {
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "");
    let env: Vec<_> = env.iter().copied().chain([INTERVAL]).collect();
    let daemon = Daemon::start(&["run", "--only", &scene.selector()], &env);
    let requests = traffic(&mut scene, &nginx);
    let stopped = daemon.stop();
    let spans = sinks[0].values();
    assert_spans(&spans, &nginx, &stopped);
    assert_resources(&spans);
    assert_traces(&spans);
    assert_metrics(sinks, requests);
    assert_health(sinks, &stopped);
    nginx.stop(&mut scene);
}

#[test]
fn what_arrives_over_http_is_what_was_requested() {
    let _one = serial();
    let sink = Sink::start(Protocol::Http);
    round(
        &[&sink],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue,authorization=Bearer%20secret"),
        ],
    );
    for request in sink.requests() {
        assert_eq!(request.header("content-encoding"), "gzip");
        assert_eq!((request.header("x-tenant"), request.header("authorization")), ("blue", "Bearer secret"));
    }
}

#[test]
fn what_arrives_over_grpc_is_what_was_requested() {
    let _one = serial();
    let sink = Sink::start(Protocol::Grpc);
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*sink.endpoint()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    round(&[&sink], &env);
}

#[test]
fn each_signal_may_have_its_own_end_point_and_protocol() {
    let _one = serial();
    let (traces, metrics) = (Sink::start(Protocol::Http), Sink::start(Protocol::Grpc));
    round(
        &[&traces, &metrics],
        &[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces.url("traces")),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &metrics.url("metrics")),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ],
    );
    assert!(traces.requests().iter().all(|request| matches!(request.message, Message::Traces(_))));
    assert!(metrics.requests().iter().all(|request| matches!(request.message, Message::Metrics(_))));
}

#[test]
fn configured_routes_name_server_spans_and_metrics() {
    let _one = serial();
    let sink = Sink::start(Protocol::Http);
    let mut scene = Scene::new();
    let config = scene.file("sidelight.yaml", "http:\n  routes: [\"/id/{n}\"]\n").display().to_string();
    let nginx = Nginx::start(&mut scene, "");
    let daemon = Daemon::start(
        &["run", "--config", &config, "--only", &scene.selector()],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            INTERVAL,
        ],
    );
    let base = format!("http://127.0.0.1:{}", nginx.http);
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("{base}/id/[1-9]"), &format!("{base}/other")]);
    nginx.wait_for_requests(10);
    let stopped = daemon.stop();
    let spans = sink.values();
    assert_spans(&spans, &nginx, &stopped);
    for span in &spans {
        let routed = span.kind == Kind::Server && span.path().starts_with("/id/");
        let expected = if routed { ("GET /id/{n}", "/id/{n}") } else { ("GET", "") };
        assert_eq!((span.name.as_str(), span.get("http.route")), expected, "{span:?}");
    }
    let routed = last_points(&[&sink], "http.server.request.duration")
        .into_iter()
        .filter(|(_, point)| attributes(&point.attributes).get("http.route").is_some_and(|route| route == "/id/{n}"));
    assert_eq!(routed.map(|(_, point)| point.count).collect::<Vec<_>>(), [9]);
    nginx.stop(&mut scene);
}

#[test]
fn its_own_export_is_not_seen_at_either_end() {
    let _one = serial();
    for (protocol, name) in [(Protocol::Http, "http/protobuf"), (Protocol::Grpc, "grpc")] {
        let sink = Sink::start(protocol);
        let mut scene = Scene::new();
        let nginx = Nginx::start(&mut scene, "");
        // This process and all below it: the end point, the daemon itself, the scene.
        let everything = format!("tree:{}", std::process::id());
        let daemon = Daemon::start(
            &["run", "--only", &everything],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.endpoint()), ("OTEL_EXPORTER_OTLP_PROTOCOL", name), INTERVAL],
        );
        let base = format!("http://127.0.0.1:{}", nginx.http);
        scene.check(&["curl", "-s", "-o", "/dev/null", &format!("{base}/mine/[1-10]")]);
        sink.wait("the first spans", |sink| sink.spans().len() == 20);
        scene.check(&["curl", "-s", "-o", "/dev/null", &format!("{base}/mine/[11-20]")]);
        sink.wait("more spans", |sink| sink.spans().len() == 40);
        let mut expected = nginx.exchanges();
        if protocol == Protocol::Http {
            // What somebody else sends to the end point is seen in this process.
            let url = format!("{}/v1/traces", sink.endpoint());
            scene.check(&["curl", "-s", "-X", "POST", "-H", "Content-Type: application/x-protobuf", &url]);
            expected.push("POST /v1/traces 200".to_owned());
            sink.wait("the other's span", |sink| sink.spans().len() == 42);
        }
        let before = sink.requests().len();
        sink.wait("more exports", |sink| sink.requests().len() > before + 2);
        let stopped = daemon.stop();
        for kind in [Kind::Server, Kind::Client] {
            assert_eq!(exchanges(&sink.values(), kind), expected, "{kind:?}, {name}\n{}", stopped.stderr);
        }
        assert_eq!(stopped.ledger("exchanges", "begun"), 2 * expected.len() as u64, "{}", stopped.stderr);
        // What it could not read would be counted.
        for entry in ["unclassified", "ignored"] {
            assert_eq!(stopped.ledger("bytes", entry), 0, "{entry}, {name}\n{}", stopped.stderr);
        }
        nginx.stop(&mut scene);
    }
}

#[test]
fn an_end_point_that_is_busy_and_restarts_gets_everything_once() {
    let _one = serial();
    let busy = || Reply::Answer(503, vec![("retry-after", "1".to_owned())], "restarting");
    let first = Sink::start(Protocol::Http);
    let (endpoint, port) = (first.endpoint(), first.address.port());
    let mut scene = Scene::new();
    let nginx = Nginx::start(&mut scene, "");
    // Without metrics, so that the script is for spans alone.
    let daemon = Daemon::start(
        &["run", "--only", &scene.selector()],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
    );
    let base = format!("http://127.0.0.1:{}", nginx.http);
    first.script([busy()]);
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("{base}/first/[1-20]")]);
    first.wait("the first spans", |sink| sink.spans().len() == 40);
    let mut spans = first.values();
    assert!(first.requests().iter().any(|request| request.reply == busy()), "it was busy once");
    drop(first);
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("{base}/away/[1-20]")]);
    nginx.wait_for_requests(40);
    let second = Sink::start_on(Protocol::Http, port, None);
    second.script([busy(), busy()]);
    scene.check(&["curl", "-s", "-o", "/dev/null", &format!("{base}/back/[1-20]")]);
    second.wait("the other spans", |sink| sink.spans().len() >= 80);
    let stopped = daemon.stop();
    spans.extend(second.values());
    assert_spans(&spans, &nginx, &stopped);
    nginx.stop(&mut scene);
}
