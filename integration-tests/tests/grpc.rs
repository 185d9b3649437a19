//! gRPC in Go, Python, Rust and Node: the calls that server and client count themselves are the spans, by method and status.

use std::{collections::BTreeSet, io::Write, time::Duration};

use sidelight_integration_tests::{
    compare::{room, scale},
    daemon::{Daemon, Stopped},
    grpc::{self, Counts, LANGUAGES, Server, calls, mix, mixed, number},
    scene::{Running, Scene},
    serial,
    spans::{Kind, Span},
    wait_for,
};

const LIMIT: Duration = Duration::from_secs(20);
const STREAMS: [usize; 3] = [1, 10, 100];
const KINDS: [Kind; 2] = [Kind::Server, Kind::Client];

fn watch(scene: &Scene, more: &[&str]) -> Daemon {
    let room = room(scene);
    let args: Vec<&str> = more.iter().copied().chain(room.iter().map(String::as_str)).collect();
    Daemon::watch(scene, &args)
}

fn of_kind(spans: &[Span], kind: Kind) -> impl Iterator<Item = &Span> {
    spans.iter().filter(move |span| span.kind == kind)
}

/// Stops the daemon after `count` calls and the server: spans of both sides are what the peers counted.
fn finish(mut scene: Scene, server: Server, daemon: Daemon, client: &Counts, what: &str) -> Stopped {
    let count: u64 = client.values().sum();
    daemon.wait_for_spans(2 * usize::try_from(count).expect("a count"), LIMIT);
    let stopped = daemon.stop();
    let mut served = server.stop(&mut scene);
    if what.starts_with("node") {
        // its server answers calls of a missing method without telling anybody
        served.extend(client.iter().filter(|(call, _)| call.contains("/Missing ")).map(|(call, n)| (call.clone(), *n)));
    }
    assert_eq!(calls(&stopped.spans, Kind::Client), *client, "client spans, {what}\n{}", stopped.stderr);
    assert_eq!(calls(&stopped.spans, Kind::Server), served, "server spans, {what}\n{}", stopped.stderr);
    stopped.assert_nothing_lost();
    stopped
}

/// Every call that carried a trace is one span of each kind, with that very call's method and status.
fn assert_each_is_its_own(stopped: &Stopped, count: usize) {
    for kind in KINDS {
        let mut seen = BTreeSet::new();
        for (i, span) in of_kind(&stopped.spans, kind).filter_map(|span| Some((number(span, count)?, span))) {
            assert!(seen.insert(i), "a second {kind:?} span of call {i}: {span:?}");
            assert_eq!(grpc::call(span), mix(i), "{kind:?} span of call {i}: {span:?}");
            assert_eq!(span.parent, format!("{:016x}", i + 1), "{span:?}");
        }
        assert_eq!(seen.len(), count, "{kind:?}");
    }
}

fn every_call_is_two_spans(language: &str, attach: &str, streams: &[usize]) {
    let _one = serial();
    let count = 2000 * scale();
    let mut scene = Scene::new();
    let server = Server::start(&mut scene, language);
    let daemon = watch(&scene, &["--attach", attach]);
    let mut client = Counts::new();
    for &streams in streams {
        // Without `traceparent` all heads but the first are a few indexed bytes, with it the tables turn over.
        let trace = if streams == 10 { "trace=1" } else { "" };
        let answered = server.call(&mut scene, language, &format!("calls={count} streams={streams} {trace}"));
        assert_eq!(answered, mixed(0..count), "{language} itself, {streams} streams");
        grpc::add(&mut client, answered);
        daemon.wait_for_spans(2 * usize::try_from(client.values().sum::<u64>()).expect("a count"), LIMIT);
    }
    let stopped = finish(scene, server, daemon, &client, &format!("{language}, {attach}"));
    assert_each_is_its_own(&stopped, count);
    let span = of_kind(&stopped.spans, Kind::Client).next().expect("a client span");
    assert_eq!(span.get("rpc.system.name"), "grpc", "{span:?}");
    assert_eq!(span.name, span.get("rpc.method"), "{span:?}");
}

