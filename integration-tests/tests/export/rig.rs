//! An exporter as the daemon has it, with its queues and its ledger, and spans for it.

use std::{cell::RefCell, collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use sidelight::{
    exporters::{self, Backoff, Console, Handle, Loss, Producer, Report, Settings, Signal},
    model::{Connection, Endpoint, Instance, Resource, Span, SpanId, SpanKind, TraceId, UnixTime},
    semconv::rules::{HttpRules, Method},
    telemetry::{Health, Metric},
};
use sidelight_config::{Compression, Export, Limits, Otlp, OtlpProtocol, OutputFormat};
use sidelight_integration_tests::otlp_sink::{Protocol, Sink};
use sidelight_protocol_parsers::{Details, Exchange, ExchangeId, Role, Shape, Side};

pub(crate) struct Exporter {
    pub(crate) producer: RefCell<Producer>,
    pub(crate) handle: Handle,
    pub(crate) health: Arc<Health>,
}

pub(crate) struct Setup {
    pub(crate) export: Export,
    pub(crate) limits: Limits,
}

impl Setup {
    pub(crate) fn new(protocol: Protocol, traces: &str, metrics: Option<String>) -> Self {
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

    pub(crate) fn of(sink: &Sink, protocol: Protocol) -> Self {
        Self::new(protocol, &sink.url("traces"), None)
    }

    pub(crate) fn file(path: &Path) -> Self {
        let mut setup = Self::new(Protocol::Http, "http://127.0.0.1:9/", None);
        setup.export.output = OutputFormat::OtlpJson;
        setup.export.output_file = Some(path.to_owned());
        setup
    }

    pub(crate) fn start(&self) -> Exporter {
        let settings = Settings {
            delay: Duration::from_millis(10),
            cut: 64 * 1024,
            backoff: Backoff { first: Duration::from_millis(20), max: Duration::from_millis(100) },
        };
        let health = Arc::new(Health::default());
        let (producer, handle) =
            exporters::start((&self.export, &self.limits), Console::Stdout, settings, &health).unwrap();
        Exporter { producer: RefCell::new(producer), handle, health }
    }
}

impl Exporter {
    /// Pushes spans with these ids as one payload.
    pub(crate) fn push(&self, ids: impl IntoIterator<Item = u64>) -> bool {
        let mut producer = self.producer.borrow_mut();
        ids.into_iter().for_each(|id| producer.span(&span(id)));
        producer.flush()
    }

    pub(crate) fn dropped(&self) -> u64 {
        Loss::ALL.iter().map(|why| self.health.load(Signal::Traces.lost(*why))).sum()
    }

    pub(crate) fn lost(&self, why: Loss) -> u64 {
        self.health.load(Signal::Traces.lost(why))
    }

    pub(crate) fn exported(&self) -> u64 {
        self.health.load(Metric::SpansExported)
    }

    /// Stops, checks the ledger, gives it and the report.
    pub(crate) fn stop(self) -> (Arc<Health>, Report) {
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

pub(crate) fn span(id: u64) -> Span {
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
        cut_off: Default::default(),
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
pub(crate) fn ids(sink: &Sink) -> BTreeSet<u64> {
    let mut ids = BTreeSet::new();
    for span in sink.spans() {
        let id = u64::from_be_bytes(span.span_id.as_slice().try_into().unwrap());
        assert!(ids.insert(id), "span {id} came twice");
    }
    ids
}

pub(crate) fn set(ids: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
    ids.into_iter().collect()
}

pub(crate) const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];
