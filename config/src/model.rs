//! The configuration after everything was read: no value here can be wrong.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Everything the daemon can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What is watched.
    pub select: Select,
    /// How sockets are hooked.
    pub attach: Attach,
    /// HTTP: routes.
    pub http: Http,
    /// Databases: what is told of them.
    pub database: Database,
    /// Where telemetry goes.
    pub export: Export,
    /// Added to every resource (`OTEL_RESOURCE_ATTRIBUTES` of the daemon); never `service.name`.
    pub resource: BTreeMap<String, String>,
    /// `service.name` of the daemon's own telemetry and of `replay` (`OTEL_SERVICE_NAME` of the daemon); what is watched keeps its own.
    pub service_name: Option<String>,
    /// Limits.
    pub limits: Limits,
}

/// `--only` and `--except`: any `only` matches (or `only` is empty), no `except` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// Watched.
    pub only: Vec<Selector>,
    /// Never watched.
    pub except: Vec<Selector>,
}

/// Which processes or connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `exe:GLOB`: path of the executable; without a slash its last component.
    Exe(String),
    /// `pid:N`, in the daemon's PID namespace.
    Pid(u32),
    /// `port:N`: local or remote TCP port.
    Port(u16),
    /// `tree:N`: a process and its descendants, now and later.
    Tree(u32),
}

/// `--attach`: the mechanism of the socket hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Attach {
    /// The cheapest the kernel allows.
    #[default]
    Auto,
    /// `sock_send_length` and `sock_recv_length`.
    Socket,
    /// `sys_enter` and `sys_exit`.
    Syscall,
}

/// HTTP settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Route patterns in order of preference: `/users/{id}`, `/static/*` (`*` at the end: the rest of the path).
    pub routes: Vec<String>,
    /// Methods of `http.request.method` besides the standard ones (`OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` replaces all).
    pub known_methods: Option<Vec<String>>,
}

/// Database settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Database {
    /// Whether spans have `db.query.text`; it is always sanitised.
    pub query_text: bool,
    /// Whether spans have `db.response.returned_rows`.
    pub returned_rows: bool,
    /// Whether the database's own side has spans and `db.server.operation.duration`.
    pub server_side: bool,
}

/// Where telemetry goes and in which form.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Where spans go; not configured: `otlp` if spans have an end point, else `console`.
    pub output: OutputFormat,
    /// File of `console` and `otlp-json`; `None`: standard output (with `-- COMMAND` standard error).
    pub output_file: Option<PathBuf>,
    /// Spans.
    pub traces: Otlp,
    /// Metrics.
    pub metrics: Otlp,
    /// Interval of metric exports (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub metric_interval: Duration,
    /// Longest wait of a span for others to be sent with (`OTEL_BSP_SCHEDULE_DELAY`); `None`: a second, and for `console` and
    /// `otlp-json` a tenth of it.
    pub span_delay: Option<Duration>,
    /// Whether the daemon exports its own health (`OTEL_SDK_DISABLED` turns it off, and nothing else).
    pub health: bool,
}

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// One readable line a span.
    Console,
    /// OTLP to an end point.
    Otlp,
    /// One OTLP/JSON `resourceSpans` object a line.
    OtlpJson,
}

/// One signal's OTLP exporter, after the general and the signal's own `OTEL_EXPORTER_OTLP_*` were merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// Full URL for HTTP (`/v1/traces` appended where the specification says so), scheme and authority for gRPC. `None`: this signal does not go to OTLP.
    pub endpoint: Option<String>,
    /// Protocol.
    pub protocol: OtlpProtocol,
    /// Headers (gRPC: metadata) of every request.
    pub headers: Vec<(String, String)>,
    /// Deadline of one request.
    pub timeout: Duration,
    /// Compression.
    pub compression: Compression,
    /// PEM file of certificate authorities; `None`: the system's.
    pub certificate: Option<PathBuf>,
    /// PEM file of the client's certificate.
    pub client_certificate: Option<PathBuf>,
    /// PEM file of the client's key.
    pub client_key: Option<PathBuf>,
}

/// `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum OtlpProtocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    #[default]
    #[schemars(rename = "http/protobuf")]
    HttpProtobuf,
}

/// `OTEL_EXPORTER_OTLP_COMPRESSION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Compression {
    /// `gzip`
    Gzip,
    /// `none`
    #[default]
    None,
}

/// Bounds, all in bytes unless named otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ring buffer (a power of two, at least a page); mapped twice.
    pub ring: u32,
    /// Queue A: ring thread to exporter thread.
    pub span_queue: usize,
    /// Queue B: encoded batches waiting for the end point.
    pub export_queue: usize,
    /// Buffers of the tracker and parsers.
    pub buffers: usize,
    /// Connections tracked at once (a count).
    pub connections: usize,
}
