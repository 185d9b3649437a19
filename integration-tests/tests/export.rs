//! The exporter against an end point that fails in every way we know: nothing is lost within the queues' bounds, and what is
//! lost is counted exactly.
//!
//! Each span has its own id. At rest built = exported + dropped + queued, and what the end point accepted is what the ledger
//! calls exported.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test: it panics with what it saw, and times the exporter"
)]

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use sidelight::{
    exporters::{self, Backoff, Batch, Console, Handle, Loss, Producer, Report, Settings, Signal},
    metrics::{Metrics, Snapshot},
    model::{Connection, Endpoint, Instance, Resource, Span, SpanId, SpanKind, TraceId, UnixTime},
    semconv::rules::{HttpRules, Method},
    telemetry::{Health, Metric},
};
use sidelight_config::{Compression, Export, Limits, Otlp, OtlpProtocol, OutputFormat};
use sidelight_integration_tests::{
    otlp_sink::{Protocol, Reply, Sink, Tls},
    peers::free_port,
    wait_for,
};
use sidelight_protocol_parsers::{Details, Exchange, ExchangeId, Http, Role, Shape, Side};

struct Exporter {
    producer: Producer,
    handle: Handle,
    health: Arc<Health>,
}

struct Setup {
    export: Export,
    limits: Limits,
}

impl Setup {
    fn new(protocol: Protocol, traces: &str, metrics: Option<String>) -> Self {
        let otlp = |endpoint| Otlp {
            endpoint,
            protocol: match protocol {
                Protocol::Grpc => OtlpProtocol::Grpc,
                Protocol::Http => OtlpProtocol::HttpProtobuf,
            },
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            compression: Compression::None,
            certificate: None,
            client_certificate: None,
            client_key: None,
        };
        Self {
            export: Export {
                output: OutputFormat::Otlp,
                output_file: None,
                traces: otlp(Some(traces.to_owned())),
                metrics: otlp(metrics),
                metric_interval: Duration::from_secs(60),
                span_delay: None,
                health: true,
            },
            limits: Limits {
                ring: 4 << 20,
                span_queue: 2 << 20,
                export_queue: 4 << 20,
                buffers: 1 << 20,
                connections: 1024,
            },
        }
    }

    fn of(sink: &Sink, protocol: Protocol) -> Self {
        Self::new(protocol, &sink.url("traces"), None)
    }

    fn file(path: &Path) -> Self {
        let mut setup = Self::new(Protocol::Http, "http://127.0.0.1:9/", None);
        setup.export.output = OutputFormat::OtlpJson;
        setup.export.output_file = Some(path.to_owned());
        setup
    }

    fn start(&self) -> Exporter {
        let settings = Settings {
            delay: Duration::from_millis(10),
            cut: 64 * 1024,
            backoff: Backoff { first: Duration::from_millis(20), max: Duration::from_millis(100) },
        };
        let health = Arc::new(Health::default());
        let (producer, handle) =
            exporters::start((&self.export, &self.limits), Console::Stdout, settings, &health).unwrap();
        Exporter { producer, handle, health }
    }
}

impl Exporter {
    /// Pushes spans with these ids as one batch.
    fn push(&self, ids: impl IntoIterator<Item = u64>) -> bool {
        self.producer.push(Batch::Spans(ids.into_iter().map(span).collect()))
    }

    fn dropped(&self) -> u64 {
        Loss::ALL.iter().map(|why| self.health.load(Signal::Traces.lost(*why))).sum()
    }

    fn lost(&self, why: Loss) -> u64 {
        self.health.load(Signal::Traces.lost(why))
    }

    fn exported(&self) -> u64 {
        self.health.load(Metric::SpansExported)
    }

