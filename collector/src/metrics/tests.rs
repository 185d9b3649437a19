//! Series, limits, expiry, buckets.

use sidelight_protocol_parsers::{DbSystem, Details, HttpVersion, Outcome, Role, RpcSystem};

use super::*;
use crate::{
    identity::Identities,
    model::Endpoint,
    semconv::attributes::AttrValue,
    testing::{Case, DbCase, Family, RpcCase, host, inet, process},
};

fn labels(labels: &Labels) -> String {
    let mut text = Vec::new();
    labels.visit_attributes(&mut |key, value| match value {
        AttrValue::Int(number) => text.push(format!("{key}={number}")),
        AttrValue::Str(value) => text.push(format!("{key}={value}")),
        other => panic!("{other:?} in a metric"),
    });
    format!("{} {}", labels.instrument.name(), text.join(" "))
}

fn points(metrics: &mut Metrics) -> Vec<Point> {
    metrics.snapshot(UnixTime(1)).instances.into_iter().flat_map(|(_, points)| points).collect()
}

#[test]
fn labels_are_those_of_the_conventions() {
    let mut metrics = Metrics::new();
    for case in [
        Case { routes: vec!["/a"], agent: Some("x"), ..Case::server("GET", "/a?b") },
        Case { tls: true, version: Some(HttpVersion::H10), status: Some(500), ..Case::server("PURGE", "/") },
        Case { host: None, ..Case::client("GET", "/") },
        Case { status: None, response: false, incomplete: vec![Incomplete::Closed], ..Case::client("GET", "/") },
        Case { method: None, ..Case::server("GET", "/") },
    ] {
        metrics.record(&case.span());
    }
    let mut shown: Vec<String> = points(&mut metrics).iter().map(|point| labels(&point.labels)).collect();
    shown.sort();
    insta::assert_snapshot!(shown.join("\n"), @r"
        http.client.request.duration http.request.method=GET server.address=198.51.100.9 network.protocol.version=1.1 server.port=8080 http.response.status_code=200
        http.client.request.duration http.request.method=GET server.address=shop.example network.protocol.version=1.1 error.type=closed server.port=8080
        http.server.request.duration http.request.method=GET http.route=/a url.scheme=http network.protocol.version=1.1 http.response.status_code=200
        http.server.request.duration http.request.method=_OTHER url.scheme=https network.protocol.version=1.0 error.type=500 http.response.status_code=500
        http.server.request.duration url.scheme=http network.protocol.version=1.1 http.response.status_code=200
    ");
}

#[test]
fn calls_and_queries_have_the_labels_of_their_conventions() {
    let mut metrics = Metrics::new();
    let closed = || Case { response: false, incomplete: vec![Incomplete::Closed], ..Case::server("GET", "/") };
    let redis = DbCase { operation: Some("GET"), namespace: Some("0"), ..DbCase::new(DbSystem::Redis) };
    let (call, query) = (RpcCase::default(), DbCase::select());
    for case in [
        Case::rpc(Role::Server, call.clone()),
        Case::rpc(Role::Client, RpcCase { status: Some(5), ..call.clone() }),
        Case::rpc(Role::Client, RpcCase { system: RpcSystem::Connect, method: None, authority: None, ..call.clone() }),
        Case { ..Case::rpc(Role::Server, RpcCase { status: Some(14), ..call.clone() }) },
        Case { family: Family::Rpc(RpcCase { status: None, ..call }), ..closed() },
        Case::db(Role::Client, query.clone()),
        Case {
            remote: inet("[::1]:5433"),
            ..Case::db(Role::Client, DbCase { status: Some("23505"), ..query.clone() })
        },
        Case { remote: Endpoint::Unix("/run/s".into()), ..Case::db(Role::Client, redis) },
        Case { outcome: Some(Outcome::Error), ..Case::db(Role::Server, DbCase { procedure: Some("p"), ..query }) },
    ] {
        metrics.record(&case.span());
    }
    let mut shown: Vec<String> = points(&mut metrics).iter().map(|point| labels(&point.labels)).collect();
    shown.sort();
    insta::assert_snapshot!(shown.join("\n"), @r"
        db.client.operation.duration db.system.name=postgresql db.namespace=shop db.query.summary=SELECT users db.response.status_code=23505 error.type=23505 server.address=::1 network.peer.address=::1 server.port=5433 network.peer.port=5433
        db.client.operation.duration db.system.name=postgresql db.namespace=shop db.query.summary=SELECT users server.address=198.51.100.9 network.peer.address=198.51.100.9 network.peer.port=5432
        db.client.operation.duration db.system.name=redis db.namespace=0 db.operation.name=GET server.address=/run/s network.peer.address=/run/s
        db.server.operation.duration db.system.name=postgresql db.namespace=shop db.query.summary=SELECT users db.stored_procedure.name=p error.type=_OTHER server.port=8080
        rpc.client.call.duration rpc.system.name=connectrpc server.address=198.51.100.9 server.port=50051
        rpc.client.call.duration rpc.system.name=grpc rpc.method=shop.Orders/Place rpc.response.status_code=NOT_FOUND error.type=NOT_FOUND server.address=orders.example server.port=50051
        rpc.server.call.duration rpc.system.name=grpc rpc.method=shop.Orders/Place error.type=closed
        rpc.server.call.duration rpc.system.name=grpc rpc.method=shop.Orders/Place rpc.response.status_code=OK
        rpc.server.call.duration rpc.system.name=grpc rpc.method=shop.Orders/Place rpc.response.status_code=UNAVAILABLE error.type=UNAVAILABLE
    ");
}

#[test]
fn texts_too_long_for_a_series_are_measured_in_the_overflow_series() {
    let mut metrics = Metrics::new();
    let long: &'static str = "x".repeat(labels::MAX_TEXT).leak();
    for summary in [long, "y"] {
        let query = DbCase { summary: Some(summary), ..DbCase::new(DbSystem::Mysql) };
        metrics.record(&Case::db(Role::Server, query.clone()).span());
        // The address of a client's server is one more text.
        metrics.record(&Case::db(Role::Client, query).span());
    }
    assert_eq!((metrics.counts().measured, metrics.counts().overflow), (3, 1));
}

#[test]
fn a_protocol_without_a_family_is_counted_and_not_measured() {
    let mut metrics = Metrics::new();
    let mut span = Case::server("GET", "/").span();
    span.exchange.details = Details::Generic;
    metrics.record(&span);
    assert_eq!((metrics.counts().without_metric, metrics.counts().series), (1, 0));
}

#[test]
fn equal_exchanges_share_a_series_and_unequal_ones_do_not() {
    let mut metrics = Metrics::new();
    let base = Case::client("GET", "/");
    let others = [
        Case { status: Some(201), ..base.clone() },
        Case { host: Some("b"), ..base.clone() },
        Case { host: Some("b:1"), ..base.clone() },
        Case { version: None, ..base.clone() },
        Case { method: Some("POST"), ..base.clone() },
        Case { incomplete: vec![Incomplete::Closed], ..base.clone() },
        Case::server("GET", "/"),
    ];
    for _ in 0..3 {
        metrics.record(&base.span());
        // The path is no label.
        metrics.record(&Case { target: Some("/other"), ..base.clone() }.span());
    }
    others.iter().for_each(|case| metrics.record(&case.span()));
    let points = points(&mut metrics);
    assert_eq!(points.len(), 1 + others.len());
    let mut counts: Vec<u64> = points.iter().map(|point| point.histogram.count()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 6]);
}

#[test]
fn what_was_not_seen_to_its_end_is_counted_but_not_measured() {
    let mut metrics = Metrics::new();
    for why in Incomplete::ALL {
        metrics.record(&Case { incomplete: vec![why], ..Case::server("GET", "/") }.span());
    }
    let counts = metrics.counts();
    assert_eq!((counts.measured, counts.unfinished), (2, 4), "closed and truncated ones are measured");
}

#[test]
fn an_instance_over_its_limit_goes_to_its_overflow_series_and_others_do_not() {
    let mut metrics = Metrics::new();
    for status in 0..MAX_PER_INSTANCE as u16 + 5 {
        metrics.record(&Case { status: Some(status), ..Case::server("GET", "/") }.span());
    }
    let mut other = Case::server("GET", "/").span();
    other.resource = Identities::new(host(), Default::default()).learn(&process(1, "/bin/other"));
    metrics.record(&other);
    // A series that exists is still found.
    metrics.record(&Case { status: Some(7), ..Case::server("GET", "/") }.span());
    let counts = metrics.counts();
    assert_eq!((counts.measured, counts.overflow), (MAX_PER_INSTANCE as u64 + 2, 5));
    let points = points(&mut metrics);
    assert_eq!(points.len(), MAX_PER_INSTANCE + 2);
    let overflow: Vec<_> = points.iter().filter(|point| point.labels.is_overflow()).collect();
    assert_eq!(overflow.len(), 1);
    assert_eq!(overflow[0].histogram.count(), 5);
}

#[test]
fn all_instances_together_have_a_limit_in_series_and_memory() {
    let mut metrics = Metrics::new();
    let mut identities = Identities::new(host(), Default::default());
    let mut sent = 0;
    let mut span = Case::client("GET", "/").span();
    let used = allocation_counter::measure(|| {
        for instance in 0..11 {
            span.resource = identities.learn(&process(instance, &format!("/bin/{instance}")));
            for status in 0..MAX_PER_INSTANCE as u16 {
                let Details::Http(http) = &mut span.exchange.details else { panic!("not HTTP") };
                http.status = Some(status);
                metrics.record(&span);
                sent += 1;
            }
        }
    });
    let counts = metrics.counts();
    assert_eq!(counts.measured, MAX_SERIES as u64);
    assert_eq!(counts.measured + counts.overflow, sent);
    assert_eq!(counts.series, MAX_SERIES as u64 + 1);
    let snapshot = allocation_counter::measure(|| assert_eq!(metrics.snapshot(UnixTime(1)).instances.len(), 11));
    // Requested bytes; the allocator's own overhead comes on top.
    assert!(used.bytes_current < 8 << 20, "{} bytes", used.bytes_current);
    assert!(snapshot.bytes_max < 4 << 20, "{} bytes", snapshot.bytes_max);
    println!("{} bytes of series, {} of a snapshot", used.bytes_current, snapshot.bytes_max);
}

#[test]
fn an_idle_series_is_dropped_after_five_intervals_and_starts_anew() {
    let mut metrics = Metrics::new();
    let mut span = Case::server("GET", "/").span();
    let busy = Case { status: Some(404), ..Case::server("GET", "/") }.span();
    metrics.record(&span);
    let first = points(&mut metrics)[0].histogram.clone();
    assert_eq!((first.start, first.count()), (UnixTime(1_009_000_000), 1));
    for idle in 1..=IDLE_INTERVALS {
        metrics.record(&busy);
        assert_eq!(points(&mut metrics).len(), if idle < IDLE_INTERVALS { 2 } else { 1 }, "{idle}");
    }
    span.start = UnixTime(9_000_000_000);
    metrics.record(&span);
    let again = points(&mut metrics).into_iter().find(|point| point.labels.key() == key_of(&span).key()).unwrap();
    assert_eq!((again.histogram.start, again.histogram.count()), (UnixTime(9_008_000_000), 1));
}

fn key_of(span: &Span) -> Labels {
    Key::new(span, &mut Short::new()).unwrap().labels(&span.http)
}

#[test]
fn an_idle_instance_goes_with_its_last_series() {
    let mut metrics = Metrics::new();
    metrics.record(&Case::server("GET", "/").span());
    for _ in 0..IDLE_INTERVALS {
        assert_eq!(metrics.snapshot(UnixTime(1)).instances.len(), 1);
    }
    assert_eq!(metrics.snapshot(UnixTime(1)).instances.len(), 0);
    assert_eq!((metrics.instances.len(), metrics.own, metrics.counts().series), (0, 0, 0));
}

#[test]
fn a_known_series_costs_no_allocation() {
    for case in [
        Case::client("GET", "/"),
        Case::rpc(Role::Client, RpcCase::default()),
        Case::db(Role::Client, DbCase { status: Some("23505"), ..DbCase::select() }),
    ] {
        let span = case.span();
        let mut metrics = Metrics::new();
        metrics.record(&span);
        assert_eq!(allocation_counter::measure(|| metrics.record(&span)).count_total, 0);
        assert_eq!(metrics.counts().measured, 2);
    }
}
