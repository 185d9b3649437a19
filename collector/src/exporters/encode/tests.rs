//! What the encoders write, decoded again by `opentelemetry-proto`.

use std::{collections::BTreeMap, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric,
    },
    resource::v1::Resource as ProtoResource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, Status},
};
use proptest::prelude::*;
use prost::Message;
use sidelight_protocol_parsers::{DbSystem, HttpVersion, Incomplete, Outcome, Role, RpcSystem, Shape};

use super::{Batch, MetricsEncoder, TraceEncoder};
use crate::{
    exporters::json::JsonEncoder,
    identity::Identities,
    metrics::{Instrument, MAX_PER_INSTANCE, Metrics},
    model::{Endpoint, Instance, Resource, Span, SpanKind, UnixTime, Value},
    semconv::{SCHEMA_URL, SCOPE_NAME, SCOPE_VERSION, attributes::AttrValue, db::Databases},
    testing::{Case, DbCase, Family, RpcCase, host, nginx, process},
};

fn value(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn pair(key: &str, any: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value(any), ..KeyValue::default() }
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

fn array<'a>(values: impl Iterator<Item = &'a str>) -> Any {
    Any::ArrayValue(ArrayValue { values: values.map(|value| self::value(text(value)).unwrap()).collect() })
}

fn attribute(key: &str, value: AttrValue<'_>) -> KeyValue {
    let any = match value {
        AttrValue::Str(_) | AttrValue::Url(_) | AttrValue::Query(_) => {
            let mut text = String::new();
            value.text(&mut |piece| text.push_str(piece));
            Any::StringValue(text)
        }
        AttrValue::Int(number) => Any::IntValue(number),
        AttrValue::Double(number) => Any::DoubleValue(number),
        AttrValue::Reasons(reasons) => array(reasons.iter().map(Incomplete::name)),
    };
    pair(key, any)
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: SCOPE_NAME.to_owned(),
        version: SCOPE_VERSION.to_owned(),
        ..InstrumentationScope::default()
    })
}

/// What a span should be in OTLP, said once more, in prost's structs.
fn expected_span(span: &Span) -> ProtoSpan {
    let mut name = String::new();
    span.name(&mut |piece| name.push_str(piece));
    let mut attributes = Vec::new();
    span.visit_attributes(&mut |key, value| attributes.push(attribute(key, value)));
    let state = span.exchange.context.and_then(|context| context.state);
    ProtoSpan {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        trace_state: state.map(|state| span.exchange.text.str(state).to_owned()).unwrap_or_default(),
        parent_span_id: span.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        flags: u32::from(span.trace_flags)
            + match (span.parent.is_some(), span.kind) {
                (false, _) => 0x100,
                (true, SpanKind::Server) => 0x300,
                (true, SpanKind::Client) => 0,
            },
        name,
        kind: match span.kind {
            SpanKind::Client => 3,
            SpanKind::Server => 2,
        },
        start_time_unix_nano: span.start.0,
        end_time_unix_nano: span.start.0 + span.duration,
        attributes,
        status: span.error().map(|_| Status { code: 2, ..Status::default() }),
        ..ProtoSpan::default()
    }
}

fn expected_resource(resource: &Resource) -> ProtoResource {
    let any = |value: &Value| match value {
        Value::Int(number) => Any::IntValue(*number),
        Value::Str(value) => text(value),
        Value::StrArray(values) => array(values.iter().map(String::as_str)),
    };
    let attributes = resource.attributes.iter().map(|(key, from)| pair(key, any(from))).collect();
    ProtoResource { attributes, ..ProtoResource::default() }
}

