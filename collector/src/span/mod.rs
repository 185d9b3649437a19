//! The span stage: exchanges become spans.
//!
//! In: `Begun` and `Done` of the parsers, the connection, the process' [`Resource`], the clock offset. Out: [`Built`], a span for the
//! queue and the metrics, or for the metrics alone.
//!
//! Ids are drawn when an exchange begins, so that what a request causes can name it while it is open. A request that carries
//! a `traceparent` gives its span the trace and the parent, whichever side is watched; one whose sampled flag is 0 is
//! only measured. The clock offset is applied once, to the start; durations are differences of the monotonic clock.
//!
//! What the operator does not want of databases goes here: the database's own side becomes neither span nor measurement (counted), query
//! texts and row counts are taken out.
//!
//! A server's span ends with the last byte of its response; a client's with the last byte of either side; without a response
//! with the last byte of the request. The reset of an HTTP/2 stream by the server is its response.

mod ids;

use std::{collections::hash_map::Entry, sync::Arc};

use rustc_hash::FxHashMap;
use sidelight_events::ConnKey;
use sidelight_protocol_parsers::{Details, Direction, Exchange, ExchangeId, Http, Mark, Role};

pub use self::ids::IdGenerator;
use crate::{
    model::{ClockOffset, Connection, Resource, Span, SpanId, SpanKind, TraceId},
    semconv::{
        db::Databases,
        rules::{HttpRules, Method},
        url::Target,
    },
    telemetry::{Health, Metric},
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

/// This stage's part of the ledgers: exchanges done = built + unsampled + left out; spans built = exported + dropped + queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Spans given to the queue.
    pub built: u64,
    /// Exchanges measured only, by their trace's flag.
    pub unsampled: u64,
    /// Exchanges of a database's own side, neither built nor measured, as configured.
    pub left_out: u64,
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
    databases: Databases,
    open: FxHashMap<(ConnKey, ExchangeId), Open>,
    counts: SpanCounts,
}

impl SpanBuilder {
    /// A stage with nothing open.
    #[must_use]
    pub fn new(ids: IdGenerator, http: Arc<HttpRules>, databases: Databases) -> Self {
        Self { ids, http, databases, open: FxHashMap::default(), counts: SpanCounts::default() }
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

    /// Takes the `Done` of an exchange that is not wanted: gives `true`, and no more is to be done with it.
    pub fn leaves_out(&mut self, connection: &Connection, exchange: &Exchange) -> bool {
        let own_side = exchange.role == Role::Server && matches!(exchange.details, Details::Db(_));
        let out = own_side && !self.databases.server_side;
        if out {
            self.open.remove(&(connection.key, exchange.id));
            self.counts.left_out += 1;
        }
        out
    }

    /// Takes a `Done`. `resource` is that of `exchange.request.first.pid`.
    pub fn done(
        &mut self,
        connection: &Arc<Connection>,
        resource: &Arc<Resource>,
        mut exchange: Box<Exchange>,
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
            Details::Db(_) | Details::Generic | Details::Rpc(_) => (Method::Missing, None),
        };
        if let Details::Db(db) = &mut exchange.details {
            db.query = db.query.filter(|_| self.databases.query_text);
            db.rows = db.rows.filter(|_| self.databases.returned_rows);
        }
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

    /// Writes what no other stage knows into `health`.
    pub fn report(&self, health: &Health) {
        health.store(Metric::ExchangesUnsampled, self.counts.unsampled);
        health.store(Metric::ExchangesLeftOut, self.counts.left_out);
    }
}

/// When an exchange ended, as far as it was seen.
fn end(exchange: &Exchange) -> sidelight_protocol_parsers::KernelTime {
    let request = exchange.request.last.time;
    let seen = match (exchange.response, exchange.role) {
        (Some(response), Role::Server) => response.last.time,
        (Some(response), Role::Client) => response.last.time.max(request),
        (None, _) => request,
    };
    seen.max(exchange.cut_off)
}

#[cfg(test)]
mod tests {
    use sidelight_protocol_parsers::{Incomplete, KernelTime, Side};

    use super::*;
    use crate::{
        model::UnixTime,
        testing::{Case, DbCase, at, nginx},
    };

    fn builder() -> SpanBuilder {
        SpanBuilder::new(IdGenerator::new([3; 32]), Arc::new(HttpRules::new(&[], None)), Databases::default())
    }

    #[test]
    fn ids_are_drawn_when_an_exchange_begins_and_kept_until_it_is_done() {
        let mut builder = builder();
        let case = Case::server("GET", "/");
        let connection = case.connection();
        builder.begun(&connection, ExchangeId(1), Direction::Ingress, at(1));
        builder.begun(&connection, ExchangeId(2), Direction::Ingress, at(1));
        let open = *builder.open(&connection, ExchangeId(2)).unwrap();
        let span = builder.done(&connection, &nginx(), case.exchange(2), ClockOffset(0)).sampled().unwrap();
        assert_eq!((span.trace_id, span.span_id, span.parent), (open.trace_id, open.span_id, None));
        assert!(builder.open(&connection, ExchangeId(2)).is_none());
        assert_eq!(builder.counts(), SpanCounts { built: 1, open: 1, ..SpanCounts::default() });
    }

