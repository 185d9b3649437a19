//! Spans and metrics: from a finished exchange to OTLP bytes.
//!
//! In: one HTTP exchange whose server span has twelve attributes, one query of a database's client with ten. Out: time for a span
//! built, measured, encoded.

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sidelight::{
    exporters::{console::Console, encode::TraceEncoder, json::JsonEncoder},
    identity::{Host, Identities},
    metrics::Metrics,
    model::{ClockOffset, Connection, Endpoint, Process, Resource, Span, UnixTime},
    semconv::{db::Databases, rules::HttpRules},
    span::{IdGenerator, SpanBuilder},
};
use sidelight_protocol_parsers::{
    Db, DbSystem, Details, Direction, Exchange, ExchangeId, Http, HttpVersion, IncompleteSet, KernelTime, Mark,
    Outcome, Role, Shape, Side, Text,
};

/// Spans of one call, as the exporter's batches have them.
const SPANS: u64 = 512;

fn request(id: u64) -> Box<Exchange> {
    let mut text = Text::with_capacity(128);
    let http = Http {
        method: Some(text.push(b"GET")),
        target: Some(text.push(b"/api/v1/users/4711/orders?limit=20")),
        version: Some(HttpVersion::H11),
        host: Some(text.push(b"shop.example.com:8080")),
        user_agent: Some(text.push(b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")),
        status: Some(200),
        ..Http::default()
    };
    exchange(id, "http1", Role::Server, Details::Http(http), text)
}

fn query(id: u64) -> Box<Exchange> {
    let mut text = Text::with_capacity(256);
    let db = Db {
        namespace: Some(text.push(b"shop")),
        summary: Some(text.push(b"SELECT orders customers")),
        query: Some(text.push(
            b"SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.status = ? AND o.id > ?",
        )),
        status: Some(text.push(b"57014")),
        rows: Some(12),
        ..Db::new(DbSystem::Postgresql)
    };
    exchange(id, "postgresql", Role::Client, Details::Db(db), text)
}

fn exchange(id: u64, protocol: &'static str, role: Role, details: Details, text: Text) -> Box<Exchange> {
    let mark = |time| Mark { time: KernelTime(time), pid: 7, tid: 7, ..Mark::default() };
    let side = |time| Side { first: mark(time), last: mark(time + 1_000), bytes: 100 };
    Box::new(Exchange {
        id: ExchangeId(id),
        protocol,
        role,
        shape: Shape::RequestReply,
        request: side(1_000_000),
        response: Some(side(2_000_000)),
        cut_off: KernelTime::default(),
        outcome: matches!(details, Details::Db(_)).then_some(Outcome::Error),
        details,
        context: None,
        incomplete: IncompleteSet::default(),
        text,
    })
}

fn connection() -> Arc<Connection> {
    Arc::new(Connection {
        key: Default::default(),
        local: Endpoint::Inet([192, 0, 2, 1].into(), 8080),
        remote: Endpoint::Inet([198, 51, 100, 23].into(), 40_123),
        tls: false,
        role: Some(Role::Server),
    })
}

fn resource() -> Arc<Resource> {
    let host = Host { name: "node1".to_owned(), id: None };
    let process = Process { pid: 7, own_pid: 7, executable: "/usr/sbin/nginx".to_owned(), ..Process::default() };
    Identities::new(host, BTreeMap::new()).learn(&process)
}

fn builder() -> SpanBuilder {
    SpanBuilder::new(IdGenerator::new([1; 32]), Arc::new(HttpRules::new(&[], None)), Databases::default())
}

/// `attributes`: those of the conventions.
fn spans(exchange: fn(u64) -> Box<Exchange>, attributes: u64) -> Vec<Span> {
    let (connection, resource, mut builder) = (connection(), resource(), builder());
    let spans: Vec<Span> = (0..SPANS)
        .filter_map(|id| builder.done(&connection, &resource, exchange(id), ClockOffset(0)).sampled())
        .collect();
    let mut seen = 0;
    spans.iter().for_each(|span| span.visit_attributes(&mut |_, _| seen += 1));
    assert_eq!(seen, (attributes + 1) * SPANS, "and the time to first byte");
    spans
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(SPANS));
    let mut encoder = TraceEncoder::new();
    let mut batches = Vec::new();
    for (name, exchange, attributes) in
        [("otlp", request as fn(u64) -> Box<Exchange>, 12), ("otlp, database", query, 10)]
    {
        let spans = spans(exchange, attributes);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                batches.clear();
                black_box(&spans).iter().for_each(|span| encoder.add(span, usize::MAX, &mut batches));
                encoder.finish(&mut batches);
                batches.len()
            });
        });
    }
    let spans = spans(request, 12);
    let (mut text, mut lines) = (String::new(), JsonEncoder::default());
    group.bench_function("json", |bench| {
        bench.iter(|| {
            text.clear();
            black_box(&spans).iter().for_each(|span| lines.add(span));
            lines.finish(&mut text);
            text.len()
        });
    });
    let console = Console::new(false);
    group.bench_function("console", |bench| {
        bench.iter(|| {
            text.clear();
            black_box(&spans).iter().for_each(|span| console.line(span, &mut text));
            text.len()
        });
    });
    group.finish();
}

fn build(c: &mut Criterion) {
    let (connection, resource, mut builder) = (connection(), resource(), builder());
    let first = Mark::default();
    c.bench_function("span/begun and done", |bench| {
        bench.iter_batched(
            || request(1),
            |exchange| {
                builder.begun(&connection, exchange.id, Direction::Ingress, first);
                builder.done(&connection, &resource, exchange, ClockOffset(0))
            },
            BatchSize::SmallInput,
        );
    });
}

fn record(c: &mut Criterion) {
    let mut metrics = Metrics::new();
    let mut group = c.benchmark_group("metrics");
    group.throughput(Throughput::Elements(SPANS));
    for (name, exchange, attributes) in
        [("record", request as fn(u64) -> Box<Exchange>, 12), ("record, database", query, 10)]
    {
        let spans = spans(exchange, attributes);
        group.bench_function(name, |bench| {
            bench.iter(|| black_box(&spans).iter().for_each(|span| metrics.record(span)))
        });
    }
    if metrics.counts().measured > 0 {
        assert_eq!(metrics.snapshot(UnixTime(1)).instances.len(), 1);
    }
    group.finish();
}

criterion_group!(benches, encode, build, record);
criterion_main!(benches);