fn expected(groups: &[(&Arc<Resource>, Vec<&Span>)]) -> ExportTraceServiceRequest {
    let resource_spans = groups
        .iter()
        .map(|(resource, spans)| ResourceSpans {
            resource: Some(expected_resource(resource)),
            scope_spans: vec![ScopeSpans {
                scope: scope(),
                spans: spans.iter().map(|span| expected_span(span)).collect(),
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

fn grouped(spans: &[Span]) -> Vec<(&Arc<Resource>, Vec<&Span>)> {
    let mut groups: Vec<(&Arc<Resource>, Vec<&Span>)> = Vec::new();
    for span in spans {
        match groups.iter_mut().find(|(resource, _)| Arc::ptr_eq(resource, &span.resource)) {
            Some((_, group)) => group.push(span),
            None => groups.push((&span.resource, vec![span])),
        }
    }
    groups
}

fn encode_with(encoder: &mut TraceEncoder, spans: &[Span], max_bytes: usize, batches: &mut Vec<Batch>) {
    spans.iter().for_each(|span| encoder.add(span, max_bytes, batches));
    encoder.finish(batches);
}

fn encode(spans: &[Span], max_bytes: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    encode_with(&mut TraceEncoder::new(), spans, max_bytes, &mut batches);
    batches
}

fn resources() -> Vec<Arc<Resource>> {
    let mut identities = Identities::new(host(), BTreeMap::new());
    let mut second = process(2, "/usr/bin/python3");
    second.args = vec!["python3".to_owned(), "/srv/app.py".to_owned()];
    let third = Resource {
        instance: Arc::clone(&nginx().instance),
        pid: 3,
        attributes: vec![
            ("a".to_owned(), Value::StrArray(vec!["x".to_owned(), String::new(), "y".repeat(200)])),
            ("b".to_owned(), Value::Int(-1)),
        ],
    };
    vec![nginx(), identities.learn(&second), Arc::new(third)]
}

const WORDS: [&str; 6] = ["", "GET", "/a?sig=b&c", "hé\u{7}\"\\llo", "http://u@h/", "x:1"];

fn word() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(prop::sample::select(WORDS.to_vec()))
}

fn family() -> impl Strategy<Value = Family> {
    let rpc = (any::<bool>(), word(), word(), prop::option::of(0..20_u8), any::<[Option<u64>; 2]>(), any::<bool>());
    let rpc = rpc.prop_map(|(connect, method, authority, status, messages, stream)| {
        let system = if connect { RpcSystem::Connect } else { RpcSystem::Grpc };
        let shape = if stream { Shape::Stream } else { Shape::RequestReply };
        Family::Rpc(RpcCase { system, method, authority, status, messages, shape })
    });
    let system = prop::sample::select(vec![DbSystem::Mariadb, DbSystem::Mysql, DbSystem::Postgresql, DbSystem::Redis]);
    let query = prop::option::of(prop::sample::select(vec!["", "SELECT ?", &*"SELECT ? ".repeat(500).leak()]));
    let db = (system, (word(), word(), word(), query, word(), word()), any::<(Option<u32>, Option<u64>)>());
    let db = db.prop_map(|(system, texts, (batch, rows))| {
        let (namespace, operation, summary, query, procedure, status) = texts;
        Family::Db(DbCase { system, namespace, operation, summary, query, procedure, batch, status, rows })
    });
    prop_oneof![Just(Family::Http), rpc, db]
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let what = (any::<bool>(), word(), word(), word(), word(), word());
    let rest = (
        prop::option::of(any::<u16>()),
        prop::option::of(prop::sample::select(vec![HttpVersion::H10, HttpVersion::H11, HttpVersion::H2])),
        prop::collection::vec(prop::sample::select(Incomplete::ALL.to_vec()), 0..4),
        prop::option::of((any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>(), word())),
        (any::<[Option<u64>; 2]>(), any::<bool>(), any::<bool>()),
        (0..3_usize, any::<[u8; 16]>(), 0..5_u8),
        family(),
    );
    let one = (what, rest).prop_map(|(what, rest)| {
        let (server, method, target, host, agent, forwarded) = what;
        let (status, version, incomplete, context, (bodies, tls, response), (resource, address, remote), family) = rest;
        let case = if server { Case::server("GET", "/") } else { Case::client("GET", "/") };
        let remote = match remote {
            0 => Endpoint::Unknown,
            1 => Endpoint::Unix("/run/x".into()),
            2 => Endpoint::Inet(std::net::Ipv6Addr::from(address).into(), 1),
            3 => Endpoint::Inet([address[0], address[1], 2, 3].into(), u16::from(address[4]) * 257),
            _ => Endpoint::Unix(Box::default()),
        };
        let mut span = Case {
            method,
            target,
            host,
            agent,
            forwarded,
            status,
            version,
            bodies,
            tls,
            incomplete,
            context,
            response,
            remote,
            routes: vec!["/a"],
            family,
            databases: Databases { returned_rows: true, ..Databases::default() },
            outcome: [None, Some(Outcome::Error), Some(Outcome::Ok)][resource],
            ..case
        }
        .span();
        span.resource = Arc::clone(&resources()[resource]);
        span
    });
    prop::collection::vec(one, 0..20)
}

/// Resources are made anew for each span above: equal ones become the same one here.
fn shared(mut spans: Vec<Span>) -> Vec<Span> {
    let mut known: Vec<Arc<Resource>> = Vec::new();
    for span in &mut spans {
        match known.iter().find(|resource| ***resource == *span.resource) {
            Some(resource) => span.resource = Arc::clone(resource),
            None => known.push(Arc::clone(&span.resource)),
        }
    }
    spans
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_spans_decode_to_what_was_meant(spans in spans()) {
        let spans = shared(spans);
        let batches = encode(&spans, usize::MAX);
        prop_assert_eq!(batches.iter().map(|batch| batch.items).sum::<usize>(), spans.len());
        for batch in &batches {
            let decoded = ExportTraceServiceRequest::decode(batch.payload.clone()).unwrap();
            prop_assert_eq!(&decoded, &expected(&grouped(&spans)));
            prop_assert_eq!(decoded.encoded_len(), batch.payload.len(), "lengths are minimal");
        }
    }

    #[test]
    fn json_lines_decode_to_the_same_request(spans in spans()) {
        let spans = shared(spans);
        let mut line = String::new();
        let mut encoder = JsonEncoder::default();
        spans.iter().for_each(|span| encoder.add(span));
        encoder.finish(&mut line);
        match encode(&spans, usize::MAX).first() {
            None => prop_assert_eq!(line, ""),
            Some(batch) => {
                prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
                let mut decoded: ExportTraceServiceRequest = serde_json::from_str(&line).unwrap();
                for span in decoded.resource_spans.iter_mut().flat_map(|group| &mut group.scope_spans).flat_map(|scope| &mut scope.spans) {
                    // The Collector writes an empty status.
                    span.status = span.status.take().filter(|status| status.code != 0);
                }
                prop_assert_eq!(decoded, ExportTraceServiceRequest::decode(batch.payload.clone()).unwrap());
            }
        }
    }

    #[test]
    fn batches_hold_every_span_once_and_keep_their_size(spans in spans(), max_bytes in 1_500_usize..6_000) {
        let spans = shared(spans);
        let batches = encode(&spans, max_bytes);
        let mut seen = Vec::new();
        for batch in &batches {
            let decoded = ExportTraceServiceRequest::decode(batch.payload.clone()).unwrap();
            let in_batch: Vec<_> = decoded
                .resource_spans
                .into_iter()
                .flat_map(|group| {
                    let resource = group.resource;
                    group.scope_spans.into_iter().flat_map(|scope| scope.spans).map(move |span| (resource.clone(), span))
                })
                .collect();
            prop_assert_eq!(in_batch.len(), batch.items);
            prop_assert!(batch.payload.len() <= max_bytes || batch.items == 1);
            seen.extend(in_batch);
        }
        prop_assert_eq!(seen.len(), spans.len());
        for span in &spans {
            let wanted = (Some(expected_resource(&span.resource)), expected_span(span));
            let at = seen.iter().position(|seen| *seen == wanted);
            prop_assert!(at.is_some());
            seen.swap_remove(at.unwrap());
        }
    }
}

#[test]
fn an_encoder_used_again_gives_the_same_bytes() {
    let spans = [Case::server("GET", "/a").span(), Case::client("GET", "/b").span()];
    let mut encoder = TraceEncoder::new();
    let mut batches = Vec::new();
    for _ in 0..3 {
        encode_with(&mut encoder, &spans, usize::MAX, &mut batches);
    }
    assert_eq!(batches[0], batches[1]);
    assert_eq!(batches[0], batches[2]);
    encode_with(&mut encoder, &[], usize::MAX, &mut batches);
    assert_eq!(batches.len(), 3, "no spans, no request");
}

fn expected_metrics(instance: &Instance, metrics: Vec<Metric>) -> ResourceMetrics {
    ResourceMetrics {
        resource: Some(ProtoResource {
            attributes: instance.attributes.iter().map(|(key, value)| pair(key, text(value))).collect(),
            ..ProtoResource::default()
        }),
        scope_metrics: vec![ScopeMetrics { scope: scope(), metrics, schema_url: SCHEMA_URL.to_owned() }],
        schema_url: SCHEMA_URL.to_owned(),
    }
}

#[test]
fn metrics_decode_to_the_snapshot() {
    let mut metrics = Metrics::new();
    let server = Case { routes: vec!["/a"], ..Case::server("GET", "/a?x") }.span();
    let client = Case { status: Some(404), ..Case::client("GET", "/") }.span();
    [&server, &server, &client].into_iter().for_each(|span| metrics.record(span));
    let snapshot = metrics.snapshot(UnixTime(77));
    let mut batches = Vec::new();
    MetricsEncoder::new().encode(&snapshot, usize::MAX, &mut batches);
    assert_eq!((batches.len(), batches[0].items), (1, 2));
    let decoded = ExportMetricsServiceRequest::decode(batches[0].payload.clone()).unwrap();
    let metric = |side: &str, start, count: u64, attributes| Metric {
        name: format!("http.{side}.request.duration"),
        description: format!("Duration of HTTP {side} requests."),
        unit: "s".to_owned(),
        data: Some(metric::Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: 77,
                count,
                sum: Some(0.008 * count as f64),
                bucket_counts: (0..15).map(|bucket| if bucket == 1 { count } else { 0 }).collect(),
                explicit_bounds: Instrument::HttpServer.bounds().to_vec(),
                ..HistogramDataPoint::default()
            }],
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        })),
        ..Metric::default()
    };
    let of_client = vec![
        pair("http.request.method", text("GET")),
        pair("server.address", text("shop.example")),
        pair("network.protocol.version", text("1.1")),
        pair("error.type", text("404")),
        pair("server.port", Any::IntValue(8080)),
        pair("http.response.status_code", Any::IntValue(404)),
    ];
    let of_server = vec![
        pair("http.request.method", text("GET")),
        pair("http.route", text("/a")),
        pair("url.scheme", text("http")),
        pair("network.protocol.version", text("1.1")),
        pair("http.response.status_code", Any::IntValue(200)),
    ];
    let instance = &server.resource.instance;
    let expected = [metric("client", 1_009_000_000, 1, of_client), metric("server", 1_009_000_000, 2, of_server)];
    let resource_metrics = expected.map(|metric| expected_metrics(instance, vec![metric])).to_vec();
    assert_eq!(decoded, ExportMetricsServiceRequest { resource_metrics });
    assert_eq!(decoded.encoded_len(), batches[0].payload.len(), "lengths are minimal");
}

