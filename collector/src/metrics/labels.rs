//! What a series stands for.
//!
//! In: a span. Out: a [`Key`], borrowed from it, by which a series is found without allocation, and [`Labels`], which the series
//! owns.
//!
//! Labels are the conventions' required, conditionally required and recommended attributes of the metrics: of servers method, scheme,
//! status, `error.type`, route, protocol version; of clients method, server address and port, status, `error.type`, protocol
//! version. A request whose connection ended before the response did has `error.type` `closed`, and no status unless one was
//! seen.

use std::sync::Arc;

use sidelight_protocol_parsers::{Http, HttpVersion, Role};

use crate::{
    model::{Span, SpanKind},
    semconv::{
        attributes::{AttrValue, ErrorType},
        http::Origin,
        network::Short,
        rules::{HttpRules, Method},
    },
};

/// Which histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Instrument {
    /// `http.client.request.duration`
    HttpClient,
    /// `http.server.request.duration`
    HttpServer,
}

impl Instrument {
    /// Name of the metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpClient => "http.client.request.duration",
            Self::HttpServer => "http.server.request.duration",
        }
    }

    /// Description, as the conventions word it.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::HttpClient => "Duration of HTTP client requests.",
            Self::HttpServer => "Duration of HTTP server requests.",
        }
    }
}

/// What tells series of an instance and an instrument apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Names<S> {
    method: Method,
    route: Option<u32>,
    scheme: Option<S>,
    address: Option<S>,
    port: Option<u16>,
    status: Option<u16>,
    error: Option<ErrorType>,
    version: Option<HttpVersion>,
}

impl<S: AsRef<str>> Names<S> {
    /// The same with other strings.
    fn map<'a, T>(&'a self, text: impl Fn(&'a str) -> T) -> Names<T> {
        let Self { method, route, ref scheme, ref address, port, status, error, version } = *self;
        let map = |from: &'a Option<S>| from.as_ref().map(|from| text(from.as_ref()));
        Names { method, route, scheme: map(scheme), address: map(address), port, status, error, version }
    }
}

/// A span's values, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    instance: u128,
    instrument: Instrument,
    /// `None`: the series that takes what exceeds a limit.
    names: Option<Names<&'a str>>,
}

impl<'a> Key<'a> {
    /// `room` holds an address that no text names.
    pub(super) fn new(span: &'a Span, http: &Http, room: &'a mut Short) -> Self {
        let origin = Origin::new(span, http);
        let (scheme, (address, port)) = match span.exchange.role {
            Role::Server => (Some(origin.scheme), (None, None)),
            Role::Client => (None, origin.client(room)),
        };
        let names = Names {
            method: span.method,
            route: span.route,
            scheme,
            address,
            port,
            status: http.status,
            error: span.error(),
            version: http.version,
        };
        let instrument = match span.kind {
            SpanKind::Client => Instrument::HttpClient,
            SpanKind::Server => Instrument::HttpServer,
        };
        Self { instance: span.resource.instance.key, instrument, names: Some(names) }
    }

    /// The series that takes what exceeds a limit.
    pub(super) fn overflow(self) -> Self {
        Self { names: None, ..self }
    }

    /// What a new series owns.
    pub(super) fn labels(&self, http: &Arc<HttpRules>) -> Labels {
        Labels {
            instance: self.instance,
            instrument: self.instrument,
            names: self.names.as_ref().map(|names| names.map(Box::from)),
            http: Arc::clone(http),
        }
    }
}

/// A series' values.
#[derive(Clone, Debug)]
pub struct Labels {
    instance: u128,
    /// Which histogram.
    pub instrument: Instrument,
    names: Option<Names<Box<str>>>,
    http: Arc<HttpRules>,
}

impl Labels {
    pub(super) fn key(&self) -> Key<'_> {
        Key {
            instance: self.instance,
            instrument: self.instrument,
            names: self.names.as_ref().map(|names| names.map(|text| text)),
        }
    }

    /// Whose.
    pub(super) fn instance(&self) -> u128 {
        self.instance
    }

    /// Whether it takes what exceeds a limit.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        self.names.is_none()
    }

    /// Gives every attribute that is known; for the overflow series none: it has `otel.metric.overflow` alone.
    pub fn visit_attributes(&self, visit: &mut impl FnMut(&'static str, AttrValue<'_>)) {
        let Some(names) = &self.names else { return };
        let text = |name: &'static str, value: Option<&str>, visit: &mut dyn FnMut(&'static str, AttrValue<'_>)| {
            if let Some(value) = value {
                visit(name, AttrValue::Str(value));
            }
        };
        text("http.request.method", self.http.method_name(names.method), visit);
        text("http.route", names.route.and_then(|route| self.http.pattern(route)), visit);
        text("url.scheme", names.scheme.as_deref(), visit);
        text("server.address", names.address.as_deref(), visit);
        text("network.protocol.version", names.version.map(HttpVersion::name), visit);
        if let Some(error) = names.error {
            visit("error.type", AttrValue::Str(error.text(&mut Short::new())));
        }
        for (key, number) in [("server.port", names.port), ("http.response.status_code", names.status)] {
            if let Some(number) = number {
                visit(key, AttrValue::Int(i64::from(number)));
            }
        }
    }
}
