//! Connect and gRPC-Web on connect-go, over HTTP/1.1 and HTTP/2: the calls that server and client count themselves are the spans, by
//! method and status.

use std::{collections::BTreeSet, time::Duration};

use sidelight_integration_tests::{
    compare::{room, scale},
    daemon::{Daemon, Stopped},
    grpc::{self, Counts, SERVICE, Server, add, number},
    scene::Scene,
    serial,
    spans::{Kind, Span},
};

const LIMIT: Duration = Duration::from_secs(20);

/// What call number `i` of the work `mix` comes to, by `peers/README.md`, in gRPC's names.
fn mix(i: usize) -> String {
    match i % 10 {
        4 => format!("{SERVICE}/Read OK"),
        // HTTP/1 has no calls in both directions at once.
        8 => grpc::mix(i).replace("/BidiStream ", "/ClientStream "),
        _ => grpc::mix(i),
    }
}

/// Messages of both directions of that call, if it is a stream: more than one of either.
fn messages(i: usize) -> Option<(usize, usize)> {
    let turn = i / 10;
    let both = match i % 10 {
        6 => (1, turn % 4),
        7 => (1 + turn % 4, 1),
        8 => (1 + turn % 4, usize::from(!turn.is_multiple_of(3))),
        9 if !turn.is_multiple_of(2) => (1, 2),
        _ => (1, 1),
    };
    (both.0 > 1 || both.1 > 1).then_some(both)
}

/// A span as a peer counts it. Connect has no code for success: such a span is whole and no error.
fn call(span: &Span) -> String {
    let connect = span.get("rpc.system.name") == "connectrpc";
    let status = match span.get("rpc.response.status_code") {
        "" if connect && span.status == 0 && span.get("sidelight.incomplete").is_empty() => "ok",
        "" => "?",
        status => status,
    };
    format!("{} {status}", span.get("rpc.method"))
}

fn calls(spans: &[Span], kind: Kind) -> Counts {
    let mut all = Counts::new();
    for span in spans.iter().filter(|span| span.kind == kind) {
        *all.entry(call(span)).or_default() += 1;
    }
    all
}

fn finish(mut scene: Scene, server: Server, daemon: Daemon, client: &Counts, what: &str) -> Stopped {
    daemon.wait_for_spans(2 * usize::try_from(client.values().sum::<u64>()).expect("a count"), LIMIT);
    let stopped = daemon.stop();
    let served = server.stop(&mut scene);
    assert_eq!(calls(&stopped.spans, Kind::Client), *client, "client spans, {what}\n{}", stopped.stderr);
    assert_eq!(calls(&stopped.spans, Kind::Server), served, "server spans, {what}\n{}", stopped.stderr);
    stopped.assert_nothing_lost();
    stopped
}

fn watch(scene: &Scene, attach: &str) -> Daemon {
    let room = room(scene);
    let args: Vec<&str> = ["--attach", attach].into_iter().chain(room.iter().map(String::as_str)).collect();
    Daemon::watch(scene, &args)
}

/// Every call carried a trace: it is one span of each kind, with its own method, status and messages.
fn assert_each_is_its_own(stopped: &Stopped, count: usize, protocol: &str) {
    for kind in [Kind::Server, Kind::Client] {
        let mut seen = BTreeSet::new();
        for span in stopped.spans.iter().filter(|span| span.kind == kind) {
            let i = number(span, count).unwrap_or_else(|| panic!("no trace: {span:?}"));
            assert!(seen.insert(i), "a second {kind:?} span of call {i}: {span:?}");
            let expected = mix(i).replace("CANCELLED", "CANCELED");
            let right = if protocol == "connect" {
                let (method, status) = expected.split_once(' ').expect("METHOD STATUS");
                format!("{method} {}", status.to_lowercase())
            } else {
                expected
            };
            assert_eq!(call(span), right, "{kind:?} span of call {i}: {span:?}");
            if let Some((up, down)) = messages(i) {
                assert_eq!(span.get("sidelight.rpc.request_messages"), up.to_string(), "call {i}: {span:?}");
                assert_eq!(span.get("sidelight.rpc.response_messages"), down.to_string(), "call {i}: {span:?}");
            }
        }
        assert_eq!(seen.len(), count, "{kind:?}");
    }
}

fn every_call_is_two_spans(http: u8, attach: &str) {
    let _one = serial();
    let count = 1000 * scale();
    for protocol in ["connect", "grpcweb"] {
        for (streams, gzip) in [(1, ""), (10, "gzip=both"), (100, "gzip=none")] {
            let mut scene = Scene::new();
            let server = Server::start(&mut scene, "connect");
            let daemon = watch(&scene, attach);
            let words = format!("protocol={protocol} http={http} calls={count} streams={streams} {gzip} trace=1");
            let answered = server.call(&mut scene, "connect", &words);
            let stopped = finish(scene, server, daemon, &answered, &words);
            assert_each_is_its_own(&stopped, count, protocol);
        }
    }
}

#[test]
fn every_call_over_http1_is_two_spans() {
    every_call_is_two_spans(1, "socket");
}

#[test]
fn every_call_over_http1_through_the_system_calls_is_two_spans() {
    every_call_is_two_spans(1, "syscall");
}

#[test]
fn every_call_over_http2_is_two_spans() {
    every_call_is_two_spans(2, "socket");
}

/// The status of a stream lies behind hundreds of kilobytes.
#[test]
fn large_messages_lose_nothing() {
    let _one = serial();
    let mut scene = Scene::new();
    let server = Server::start(&mut scene, "connect");
    let daemon = watch(&scene, "socket");
    let mut client = Counts::new();
    for protocol in ["connect", "grpcweb"] {
        for gzip in ["none", "both"] {
            let words = format!("protocol={protocol} http=1 calls=40 streams=2 work=large gzip={gzip}");
            add(&mut client, server.call(&mut scene, "connect", &words));
        }
    }
    finish(scene, server, daemon, &client, "large");
}