#[test]
fn each_instrument_has_its_own_buckets_and_name() {
    let mut metrics = Metrics::new();
    for role in [Role::Client, Role::Server] {
        metrics.record(&Case::db(role, DbCase::select()).span());
        metrics.record(&Case::rpc(role, RpcCase::default()).span());
        metrics.record(&Case { role, ..Case::client("GET", "/") }.span());
    }
    let mut batches = Vec::new();
    MetricsEncoder::new().encode(&metrics.snapshot(UnixTime(1)), usize::MAX, &mut batches);
    let decoded = ExportMetricsServiceRequest::decode(batches[0].payload.clone()).unwrap();
    let mut seen = Vec::new();
    for metric in
        decoded.resource_metrics.iter().flat_map(|group| &group.scope_metrics).flat_map(|scope| &scope.metrics)
    {
        let Some(metric::Data::Histogram(histogram)) = &metric.data else { panic!("not a histogram") };
        let [point] = &histogram.data_points[..] else { panic!("not one point") };
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        // 8 ms
        let bucket = point.bucket_counts.iter().position(|count| *count == 1).unwrap();
        assert_eq!(point.explicit_bounds[bucket], 0.01, "{}", metric.name);
        seen.push((metric.name.as_str(), point.explicit_bounds.len()));
    }
    assert_eq!(
        seen,
        [
            ("db.client.operation.duration", 9),
            ("db.server.operation.duration", 9),
            ("http.client.request.duration", 14),
            ("http.server.request.duration", 14),
            ("rpc.client.call.duration", 14),
            ("rpc.server.call.duration", 14),
        ]
    );
}