#[test]
fn every_call_in_go_is_two_spans() {
    every_call_is_two_spans("go", "socket", &STREAMS);
}

#[test]
fn every_call_in_python_is_two_spans() {
    every_call_is_two_spans("python", "socket", &STREAMS);
}

#[test]
fn every_call_in_rust_is_two_spans() {
    every_call_is_two_spans("rust", "socket", &STREAMS);
}

#[test]
fn every_call_in_node_is_two_spans() {
    every_call_is_two_spans("node", "socket", &STREAMS);
}

#[test]
fn every_call_through_the_system_calls_is_two_spans() {
    for language in ["go", "python"] {
        every_call_is_two_spans(language, "syscall", &STREAMS);
    }
}

#[test]
fn every_language_calls_the_next() {
    let _one = serial();
    for (at, server) in LANGUAGES.into_iter().enumerate() {
        let client = LANGUAGES[(at + 1) % LANGUAGES.len()];
        let mut scene = Scene::new();
        let serving = Server::start(&mut scene, server);
        let daemon = watch(&scene, &[]);
        let answered = serving.call(&mut scene, client, "calls=300 streams=10 trace=1");
        assert_eq!(answered, mixed(0..300), "{client} calls {server}");
        let stopped = finish(scene, serving, daemon, &answered, &format!("{server} called by {client}"));
        assert_each_is_its_own(&stopped, 300);
    }
}

/// Messages of megabytes, which Python writes in one call: of DATA only the beginning of each frame is copied.
#[test]
fn large_messages_lose_nothing_and_are_passed_over() {
    let _one = serial();
    for language in LANGUAGES {
        for (attach, work, calls) in [("socket", "large", 40), ("socket", "huge", 6), ("syscall", "huge", 6)] {
            let mut scene = Scene::new();
            let server = Server::start(&mut scene, language);
            let daemon = watch(&scene, &["--attach", attach]);
            let answered = server.call(&mut scene, language, &format!("calls={calls} streams=2 work={work}"));
            let what = format!("{language}, {attach}, {work}");
            let stopped = finish(scene, server, daemon, &answered, &what);
            let (presented, parsed) = (stopped.ledger("bytes", "presented"), stopped.ledger("bytes", "parsed"));
            println!(
                "{what}: {presented} bytes, {parsed} of them copied, {} records",
                stopped.ledger("events", "read")
            );
            assert!(presented > 16_000_000, "{presented} bytes, {what}");
            assert!(parsed < presented / 20, "{parsed} of {presented} bytes copied, {what}\n{}", stopped.stderr);
        }
    }
}

/// Runs a client that keeps its connection until both spans of each call are there: so the end of each call was written.
fn held(scene: &mut Scene, server: &Server, language: &str, daemon: &Daemon, calls: usize, words: &str) -> Counts {
    let (path, mut hold) = scene.pipe("hold");
    let client = server.client(scene, language, &format!("calls={calls} {words} hold={}", path.display()));
    daemon.wait_for_spans(2 * calls, LIMIT);
    hold.write_all(b"\n").expect("the pipe has room");
    grpc::counts(&scene.wait(&client))
}

#[test]
fn a_call_cancelled_by_its_client_is_cancelled_on_both_sides() {
    let _one = serial();
    for language in LANGUAGES {
        let mut scene = Scene::new();
        let server = Server::start(&mut scene, language);
        let daemon = watch(&scene, &[]);
        let answered = held(&mut scene, &server, language, &daemon, 50, "streams=10 work=cancel");
        assert_eq!(answered, Counts::from([("sidelight.test.Echo/ServerStream CANCELLED".to_owned(), 50)]));
        finish(scene, server, daemon, &answered, language);
    }
}