    /// Stops, checks the ledger, gives it and the report.
    fn stop(self) -> (Arc<Health>, Report) {
        let Self { producer, handle, health } = self;
        drop(producer);
        let report = handle.shutdown(Duration::from_secs(5), || ());
        let load = |metric| health.load(metric);
        let dropped: u64 = Loss::ALL.iter().map(|why| load(Signal::Traces.lost(*why))).sum();
        assert_eq!(load(Metric::SpansBuilt), load(Metric::SpansExported) + dropped, "the ledger balances");
        assert_eq!(load(Metric::SpansQueued), 0);
        assert_eq!(load(Metric::QueueIntake), 0);
        assert_eq!(load(Metric::QueueTraces), 0);
        (health, report)
    }
}

fn span(id: u64) -> Span {
    let instance = Arc::new(Instance {
        service_name: "shop".to_owned(),
        instance_id: "1".to_owned(),
        key: 1,
        attributes: vec![("service.name".to_owned(), "shop".to_owned())],
    });
    let connection = Connection {
        key: Default::default(),
        local: Endpoint::Unknown,
        remote: Endpoint::Unknown,
        tls: false,
        role: Some(Role::Server),
    };
    let exchange = Exchange {
        id: ExchangeId(id),
        protocol: "http",
        role: Role::Server,
        shape: Shape::RequestReply,
        request: Side::default(),
        response: Some(Side::default()),
        outcome: None,
        details: Details::Generic,
        context: None,
        incomplete: Default::default(),
        text: Default::default(),
    };
    Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId(id.to_be_bytes()),
        parent: None,
        trace_flags: 1,
        kind: SpanKind::Server,
        start: UnixTime(1),
        duration: 1,
        first_byte: None,
        route: None,
        method: Method::Missing,
        http: Arc::new(HttpRules::new(&[], None)),
        resource: Arc::new(Resource { instance, pid: 1, attributes: Vec::new() }),
        connection: Arc::new(connection),
        exchange: Box::new(exchange),
    }
}

/// The ids of the accepted spans; panics if one came twice.
fn ids(sink: &Sink) -> BTreeSet<u64> {
    let mut ids = BTreeSet::new();
    for span in sink.spans() {
        let id = u64::from_be_bytes(span.span_id.as_slice().try_into().unwrap());
        assert!(ids.insert(id), "span {id} came twice");
    }
    ids
}

fn set(ids: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
    ids.into_iter().collect()
}

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

#[test]
fn spans_arrive_once_over_one_connection_with_headers_and_compression() {
    for protocol in BOTH {
        for compression in [Compression::Gzip, Compression::None] {
            let sink = Sink::start(protocol);
            let mut setup = Setup::of(&sink, protocol);
            setup.export.traces.compression = compression;
            setup.export.traces.headers = vec![("x-tenant".to_owned(), "blue".to_owned())];
            let exporter = setup.start();
            for round in 0..5 {
                assert!(exporter.push(round * 10 + 1..round * 10 + 11));
                sink.wait("a request", |sink| sink.spans().len() as u64 == (round + 1) * 10);
            }
            let (health, report) = exporter.stop();
            assert_eq!(ids(&sink), set(1..51));
            assert_eq!(health.load(Metric::SpansExported), 50);
            assert_eq!(report, Report::default());
            for request in sink.requests() {
                assert_eq!(request.header("x-tenant"), "blue");
                assert!(request.header("user-agent").starts_with("sidelight/"), "{:?}", request.headers);
                let encoding = match protocol {
                    Protocol::Grpc => request.header("grpc-encoding"),
                    Protocol::Http => request.header("content-encoding"),
                };
                assert_eq!(encoding, if compression == Compression::Gzip { "gzip" } else { "" });
                if protocol == Protocol::Grpc && compression == Compression::Gzip {
                    // Go servers answer with the encoding of the request, announced or not
                    assert!(request.header("grpc-accept-encoding").contains("gzip"), "{:?}", request.headers);
                }
            }
            let connections: BTreeSet<_> = sink.requests().iter().map(|request| request.from).collect();
            assert_eq!(connections.len(), 1, "{connections:?}");
        }
    }
}