#[test]
fn large_snapshots_are_split_and_lose_no_point() {
    let mut metrics = Metrics::new();
    for status in 0..MAX_PER_INSTANCE as u16 + 10 {
        metrics.record(&Case { status: Some(status), ..Case::client("GET", "/") }.span());
    }
    let snapshot = metrics.snapshot(UnixTime(1));
    let mut batches = Vec::new();
    MetricsEncoder::new().encode(&snapshot, 64 * 1024, &mut batches);
    assert!(batches.len() > 5);
    let mut points = 0;
    let mut overflow = 0;
    for batch in &batches {
        assert!(batch.payload.len() <= 64 * 1024);
        let decoded = ExportMetricsServiceRequest::decode(batch.payload.clone()).unwrap();
        let mut in_batch = 0;
        for metric in
            decoded.resource_metrics.iter().flat_map(|group| &group.scope_metrics).flat_map(|scope| &scope.metrics)
        {
            let Some(metric::Data::Histogram(histogram)) = &metric.data else { panic!("not a histogram") };
            in_batch += histogram.data_points.len();
            let of_overflow =
                |point: &&HistogramDataPoint| point.attributes == [pair("otel.metric.overflow", Any::BoolValue(true))];
            overflow += histogram.data_points.iter().filter(of_overflow).map(|point| point.count).sum::<u64>();
        }
        assert_eq!(in_batch, batch.items);
        points += in_batch;
    }
    assert_eq!(points, MAX_PER_INSTANCE + 1);
    assert_eq!(overflow, 10);
}

#[test]
fn a_batch_costs_one_allocation_and_a_span_none() {
    let cases = [
        Case::server("GET", "/a?b&sig=c"),
        Case::rpc(Role::Client, RpcCase { status: Some(5), ..RpcCase::default() }),
        Case::db(Role::Client, DbCase { status: Some("42P01"), ..DbCase::select() }),
    ];
    let spans: Vec<Span> = (0..512).map(|index| cases[index % cases.len()].span()).collect();
    let resource = Arc::clone(&spans[0].resource);
    let spans: Vec<Span> = spans.into_iter().map(|span| Span { resource: Arc::clone(&resource), ..span }).collect();
    let mut encoder = TraceEncoder::new();
    let mut batches = Vec::with_capacity(2);
    encode_with(&mut encoder, &spans, usize::MAX, &mut batches);
    let used = allocation_counter::measure(|| encode_with(&mut encoder, &spans, usize::MAX, &mut batches));
    assert_eq!(batches.len(), 2);
    assert_eq!((used.count_total, used.bytes_total), (1, batches[1].payload.len() as u64));
}