#[test]
fn a_call_that_takes_too_long_says_so_and_lasts_to_its_deadline() {
    let _one = serial();
    for language in LANGUAGES {
        let mut scene = Scene::new();
        let server = Server::start(&mut scene, language);
        let daemon = watch(&scene, &[]);
        let answered = held(&mut scene, &server, language, &daemon, 20, "streams=20 work=deadline");
        assert_eq!(answered.values().sum::<u64>(), 20, "{answered:?}");
        let stopped = daemon.stop();
        server.stop(&mut scene);
        for kind in KINDS {
            for span in of_kind(&stopped.spans, kind) {
                assert_eq!(span.get("rpc.method"), "sidelight.test.Echo/Unary", "{language} {kind:?} {span:?}");
                // Which of the two clocks is first decides who ends the call and how: libraries differ from call to call.
                let status = span.get("rpc.response.status_code");
                assert!(["DEADLINE_EXCEEDED", "CANCELLED"].contains(&status), "{language} {kind:?} {span:?}");
                // The client's clock begins before the head leaves; a busy machine may lie between.
                let lasted = Duration::from_nanos(span.end - span.start);
                assert!(lasted > Duration::from_millis(500), "{lasted:?}, {language} {kind:?} {span:?}");
            }
            assert_eq!(of_kind(&stopped.spans, kind).count(), 20, "{language} {kind:?}\n{}", stopped.stderr);
        }
        stopped.assert_nothing_lost();
    }
}

#[test]
fn a_stream_lasts_until_its_last_byte() {
    let _one = serial();
    for language in LANGUAGES {
        let mut scene = Scene::new();
        let server = Server::start(&mut scene, language);
        let daemon = watch(&scene, &[]);
        let answered = server.call(&mut scene, language, "calls=20 streams=5 work=slow");
        let stopped = finish(scene, server, daemon, &answered, language);
        for span in &stopped.spans {
            let lasted = Duration::from_nanos(span.end - span.start);
            assert!(lasted > Duration::from_millis(95) && lasted < Duration::from_secs(5), "{lasted:?} {span:?}");
        }
    }
}

fn waits(client: &Running) {
    wait_for("the client's first calls", LIMIT, || client.stdout().contains("waiting").then_some(()));
}

/// The daemon comes when the connection has had 60 calls. What a span says is right; what cannot be known is left out.
fn joins(language: &str, trace: bool) -> Stopped {
    const FIRST: usize = 60;
    const CALLS: usize = 1000;
    let mut scene = Scene::new();
    let server = Server::start(&mut scene, language);
    let (path, mut go) = scene.pipe("go");
    let trace = if trace { "trace=1" } else { "" };
    let words = format!("calls={CALLS} streams=10 first={FIRST} go={} {trace}", path.display());
    let client = server.client(&mut scene, language, &words);
    waits(&client);
    let daemon = watch(&scene, &[]);
    go.write_all(b"\n").expect("the pipe has room");
    let answered = grpc::counts(&scene.wait(&client));
    assert_eq!(answered, mixed(0..CALLS), "{language}");
    // Until the protocol is recognised, of a call longer than 16 KiB the rest is not seen, and what cannot be told from another
    // protocol is not taken: both are counted, in bytes.
    let least = (CALLS - FIRST) * 95 / 100;
    daemon.wait_for_spans(2 * least, LIMIT);
    let stopped = daemon.stop();
    server.stop(&mut scene);
    let expected = mixed(FIRST..CALLS);
    for kind in KINDS {
        let what = format!("{language} {kind:?} {trace}\n{}", stopped.stderr);
        let found = of_kind(&stopped.spans, kind).count();
        let whole = stopped.ledger("bytes", "truncated") + stopped.ledger("bytes", "unclassified") == 0;
        assert!((if whole { CALLS - FIRST } else { least }..=CALLS - FIRST).contains(&found), "{found} spans: {what}");
        let (mut methods, mut statuses, mut both) = (Counts::new(), Counts::new(), Counts::new());
        for span in of_kind(&stopped.spans, kind) {
            let (method, status) = (span.get("rpc.method"), span.get("rpc.response.status_code"));
            for (of, key) in [(&mut methods, method), (&mut statuses, status)] {
                *of.entry(key.to_owned()).or_default() += u64::from(!key.is_empty());
            }
            if !method.is_empty() && !status.is_empty() {
                *both.entry(grpc::call(span)).or_default() += 1;
            }
            if let Some(i) = number(span, CALLS) {
                assert!(i >= FIRST, "{span:?}");
                let whole = mix(i);
                let (right_method, right_status) = whole.split_once(' ').expect("METHOD STATUS");
                assert!(method.is_empty() || method == right_method, "call {i}, {whole}: {span:?}, {what}");
                assert!(status.is_empty() || status == right_status, "call {i}, {whole}: {span:?}, {what}");
            }
        }
        let at_most = |found: &Counts, part: &dyn Fn(&str) -> String| {
            let mut most = Counts::new();
            for (call, count) in &expected {
                *most.entry(part(call)).or_default() += count;
            }
            for (key, count) in found.iter().filter(|(_, count)| **count > 0) {
                assert!(most.get(key).is_some_and(|most| count <= most), "{count} times {key:?}, not {most:?}: {what}");
            }
        };
        at_most(&methods, &|call| call.split(' ').next().unwrap_or_default().to_owned());
        at_most(&statuses, &|call| call.split(' ').nth(1).unwrap_or_default().to_owned());
        at_most(&both, &str::to_owned);
    }
    stopped.assert_nothing_lost();
    stopped
}

