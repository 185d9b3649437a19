//! What a series stands for.
//!
//! In: a span. Out: a [`Key`], borrowed from it, by which a series is found without allocation, and [`Labels`], which the series
//! owns.
//!
//! Labels are the conventions' required, conditionally required and recommended attributes of the metrics:
//! * HTTP: of servers method, scheme, status, `error.type`, route, protocol version; of clients method, server address and port, status,
//!   `error.type`, protocol version.
//! * RPC: system, method, status, `error.type`; of clients server address and port.
//! * Databases: system, namespace, operation, query summary, stored procedure, status, `error.type`, server port; of clients server and
//!   peer address. Never the query text.
//!
//! A request whose connection ended before the response did has `error.type` `closed`, and no status unless one was seen.

use std::sync::Arc;

use sidelight_protocol_parsers::{DbSystem, Details, HttpVersion, Role, RpcSystem};

use super::Instrument;
use crate::{
    model::Span,
    semconv::{
        attributes::{AttrValue, ErrorType},
        db,
        http::Origin,
        network::Short,
        rpc,
        rules::{HttpRules, Method},
    },
};

/// Bytes of all texts of a series; what has more is measured in the overflow series.
pub(super) const MAX_TEXT: usize = 1024;

/// Texts of a series at most.
const TEXTS: usize = 6;

// Which text is what; the address is `server.address` in all families.
const ADDRESS: usize = 0;
const SCHEME: usize = 1;
const METHOD: usize = 1;
const NAMESPACE: usize = 1;
const OPERATION: usize = 2;
const SUMMARY: usize = 3;
const PROCEDURE: usize = 4;
const STATUS: usize = 5;

/// Why it failed; the code itself is a label of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failure {
    Closed,
    Code,
    Other,
}

impl Failure {
    fn of(span: &Span) -> Option<Self> {
        span.error().map(|error| match error {
            ErrorType::Closed => Self::Closed,
            ErrorType::Code(_) | ErrorType::Status(_) => Self::Code,
            ErrorType::Other => Self::Other,
        })
    }
}

/// What is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Facts {
    Db {
        system: DbSystem,
        port: Option<u16>,
        failure: Option<Failure>,
    },
    Http {
        method: Method,
        route: Option<u32>,
        port: Option<u16>,
        status: Option<u16>,
        failure: Option<Failure>,
        version: Option<HttpVersion>,
    },
    Rpc {
        system: RpcSystem,
        port: Option<u16>,
        status: Option<u8>,
        failure: Option<Failure>,
    },
}

/// What tells series of an instance and an instrument apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Names<'a> {
    facts: Facts,
    texts: [Option<&'a str>; TEXTS],
}

/// A span's values, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    instance: u128,
    instrument: Instrument,
    /// `None`: the series that takes what exceeds a limit.
    names: Option<Names<'a>>,
}

impl<'a> Key<'a> {
    /// `room` holds an address that no text names. `None`: the span's family has no metric.
    pub(super) fn new(span: &'a Span, room: &'a mut Short) -> Option<Self> {
        let instrument = Instrument::of(span)?;
        let text = |part: Option<sidelight_protocol_parsers::Span>| part.map(|part| span.exchange.text.str(part));
        let failure = Failure::of(span);
        let client = span.exchange.role == Role::Client;
        let mut texts = [None; TEXTS];
        let facts = match &span.exchange.details {
            Details::Http(http) => {
                let origin = Origin::new(span, http);
                let mut port = None;
                if client {
                    (texts[ADDRESS], port) = origin.client(room);
                } else {
                    texts[SCHEME] = Some(origin.scheme);
                }
                let (status, version) = (http.status, http.version);
                Facts::Http { method: span.method, route: span.route, port, status, failure, version }
            }
            Details::Rpc(call) => {
                let mut port = None;
                if client {
                    (texts[ADDRESS], port) = rpc::server(span, call, room);
                }
                texts[METHOD] = text(call.method);
                Facts::Rpc { system: call.system, port, status: call.status, failure }
            }
            Details::Db(query) => {
                let (address, port) = db::server(span, room);
                texts[ADDRESS] = address.filter(|_| client);
                texts[NAMESPACE] = text(query.namespace);
                texts[OPERATION] = text(query.operation);
                texts[SUMMARY] = text(query.summary);
                texts[PROCEDURE] = text(query.procedure);
                texts[STATUS] = text(query.status);
                Facts::Db { system: query.system, port, failure }
            }
            Details::Generic => return None,
        };
        let whole = texts.iter().flatten().map(|text| text.len()).sum::<usize>() <= MAX_TEXT;
        let names = whole.then_some(Names { facts, texts });
        Some(Self { instance: span.resource.instance.key, instrument, names })
    }

    /// The series that takes what exceeds a limit.
    pub(super) fn overflow(self) -> Self {
        Self { names: None, ..self }
    }

    /// Whether it is that one.
    pub(super) fn is_overflow(&self) -> bool {
        self.names.is_none()
    }