#[test]
fn an_end_point_that_does_not_listen_yet_gets_everything_later() {
    for protocol in BOTH {
        let port = free_port();
        let exporter = Setup::new(protocol, &format!("http://127.0.0.1:{port}/v1/traces"), None).start();
        exporter.push(1..101);
        wait_for("the first payload to be encoded", Duration::from_secs(10), || {
            (exporter.health.load(Metric::QueueTraces) > 0).then_some(())
        });
        assert_eq!(exporter.health.load(Metric::SpansQueued), 100);
        let sink = Sink::start_on(protocol, port, None);
        sink.wait("the spans", |sink| sink.spans().len() == 100);
        let (health, _) = exporter.stop();
        assert_eq!(ids(&sink), set(1..101));
        assert_eq!(health.load(Metric::SpansExported), 100);
    }
}

#[test]
fn an_end_point_that_went_away_and_came_back_gets_everything() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        let exporter = Setup::of(&sink, protocol).start();
        exporter.push(1..11);
        sink.wait("the first spans", |sink| sink.spans().len() == 10);
        let (port, first) = (sink.address.port(), ids(&sink));
        drop(sink);
        exporter.push(11..21);
        wait_for("the second payload to be encoded", Duration::from_secs(10), || {
            (exporter.health.load(Metric::QueueTraces) > 0).then_some(())
        });
        let sink = Sink::start_on(protocol, port, None);
        sink.wait("the second spans", |sink| sink.spans().len() == 10);
        exporter.stop();
        assert_eq!((first, ids(&sink)), (set(1..11), set(11..21)));
    }
}

#[test]
fn a_busy_end_point_is_asked_again_when_it_said() {
    let later = || vec![("retry-after", "1".to_owned())];
    let cases = [
        (Protocol::Http, Reply::Answer(503, later(), "busy"), 1000),
        (Protocol::Http, Reply::Answer(429, later(), "slow down"), 1000),
        (Protocol::Http, Reply::Answer(502, Vec::new(), ""), 0),
        (Protocol::Http, Reply::Answer(504, Vec::new(), ""), 0),
        (Protocol::Grpc, Reply::Fail(tonic::Code::Unavailable, "busy", Some(Duration::from_millis(400))), 400),
        (Protocol::Grpc, Reply::Fail(tonic::Code::ResourceExhausted, "slow", Some(Duration::from_millis(400))), 400),
        (Protocol::Grpc, Reply::Fail(tonic::Code::Cancelled, "", None), 0),
        (Protocol::Grpc, Reply::Fail(tonic::Code::DataLoss, "", None), 0),
    ];
    for (protocol, reply, least) in cases {
        let sink = Sink::start(protocol);
        sink.script([reply.clone()]);
        let exporter = Setup::of(&sink, protocol).start();
        let started = std::time::Instant::now();
        exporter.push(1..11);
        sink.wait("the spans", |sink| sink.spans().len() == 10);
        assert!(started.elapsed() >= Duration::from_millis(least), "{reply:?}: after {:?}", started.elapsed());
        let (health, _) = exporter.stop();
        assert_eq!(ids(&sink), set(1..11), "{reply:?}");
        assert_eq!(sink.begun(), 2, "{reply:?}: refused once, then taken");
        assert_eq!(health.load(Metric::SpansExported), 10);
    }
}

#[test]
fn an_end_point_that_does_not_answer_in_time_is_asked_again() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        sink.script([Reply::Hang, Reply::Hang]);
        let mut setup = Setup::of(&sink, protocol);
        setup.export.traces.timeout = Duration::from_millis(200);
        let exporter = setup.start();
        exporter.push(1..11);
        sink.wait("the spans", |sink| sink.spans().len() == 10);
        exporter.stop();
        assert_eq!(ids(&sink), set(1..11));
        assert_eq!(sink.begun(), 3);
    }
}

