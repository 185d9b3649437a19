//! gRPC-Web-Text, bodies in base64, between the library of browsers and grpc-go behind a wrapper: the calls that server and client
//! count themselves are the spans, by method and status.

use std::{collections::BTreeSet, time::Duration};

use sidelight_integration_tests::{
    compare::scale,
    daemon::Daemon,
    grpc::{self, SERVICE, Server, calls, number},
    scene::Scene,
    serial,
    spans::Kind,
};

/// What call number `i` comes to, by `peers/README.md`, and how many messages a stream answers with.
fn expected(i: usize) -> (String, Option<usize>) {
    let turn = i / 10;
    match i % 10 {
        5 => (grpc::mix(i), None),
        6 => (grpc::mix(i), Some(turn % 4)),
        9 => (grpc::mix(i), (!turn.is_multiple_of(2)).then_some(2)),
        _ => (format!("{SERVICE}/Unary OK"), None),
    }
}

#[test]
fn every_call_in_base64_is_two_spans() {
    let _one = serial();
    let count = 500 * scale();
    for attach in ["socket", "syscall"] {
        for streams in [1, 20] {
            let mut scene = Scene::new();
            let server = Server::start(&mut scene, "text");
            let daemon = Daemon::watch(&scene, &["--attach", attach]);
            let answered = server.call(&mut scene, "text", &format!("calls={count} streams={streams} trace=1"));
            daemon.wait_for_spans(2 * count, Duration::from_secs(20));
            let stopped = daemon.stop();
            stopped.assert_nothing_lost();
            let served = server.stop(&mut scene);
            for (kind, counts) in [(Kind::Client, answered), (Kind::Server, served)] {
                assert_eq!(calls(&stopped.spans, kind), counts, "{kind:?} {attach}\n{}", stopped.stderr);
                let mut seen = BTreeSet::new();
                for span in stopped.spans.iter().filter(|span| span.kind == kind) {
                    let i = number(span, count).unwrap_or_else(|| panic!("no trace: {span:?}"));
                    assert!(seen.insert(i), "a second {kind:?} span of call {i}: {span:?}");
                    let (call, messages) = expected(i);
                    assert_eq!(grpc::call(span), call, "call {i}: {span:?}");
                    if let Some(messages) = messages.filter(|messages| *messages > 1) {
                        assert_eq!(span.get("sidelight.rpc.response_messages"), messages.to_string(), "{span:?}");
                    }
                }
                assert_eq!(seen.len(), count, "{kind:?}");
            }
        }
    }
}