    /// Which histogram.
    pub(super) fn instrument(&self) -> Instrument {
        self.instrument
    }

    /// What a new series owns.
    pub(super) fn labels(&self, http: &Arc<HttpRules>) -> Labels {
        Labels {
            instance: self.instance,
            instrument: self.instrument,
            facts: self.names.map(|names| names.facts),
            texts: Texts::new(self.names.map(|names| names.texts).unwrap_or_default()),
            http: Arc::clone(http),
        }
    }
}

/// The texts of a series in one allocation.
#[derive(Clone, Debug)]
struct Texts {
    joined: Box<str>,
    ends: [u16; TEXTS],
    /// A bit for each that is there.
    given: u8,
}

impl Texts {
    fn new(texts: [Option<&str>; TEXTS]) -> Self {
        let mut joined = String::with_capacity(texts.iter().flatten().map(|text| text.len()).sum());
        let mut given = 0;
        let ends = std::array::from_fn(|index| {
            if let Some(text) = texts[index] {
                given |= 1 << index;
                joined.push_str(text);
            }
            // at most MAX_TEXT
            joined.len() as u16
        });
        Self { joined: joined.into_boxed_str(), ends, given }
    }

    fn get(&self, index: usize) -> Option<&str> {
        if self.given & (1 << index) == 0 {
            return None;
        }
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.joined.get(usize::from(start)..usize::from(self.ends[index]))
    }
}

/// A series' values.
#[derive(Clone, Debug)]
pub struct Labels {
    instance: u128,
    /// Which histogram.
    pub instrument: Instrument,
    facts: Option<Facts>,
    texts: Texts,
    http: Arc<HttpRules>,
}

impl Labels {
    pub(super) fn key(&self) -> Key<'_> {
        let names = self.facts.map(|facts| Names { facts, texts: std::array::from_fn(|index| self.texts.get(index)) });
        Key { instance: self.instance, instrument: self.instrument, names }
    }

    /// Whose.
    pub(super) fn instance(&self) -> u128 {
        self.instance
    }

    /// Whether it takes what exceeds a limit.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        self.facts.is_none()
    }

    /// Gives every attribute that is known; for the overflow series none: it has `otel.metric.overflow` alone.
    pub fn visit_attributes(&self, visit: &mut impl FnMut(&'static str, AttrValue<'_>)) {
        let Some(facts) = self.facts else { return };
        let mut room = Short::new();
        let text = |index| self.texts.get(index);
        let mut give = |name: &'static str, value: Option<&str>| {
            if let Some(value) = value {
                visit(name, AttrValue::Str(value));
            }
        };
        match facts {
            Facts::Http { method, route, port, status, failure, version } => {
                give("http.request.method", self.http.method_name(method));
                give("http.route", route.and_then(|route| self.http.pattern(route)));
                give("url.scheme", text(SCHEME));
                give("server.address", text(ADDRESS));
                give("network.protocol.version", version.map(HttpVersion::name));
                let code = ErrorType::Status(status.unwrap_or_default());
                give("error.type", error(failure, code, &mut room));
                number("server.port", port, visit);
                number("http.response.status_code", status, visit);
            }
            Facts::Rpc { system, port, status, failure } => {
                let code = status.and_then(|status| rpc::code(system, status));
                give("rpc.system.name", Some(system.name()));
                give("rpc.method", text(METHOD));
                give("rpc.response.status_code", code);
                let code = ErrorType::Code(code.unwrap_or_default());
                give("error.type", error(failure, code, &mut room));
                give("server.address", text(ADDRESS));
                number("server.port", port, visit);
            }
            Facts::Db { system, port, failure } => {
                give("db.system.name", Some(system.name()));
                give("db.namespace", text(NAMESPACE));
                give("db.operation.name", text(OPERATION));
                give("db.query.summary", text(SUMMARY));
                give("db.stored_procedure.name", text(PROCEDURE));
                give("db.response.status_code", text(STATUS));
                let code = ErrorType::Code(text(STATUS).unwrap_or_default());
                give("error.type", error(failure, code, &mut room));
                give("server.address", text(ADDRESS));
                give("network.peer.address", text(ADDRESS));
                number("server.port", port.filter(|port| *port != system.default_port()), visit);
                number("network.peer.port", port.filter(|_| text(ADDRESS).is_some()), visit);
            }
        }
    }
}

/// What a failure is called, given the code of those that have one.
fn error<'a>(failure: Option<Failure>, code: ErrorType<'a>, room: &'a mut Short) -> Option<&'a str> {
    let error = match failure? {
        Failure::Closed => ErrorType::Closed,
        Failure::Code => code,
        Failure::Other => ErrorType::Other,
    };
    Some(error.text(room))
}

fn number(key: &'static str, number: Option<u16>, visit: &mut impl FnMut(&'static str, AttrValue<'_>)) {
    if let Some(number) = number {
        visit(key, AttrValue::Int(i64::from(number)));
    }
}