#[test]
fn a_connection_reset_in_mid_body_is_made_anew_and_loses_nothing() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        sink.script([Reply::Reset, Reply::Accept, Reply::Reset, Reply::Reset]);
        let exporter = Setup::of(&sink, protocol).start();
        exporter.push(1..301);
        sink.wait("the first spans", |sink| sink.spans().len() == 300);
        exporter.push(301..601);
        sink.wait("the second spans", |sink| sink.spans().len() == 600);
        let (health, _) = exporter.stop();
        assert_eq!(ids(&sink), set(1..601));
        assert_eq!(health.load(Metric::SpansExported), 600);
    }
}

#[test]
fn partial_success_counts_what_was_rejected() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        sink.script([Reply::Partial(3, "too old"), Reply::Partial(0, "only a warning")]);
        let exporter = Setup::of(&sink, protocol).start();
        exporter.push(1..11);
        sink.wait("the first request", |sink| sink.spans().len() == 7);
        exporter.push(11..21);
        sink.wait("the second request", |sink| sink.spans().len() == 17);
        let (health, _) = exporter.stop();
        assert_eq!(health.load(Metric::SpansRejected), 3);
        assert_eq!(health.load(Metric::SpansExported), ids(&sink).len() as u64);
        assert_eq!(sink.begun(), 2, "partial success is not repeated");
    }
}

#[test]
fn what_an_end_point_refuses_for_good_is_counted_and_not_repeated() {
    let cases = [
        (Protocol::Http, Reply::Answer(400, Vec::new(), "bad span")),
        (Protocol::Http, Reply::Answer(401, Vec::new(), "who are you")),
        (Protocol::Http, Reply::Answer(500, Vec::new(), "")),
        (Protocol::Grpc, Reply::Fail(tonic::Code::InvalidArgument, "bad span", None)),
        (Protocol::Grpc, Reply::Fail(tonic::Code::ResourceExhausted, "no RetryInfo", None)),
        (Protocol::Grpc, Reply::Fail(tonic::Code::Unimplemented, "", None)),
    ];
    for (protocol, reply) in cases {
        let sink = Sink::start(protocol);
        sink.script([reply.clone()]);
        let exporter = Setup::of(&sink, protocol).start();
        exporter.push(1..11);
        wait_for("the refusal", Duration::from_secs(10), || (exporter.lost(Loss::Refused) == 10).then_some(()));
        exporter.push(11..21);
        sink.wait("the second request", |sink| sink.spans().len() == 10);
        let (health, report) = exporter.stop();
        assert_eq!(ids(&sink), set(11..21), "{reply:?}");
        assert_eq!((health.load(Metric::SpansExported), report.spans), (10, 0));
        assert_eq!(sink.begun(), 2, "{reply:?}");
    }
}

#[test]
fn over_the_bound_the_oldest_are_dropped_and_every_span_is_accounted_for() {
    for protocol in BOTH {
        let port = free_port();
        let mut setup = Setup::new(protocol, &format!("http://127.0.0.1:{port}/v1/traces"), None);
        setup.limits.export_queue = 64 * 1024;
        setup.limits.span_queue = 256 * 1024;
        let exporter = setup.start();
        let mut refused = BTreeSet::new();
        for round in 0..200 {
            let batch = round * 50 + 1..round * 50 + 51;
            if !exporter.push(batch.clone()) {
                refused.extend(batch);
            }
        }
        wait_for("queue A to be empty", Duration::from_secs(20), || {
            (exporter.health.load(Metric::QueueIntake) == 0).then_some(())
        });
        assert!(exporter.health.load(Metric::QueueTraces) <= 48 * 1024);
        let (dropped, queued) = (exporter.dropped(), exporter.health.load(Metric::SpansQueued));
        assert_eq!(exporter.health.load(Metric::SpansBuilt), 10_000);
        assert_eq!((exporter.exported(), dropped), (0, exporter.lost(Loss::QueueFull)));
        assert_eq!(dropped + queued, 10_000);
        let sink = Sink::start_on(protocol, port, None);
        sink.wait("what was kept", |sink| sink.spans().len() as u64 == queued);
        let (health, _) = exporter.stop();
        let got = ids(&sink);
        assert_eq!(got.len() as u64, health.load(Metric::SpansExported));
        let kept = (1..10_001).filter(|id| !refused.contains(id)).collect::<Vec<_>>();
        let newest = kept[kept.len() - got.len()..].iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(got, newest, "the newest of those queue A took");
    }
}

