//! The span stage: exchanges become spans.
//!
//! In: `Begun` and `Done` of the parsers, the connection, the process' [`Resource`], the clock offset. Out: [`Built`], a span for the
//! queue and the metrics, or for the metrics alone.
//!
//! Ids are drawn when an exchange begins, so that what a request causes can name it while it is open. A request that carries
//! a `traceparent` gives its span the trace and the parent, whichever side is watched; one whose sampled flag is 0 is
//! only measured. The clock offset is applied once, to the start; durations are differences of the monotonic clock.
//!
//! A server's span ends with the last byte of its response; a client's with the last byte of either side; without a response
//! with the last byte of the request.

mod ids;

use std::{collections::hash_map::Entry, sync::Arc};

use rustc_hash::FxHashMap;
use sidelight_events::ConnKey;
use sidelight_protocol_parsers::{Details, Direction, Exchange, ExchangeId, Http, Mark, Role};

pub use self::ids::IdGenerator;
use crate::{
    model::{ClockOffset, Connection, Resource, Span, SpanId, SpanKind, TraceId},
    semconv::{
        rules::{HttpRules, Method},
        url::Target,
    },
};

/// Exchanges open at once whose ids are kept: 16,384 of some 64 bytes, 2 MiB with the map's slack. Beyond it an exchange gets its ids when
/// it is done ([`SpanCounts::late_ids`]); nothing else is lost.
pub const MAX_OPEN: usize = 16_384;

/// Bit 0 of the trace flags.
const SAMPLED: u8 = 1;

/// Trace flags of a trace that begins here: sampled, random id (W3C Trace Context level 2).
const NEW_TRACE: u8 = SAMPLED | 2;

/// What an exchange was given when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its trace, unless its request names another.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// The direction its request travels.
    pub dir: Direction,
    /// Its first byte.
    pub first: Mark,
}

/// A finished exchange: always measured, mostly also exported.
#[derive(Debug)]
pub enum Built {
    /// For the metrics and the queue.
    Sampled(Span),
    /// For the metrics alone: its trace is not sampled.
    Unsampled(Span),
}

impl Built {
    /// What the metrics take.
    #[must_use]
    pub fn span(&self) -> &Span {
        match self {
            Self::Sampled(span) | Self::Unsampled(span) => span,
        }
    }

    /// What the queue takes.
    #[must_use]
    pub fn sampled(self) -> Option<Span> {
        match self {
            Self::Sampled(span) => Some(span),
            Self::Unsampled(_) => None,
        }
    }
}

/// This stage's part of the ledgers: exchanges done = built + unsampled; spans built = exported + dropped + queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Spans given to the queue.
    pub built: u64,
    /// Exchanges measured only, by their trace's flag.
    pub unsampled: u64,
    /// Spans whose ids were drawn at their end, because [`MAX_OPEN`] were open or their begin was not told.
    pub late_ids: u64,
    /// Exchanges open now.
    pub open: u64,
}

/// Builds spans; belongs to one shard.
#[derive(Debug)]
pub struct SpanBuilder {
    ids: IdGenerator,
    http: Arc<HttpRules>,
    open: FxHashMap<(ConnKey, ExchangeId), Open>,
    counts: SpanCounts,
}

impl SpanBuilder {
    /// A stage with nothing open.
    #[must_use]
    pub fn new(ids: IdGenerator, http: Arc<HttpRules>) -> Self {
        Self { ids, http, open: FxHashMap::default(), counts: SpanCounts::default() }
    }

    /// Takes a `Begun`: draws the exchange's ids.
    pub fn begun(&mut self, connection: &Connection, id: ExchangeId, dir: Direction, first: Mark) {
        let full = self.open.len() >= MAX_OPEN;
        if let (Entry::Vacant(place), false) = (self.open.entry((connection.key, id)), full) {
            place.insert(Open { trace_id: self.ids.trace(), span_id: self.ids.span(), dir, first });
        }
    }

    /// An exchange that began and is not done.
    #[must_use]
    pub fn open(&self, connection: &Connection, id: ExchangeId) -> Option<&Open> {
        self.open.get(&(connection.key, id))
    }

    /// Takes a `Done`. `resource` is that of `exchange.request.first.pid`.
    pub fn done(
        &mut self,
        connection: &Arc<Connection>,
        resource: &Arc<Resource>,
        exchange: Box<Exchange>,
        offset: ClockOffset,
    ) -> Built {
        let (trace_id, span_id) = match self.open.remove(&(connection.key, exchange.id)) {
            Some(open) => (open.trace_id, open.span_id),
            None => {
                self.counts.late_ids += 1;
                (self.ids.trace(), self.ids.span())
            }
        };
        let (trace_id, parent, trace_flags) = match exchange.context {
            Some(context) => (TraceId(context.trace_id), Some(SpanId(context.span_id)), context.flags),
            None => (trace_id, None, NEW_TRACE),
        };
        let (method, route) = match &exchange.details {
            Details::Http(http) => self.names(http, &exchange),
            Details::Generic => (Method::Missing, None),
        };
        let begin = exchange.request.first.time;
        let span = Span {
            trace_id,
            span_id,
            parent,
            trace_flags,
            kind: match exchange.role {
                Role::Client => SpanKind::Client,
                Role::Server => SpanKind::Server,
            },
            start: offset.unix(begin),
            duration: end(&exchange).since(begin),
            first_byte: exchange.response.map(|response| response.first.time.since(begin)),
            route,
            method,
            http: Arc::clone(&self.http),
            resource: Arc::clone(resource),
            connection: Arc::clone(connection),
            exchange,
        };
        if trace_flags & SAMPLED == 0 {
            self.counts.unsampled += 1;
            return Built::Unsampled(span);
        }
        self.counts.built += 1;
        Built::Sampled(span)
    }

    fn names(&self, http: &Http, exchange: &Exchange) -> (Method, Option<u32>) {
        let sent = http.method.map(|method| exchange.text.str(method));
        let path = match (exchange.role, http.target) {
            (Role::Server, Some(target)) => match Target::parse(exchange.text.str(target), sent == Some("CONNECT")) {
                Target::Origin { path, .. } | Target::Absolute { path, .. } => Some(path),
                Target::Asterisk | Target::Authority(_) => None,
            },
            _ => None,
        };
        (self.http.method(sent), path.and_then(|path| self.http.route(path)))
    }

    /// This stage's counters.
    #[must_use]
    pub fn counts(&self) -> SpanCounts {
        SpanCounts { open: self.open.len() as u64, ..self.counts }
    }
}

/// When an exchange ended, as far as it was seen.
fn end(exchange: &Exchange) -> sidelight_protocol_parsers::KernelTime {
    let request = exchange.request.last.time;
    match (exchange.response, exchange.role) {
        (Some(response), Role::Server) => response.last.time,
        (Some(response), Role::Client) => response.last.time.max(request),
        (None, _) => request,
    }
}