    #[test]
    fn an_exchange_whose_begin_was_not_told_still_has_ids() {
        let mut builder = builder();
        let case = Case::server("GET", "/");
        let built = builder.done(&case.connection(), &nginx(), case.exchange(1), ClockOffset(0));
        assert_ne!(built.span().span_id.0, [0; 8]);
        assert_eq!((builder.counts().built, builder.counts().late_ids), (1, 1));
    }

    #[test]
    fn open_exchanges_are_bounded() {
        let mut builder = builder();
        let connection = Case::server("GET", "/").connection();
        for id in 0..MAX_OPEN as u64 + 10 {
            builder.begun(&connection, ExchangeId(id), Direction::Ingress, at(1));
        }
        assert_eq!(builder.counts().open, MAX_OPEN as u64);
    }

    #[test]
    fn a_traceparent_is_the_parent_of_either_side() {
        for case in [Case::server("GET", "/"), Case::client("GET", "/")] {
            let span = Case { context: Some(([7; 16], [8; 8], 1, None)), ..case }.span();
            assert_eq!((span.trace_id, span.parent), (TraceId([7; 16]), Some(SpanId([8; 8]))));
            assert_ne!(span.span_id, SpanId([8; 8]));
        }
    }

    #[test]
    fn an_unsampled_trace_is_measured_only_and_counted() {
        let mut builder = builder();
        let case = Case { context: Some(([7; 16], [8; 8], 0, None)), ..Case::server("GET", "/") };
        let built = builder.done(&case.connection(), &nginx(), case.exchange(1), ClockOffset(0));
        assert_eq!(built.span().duration, 8_000_000);
        assert!(built.sampled().is_none());
        assert_eq!((builder.counts().built, builder.counts().unsampled), (0, 1));
    }

    #[test]
    fn the_databases_own_side_is_left_out_and_counted_if_it_is_not_wanted() {
        let of = |role| Case::db(role, DbCase::select());
        for (server_side, role, out) in
            [(false, Role::Server, true), (false, Role::Client, false), (true, Role::Server, false)]
        {
            let mut builder = builder();
            builder.databases.server_side = server_side;
            let (connection, exchange) = (of(role).connection(), of(role).exchange(1));
            builder.begun(&connection, ExchangeId(1), Direction::Ingress, at(1));
            assert_eq!(builder.leaves_out(&connection, &exchange), out);
            assert_eq!((builder.counts().open, builder.counts().left_out), if out { (0, 1) } else { (1, 0) });
        }
        let mut builder = builder();
        builder.databases.server_side = false;
        let http = Case::server("GET", "/");
        assert!(!builder.leaves_out(&http.connection(), &http.exchange(1)), "only databases have an own side");
    }

    #[test]
    fn the_clock_offset_moves_the_start_and_never_the_duration() {
        let case = Case::server("GET", "/");
        for offset in [0, 1_700_000_000_000_000_000, -400_000] {
            let span =
                builder().done(&case.connection(), &nginx(), case.exchange(1), ClockOffset(offset)).sampled().unwrap();
            assert_eq!(span.start, UnixTime(1_000_000_u64.saturating_add_signed(offset)));
            assert_eq!((span.duration, span.first_byte), (8_000_000, Some(4_000_000)));
        }
    }

    #[test]
    fn a_span_ends_with_the_last_byte_that_concerns_its_side() {
        let early = |role_case: Case| {
            let mut exchange = role_case.exchange(1);
            // The server answered at 5 to 9 ms while the request's body went on until 20 ms.
            exchange.request = Side { last: at(20), ..exchange.request };
            builder().done(&role_case.connection(), &nginx(), exchange, ClockOffset(0)).sampled().unwrap().duration
        };
        assert_eq!(early(Case::server("POST", "/")), 8_000_000);
        assert_eq!(early(Case::client("POST", "/")), 19_000_000);
        let aborted = Case { response: false, incomplete: vec![Incomplete::Closed], ..Case::client("GET", "/") }.span();
        assert_eq!((aborted.duration, aborted.first_byte), (1_000_000, None));
        for case in [Case::server("GET", "/"), Case::client("GET", "/")] {
            let exchange = Box::new(Exchange { cut_off: at(30).time, response: None, ..*case.exchange(1) });
            let span = builder().done(&case.connection(), &nginx(), exchange, ClockOffset(0)).sampled().unwrap();
            assert_eq!(span.duration, 29_000_000);
        }
    }

    #[test]
    fn a_response_read_before_its_request_was_written_takes_no_negative_time() {
        let case = Case::client("GET", "/");
        let mut exchange = case.exchange(1);
        exchange.request = Side { first: at(10), last: at(10), bytes: 1 };
        let span = builder().done(&case.connection(), &nginx(), exchange, ClockOffset(0)).sampled().unwrap();
        assert_eq!((span.duration, span.first_byte), (0, Some(0)));
        assert_eq!(KernelTime(1).since(KernelTime(2)), 0);
    }
}