#[test]
fn a_stop_with_the_end_point_down_says_what_was_not_sent_and_why() {
    for protocol in BOTH {
        let port = free_port();
        let exporter = Setup::new(protocol, &format!("http://127.0.0.1:{port}/v1/traces"), None).start();
        exporter.push(1..31);
        let (health, report) = exporter.stop();
        assert_eq!((report.spans, health.load(Metric::SpansShutdown)), (30, 30));
        let error = report.errors.first().expect("an error");
        assert!(error.contains("cannot connect to 127.0.0.1"), "{error}");
    }
}

#[test]
fn what_is_pushed_after_the_stop_is_counted() {
    let sink = Sink::start(Protocol::Http);
    let Exporter { producer, handle, health, .. } = Setup::of(&sink, Protocol::Http).start();
    assert_eq!(handle.shutdown(Duration::from_secs(5), || ()), Report::default());
    assert!(!producer.push(Batch::Spans(vec![span(1)])));
    assert_eq!((health.load(Metric::SpansBuilt), health.load(Metric::SpansShutdown)), (1, 1));
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    for protocol in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let tls = Tls::new(dir.path());
        let sink = Sink::start_tls(protocol, &tls);
        let mut setup = Setup::of(&sink, protocol);
        setup.export.traces.certificate = Some(tls.authority);
        let exporter = setup.start();
        exporter.push(1..11);
        sink.wait("the spans", |sink| sink.spans().len() == 10);
        exporter.stop();
        assert_eq!(ids(&sink), set(1..11));
    }
}

#[test]
fn an_authority_we_do_not_trust_is_told_with_what_to_do() {
    for protocol in BOTH {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sink = Sink::start_tls(protocol, &Tls::new(dir.path()));
        let mut setup = Setup::of(&sink, protocol);
        setup.export.traces.certificate = Some(Tls::new(other.path()).authority);
        let exporter = setup.start();
        exporter.push(1..11);
        let (health, report) = exporter.stop();
        assert_eq!((sink.begun(), health.load(Metric::SpansShutdown)), (0, 10));
        let error = report.errors.join("\n");
        assert!(error.contains("set OTEL_EXPORTER_OTLP_CERTIFICATE to the PEM file of that authority"), "{error}");
    }
}

#[test]
fn tls_to_a_port_without_tls_is_told() {
    let sink = Sink::start(Protocol::Http);
    let dir = tempfile::tempdir().unwrap();
    let url = format!("https://localhost:{}/v1/traces", sink.address.port());
    let mut setup = Setup::new(Protocol::Http, &url, None);
    setup.export.traces.certificate = Some(Tls::new(dir.path()).authority);
    let exporter = setup.start();
    exporter.push(1..2);
    let (_, report) = exporter.stop();
    let error = report.errors.join("\n");
    assert!(error.contains("does not speak TLS on this port; use http://"), "{error}");
}

#[test]
fn bad_end_points_are_refused_at_start() {
    let start = |change: fn(&mut Otlp)| {
        let mut setup = Setup::new(Protocol::Http, "https://127.0.0.1:4318/v1/traces", None);
        change(&mut setup.export.traces);
        let health = Arc::new(Health::default());
        let settings = Settings::of(OutputFormat::Otlp);
        let config = (&setup.export, &setup.limits);
        let error = exporters::start(config, Console::Stdout, settings, &health).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    };
    let errors = [
        start(|otlp| otlp.endpoint = Some("ftp://there".to_owned())),
        start(|otlp| otlp.certificate = Some("/no/such.pem".into())),
        start(|otlp| otlp.headers = vec![("a b".to_owned(), "c".to_owned())]),
    ];
    assert!(errors[0].contains("\"ftp://there\" is not a URL; expected http://HOST:PORT"), "{}", errors[0]);
    assert!(errors[1].contains("certificate authorities from /no/such.pem"), "{}", errors[1]);
    assert!(errors[2].contains("header \"a b\""), "{}", errors[2]);
}