/// Of the spans of a kind, how many have an attribute, in percent.
fn share(stopped: &Stopped, kind: Kind, key: &str) -> usize {
    let all = of_kind(&stopped.spans, kind).count();
    100 * of_kind(&stopped.spans, kind).filter(|span| !span.get(key).is_empty()).count() / all
}

#[test]
fn a_connection_older_than_the_daemon_never_gets_a_wrong_method_or_status() {
    let _one = serial();
    for language in LANGUAGES {
        for trace in [false, true] {
            let stopped = joins(language, trace);
            for kind in KINDS {
                println!(
                    "{language}, traceparent {trace}, {kind:?}: method {} %, status {} %",
                    share(&stopped, kind, "rpc.method"),
                    share(&stopped, kind, "rpc.response.status_code")
                );
            }
        }
    }
}

#[test]
fn a_daemon_that_comes_and_goes_under_load_disturbs_no_call() {
    let _one = serial();
    let mut scene = Scene::new();
    let server = Server::start(&mut scene, "go");
    let stop = scene.dir().join("stop");
    let words = format!("calls=100000000 streams=20 trace=1 stop={}", stop.display());
    let client = server.client(&mut scene, "go", &words);
    for round in 0..3 {
        let daemon = watch(&scene, &[]);
        daemon.wait_for_spans(2000, LIMIT);
        let stopped = if round == 1 { daemon.kill() } else { daemon.stop() };
        for span in &stopped.spans {
            let Some(i) = number(span, usize::MAX >> 8) else { continue };
            let whole = mix(i);
            let (right_method, right_status) = whole.split_once(' ').expect("METHOD STATUS");
            let (method, status) = (span.get("rpc.method"), span.get("rpc.response.status_code"));
            assert!(method.is_empty() || method == right_method, "call {i}, {whole}: {span:?}");
            assert!(status.is_empty() || status == right_status, "call {i}, {whole}: {span:?}");
        }
    }
    scene.file("stop", "");
    let answered = grpc::counts(&scene.wait(&client));
    assert_eq!(answered, server.stop(&mut scene), "what the client was answered is what the server did");
    let usual = mixed(0..1000);
    assert!(answered.keys().all(|call| usual.contains_key(call)), "{answered:?}");
}
