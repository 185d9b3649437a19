//! An OTLP end point on 127.0.0.1 that records what it is sent, and fails as it is told.
//!
//! In: requests over HTTP/1.1 or gRPC, plain or TLS; a script of replies, one a request, in order ([`Reply::Accept`] when it
//! is used up). Out: the requests, decoded by `opentelemetry-proto`, refused ones too.

mod grpc;
mod http;
mod server;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    trace::v1::Span,
};

use crate::{spans, wait_for};

/// What the end point speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC
    Grpc,
    /// OTLP/HTTP, Protobuf
    Http,
}

/// What it answers to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Everything is taken.
    Accept,
    /// HTTP: a status with headers and a text.
    Answer(u16, Vec<(&'static str, String)>, &'static str),
    /// gRPC: a status; with `RetryInfo` where there is a duration.
    Fail(tonic::Code, &'static str, Option<Duration>),
    /// Nothing, for as long as the client waits.
    Hang,
    /// Taken, but for the first spans or points.
    Partial(i64, &'static str),
    /// The connection is reset when the first part of the body is there.
    Reset,
}

/// A request's message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Of `/v1/metrics` or the metrics service.
    Metrics(ExportMetricsServiceRequest),
    /// Of `/v1/traces` or the trace service.
    Traces(ExportTraceServiceRequest),
}

/// One request that came whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// Its message.
    pub message: Message,
    /// What was answered.
    pub reply: Reply,
    /// The client's address.
    pub from: SocketAddr,
}

impl Request {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// PEM files of a server certificate for 127.0.0.1 and `localhost`, and of the authority that signed it.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's chain.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// What a client must trust.
    pub authority: PathBuf,
}

impl Tls {
    /// Makes an authority and a certificate in `dir`.
    pub fn new(dir: &std::path::Path) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // Its own name, else another authority's signature looks broken instead of unknown.
        params.distinguished_name.push(rcgen::DnType::CommonName, dir.display().to_string());
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(params, authority_key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Self {
            certificate: write("sink.pem", certificate.pem()),
            key: write("sink.key", key.serialize_pem()),
            authority: write("authority.pem", authority.pem()),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    script: VecDeque<Reply>,
    requests: Vec<Request>,
    /// Requests that began, whole or not.
    begun: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reply to a request that begins.
    pub(crate) fn begin(&self) -> Reply {
        let mut state = self.state();
        state.begun += 1;
        self.changed.notify_all();
        state.script.pop_front().unwrap_or(Reply::Accept)
    }

    pub(crate) fn record(&self, request: Request) {
        self.state().requests.push(request);
        self.changed.notify_all();
    }
}

/// The running end point; it ends with this value.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    protocol: Protocol,
    tls: bool,
    shared: Arc<Shared>,
    _server: server::Server,
}

impl Sink {
    /// Listens on a free port.
    pub fn start(protocol: Protocol) -> Self {
        Self::start_on(protocol, 0, None)
    }

    /// Listens on a free port with TLS.
    pub fn start_tls(protocol: Protocol, tls: &Tls) -> Self {
        Self::start_on(protocol, 0, Some(tls))
    }

    /// Listens on a port of 127.0.0.1.
    pub fn start_on(protocol: Protocol, port: u16, tls: Option<&Tls>) -> Self {
        let shared = Arc::new(Shared::default());
        let (server, address) = server::Server::start(protocol, port, tls, &shared);
        Self { address, protocol, tls: tls.is_some(), shared, _server: server }
    }

    /// The end point's URL, as `OTEL_EXPORTER_OTLP_ENDPOINT` takes it.
    pub fn endpoint(&self) -> String {
        let (scheme, host) = if self.tls { ("https", "localhost") } else { ("http", "127.0.0.1") };
        format!("{scheme}://{host}:{}", self.address.port())
    }

    /// The URL of one signal (`traces`, `metrics`), as `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` takes it.
    pub fn url(&self, signal: &str) -> String {
        match self.protocol {
            Protocol::Grpc => self.endpoint(),
            Protocol::Http => format!("{}/v1/{signal}", self.endpoint()),
        }
    }

    /// Appends replies to the script.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.state().script.extend(replies);
    }

    /// Every request that came whole, answered in whatever way.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Requests that began, whole or not.
    pub fn begun(&self) -> usize {
        self.shared.state().begun
    }

    /// The spans of the requests that were accepted, without the rejected ones, in the order they came.
    pub fn spans(&self) -> Vec<Span> {
        self.shared.state().requests.iter().flat_map(accepted_spans).collect()
    }

    /// The spans of the requests that were accepted whole, each with its resource, as values to compare.
    pub fn values(&self) -> Vec<spans::Span> {
        let line = |request: &Request| match (&request.message, &request.reply) {
            (Message::Traces(traces), Reply::Accept) => Some(serde_json::to_string(traces).unwrap() + "\n"),
            _ => None,
        };
        spans::parse(&self.shared.state().requests.iter().filter_map(line).collect::<String>())
    }

    /// The accepted metrics requests.
    pub fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        let metrics = |request: &Request| match (&request.message, &request.reply) {
            (Message::Metrics(metrics), Reply::Accept | Reply::Partial(..)) => Some(metrics.clone()),
            _ => None,
        };
        self.shared.state().requests.iter().filter_map(metrics).collect()
    }

    /// Waits until the sink satisfies `ready`; panics with `what` after 30 s.
    pub fn wait(&self, what: &str, ready: impl Fn(&Self) -> bool) {
        wait_for(what, Duration::from_secs(30), || ready(self).then_some(()));
    }
}

fn accepted_spans(request: &Request) -> Vec<Span> {
    let skip = match request.reply {
        Reply::Accept => 0,
        Reply::Partial(rejected, _) => usize::try_from(rejected).unwrap_or_default(),
        Reply::Answer(..) | Reply::Fail(..) | Reply::Hang | Reply::Reset => return Vec::new(),
    };
    let Message::Traces(traces) = &request.message else { return Vec::new() };
    let scopes = traces.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| scope.spans.iter().cloned()).skip(skip).collect()
}