/// 3,000 series: 500 status codes of six instances.
fn snapshot() -> Snapshot {
    let mut metrics = Metrics::new();
    for key in 0..6 {
        let attributes = vec![("service.instance.id".to_owned(), key.to_string())];
        let (service_name, instance_id) = ("shop".to_owned(), key.to_string());
        let instance = Arc::new(Instance { service_name, instance_id, key, attributes });
        for status in 100..600 {
            let mut span = span(1);
            span.resource = Arc::new(Resource { instance: Arc::clone(&instance), pid: 1, attributes: Vec::new() });
            span.exchange.details = Details::Http(Http { status: Some(status), ..Http::default() });
            metrics.record(&span);
        }
    }
    metrics.snapshot(UnixTime(2))
}

/// How many points the end point accepted.
fn points(sink: &Sink) -> usize {
    let requests = sink.metrics();
    let resources = requests.iter().flat_map(|request| &request.resource_metrics);
    let metrics = resources.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics);
    let points = metrics.map(|metric| match metric.data.as_ref().unwrap() {
        Data::Histogram(histogram) => histogram.data_points.len(),
        other => panic!("{other:?}"),
    });
    points.sum()
}

#[test]
fn a_metric_snapshot_larger_than_its_queue_passes_piece_by_piece() {
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        let mut setup = Setup::new(protocol, &sink.url("traces"), Some(sink.url("metrics")));
        setup.limits.export_queue = 256 * 1024;
        let exporter = setup.start();
        assert!(exporter.producer.push(Batch::Metrics(snapshot())));
        exporter.push(1..2);
        let (health, report) = exporter.stop();
        assert_eq!((points(&sink), report), (3000, Report::default()));
        assert_eq!((health.load(Metric::PointsBuilt), health.load(Metric::PointsExported)), (3000, 3000));
        assert_eq!(ids(&sink), set(1..2));
        assert!(sink.metrics().len() > 20, "{} requests", sink.metrics().len());
    }
}

#[test]
fn a_newer_metric_snapshot_supersedes_what_is_left_of_the_last_one() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/v1");
    let mut setup = Setup::new(Protocol::Http, &format!("{url}/traces"), Some(format!("{url}/metrics")));
    setup.limits.export_queue = 256 * 1024;
    let exporter = setup.start();
    for _ in 0..2 {
        assert!(exporter.producer.push(Batch::Metrics(snapshot())));
        wait_for("the queue to fill", Duration::from_secs(10), || {
            (exporter.health.load(Metric::QueueMetrics) > 32 * 1024).then_some(())
        });
    }
    let sink = Sink::start_on(Protocol::Http, port, None);
    let (health, _) = exporter.stop();
    let (accepted, dropped) = (points(&sink) as u64, health.load(Metric::PointsQueueFull));
    assert_eq!((accepted, accepted + dropped), (health.load(Metric::PointsExported), 6000));
    assert!((3000..6000).contains(&accepted), "{accepted}: the whole second snapshot and what was left of the first");
    assert_eq!(health.load(Metric::PointsQueued), 0);
}

#[test]
fn the_daemons_own_health_takes_the_configured_way() {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    for protocol in BOTH {
        let sink = Sink::start(protocol);
        let exporter = Setup::new(protocol, &sink.url("traces"), Some(sink.url("metrics"))).start();
        let to = exporter.handle.own_metrics().unwrap();
        let resource = [("host.name".to_owned(), "node".to_owned())];
        let health = Arc::clone(&exporter.health);
        let own = sidelight::telemetry::health_export::start(&health, Duration::from_secs(60), &resource, to).unwrap();
        health.store(Metric::EventsRingFull, 5);
        exporter.push(1..11);
        let Exporter { handle, .. } = exporter;
        let report = handle.shutdown(Duration::from_secs(5), move || own.shutdown());
        assert_eq!(report, Report::default());
        let metrics = sink.metrics().pop().expect("the last metrics");
        let resource = &metrics.resource_metrics[0];
        let names = resource.resource.as_ref().unwrap().attributes.iter().map(|pair| pair.key.as_str());
        assert_eq!(set_of(names), set_of(["host.name", "service.name", "service.version"]));
        let metric = |name: &str| {
            let all = &resource.scope_metrics[0].metrics;
            let metric = all.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is missing"));
            let points = match metric.data.as_ref().unwrap() {
                Data::Sum(sum) => &sum.data_points,
                Data::Gauge(gauge) => &gauge.data_points,
                other => panic!("{other:?}"),
            };
            points.iter().map(|point| (point.attributes.len(), point.value.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(metric("sidelight.spans.exported"), [(0, Value::AsInt(10))], "after the spans are through");
        assert!(metric("sidelight.events.lost").contains(&(1, Value::AsInt(5))));
        assert_eq!(metric("sidelight.spans.dropped").len(), Loss::ALL.len());
        assert!(metric("otel.sdk.exporter.span.exported").contains(&(0, Value::AsInt(10))));
        assert!(matches!(metric("process.memory.usage")[..], [(0, Value::AsInt(bytes))] if bytes > 1 << 20));
        assert!(matches!(metric("process.cpu.time")[..], [(0, Value::AsDouble(seconds))] if seconds > 0.0));
    }
}

fn set_of<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

#[test]
fn a_file_gets_every_line_and_a_full_disk_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spans.json");
    let exporter = Setup::file(&path).start();
    exporter.push(1..11);
    let (health, _) = exporter.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("\"spanId\"").count(), 10);
    assert_eq!(health.load(Metric::SpansExported), 10);

    let exporter = Setup::file(Path::new("/dev/full")).start();
    exporter.push(1..11);
    let (health, _) = exporter.stop();
    assert_eq!(health.load(Metric::SpansRefused), 10);
}

/// A named pipe of one page with a reader.
fn pipe(dir: &Path) -> (std::path::PathBuf, std::fs::File) {
    let path = dir.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    // Reading and writing: opening it for reading alone would wait for a writer.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    (path, reader)
}

#[test]
fn a_reader_that_went_away_ends_the_output_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let (path, reader) = pipe(dir.path());
    let exporter = Setup::file(&path).start();
    drop(reader);
    exporter.push(1..11);
    wait_for("the end of the output", Duration::from_secs(10), || {
        (exporter.lost(Loss::OutputClosed) == 10).then_some(())
    });
    exporter.push(11..21);
    let (health, report) = exporter.stop();
    assert_eq!((health.load(Metric::SpansOutputClosed), report), (20, Report::default()));
}

#[test]
fn a_reader_that_sleeps_holds_neither_the_ring_thread_nor_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _reader) = pipe(dir.path());
    let mut setup = Setup::file(&path);
    setup.limits.export_queue = 64 * 1024;
    let exporter = setup.start();
    for round in 0..200 {
        exporter.push(round * 50..round * 50 + 50);
    }
    let started = std::time::Instant::now();
    let Exporter { handle, health, .. } = exporter;
    let report = handle.shutdown(Duration::from_secs(1), || ());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(report.spans > 0, "{report:?}");
    let dropped: u64 = Loss::ALL.iter().map(|why| health.load(Signal::Traces.lost(*why))).sum();
    assert_eq!(health.load(Metric::SpansBuilt), health.load(Metric::SpansExported) + dropped);
}
