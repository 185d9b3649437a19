//! The pipeline of one shard, every stage by name, as plain calls on the ring thread:
//!
//! ```text
//! source ─Item─► tracker ─Emitted─► span stage ─Span─► metrics
//!                                                 └─► encoder ─► queue A (exporters)
//! ```
//!
//! In: [`Item`]s of a source and the time. Out: encoded spans and metric snapshots into queue A, capture policies for the kernel, and
//! the ledgers of its stages. No I/O, no clock, nothing shared but that queue: a shard belongs to one thread.

use std::sync::Arc;

use sidelight_events::{ConnKey, Event, life};
use sidelight_protocol_parsers::{Emitted, Exchange, KernelTime, Role};

use crate::{
    exporters::Producer,
    identity::Identities,
    metrics::Metrics,
    model::{ClockOffset, Connection, Process, Resource, Side, UnixTime},
    source::Item,
    span::SpanBuilder,
    telemetry::{Health, Metric},
    tracker::{Limits, Sink, Tracker},
};

/// Tracker, parsers, span stage, identity and metrics of one shard.
pub struct Shard {
    tracker: Tracker,
    stage: Stage,
}

/// What stands behind the tracker.
struct Stage {
    spans: SpanBuilder,
    identities: Identities,
    metrics: Metrics,
    offset: ClockOffset,
    queue: Producer,
    policies: Vec<(ConnKey, u32)>,
}

impl Shard {
    /// A shard without connections.
    #[must_use]
    pub fn new(limits: Limits, spans: SpanBuilder, identities: Identities, metrics: Metrics, queue: Producer) -> Self {
        let stage = Stage { spans, identities, metrics, offset: ClockOffset::default(), queue, policies: Vec::new() };
        Self { tracker: Tracker::new(limits), stage }
    }

    /// Only exchanges of this side (capture files).
    #[must_use]
    pub fn looking_at(mut self, side: Side) -> Self {
        self.tracker = self.tracker.looking_at(side);
        self
    }

    /// Takes what a source gives. `now`: the newest event time while the source has more, else the clock.
    pub fn take(&mut self, item: Item<'_>, now: KernelTime) {
        match item {
            Item::Clock(offset) => self.stage.offset = offset,
            Item::Process(process) => {
                self.stage.identities.learn(&process);
            }
            Item::Event(event) => {
                if let Event::Process(process) = event {
                    match process.life {
                        life::EXEC | life::FORK => self.stage.identities.replaced(process.tgid),
                        _ => self.stage.identities.ended(process.tgid, now),
                    }
                }
                self.tracker.handle(event, now, &mut self.stage);
            }
        }
    }

    /// Time passes: about once a second.
    pub fn tick(&mut self, now: KernelTime) {
        self.tracker.tick(now, &mut self.stage);
        self.stage.identities.tick(now);
    }

    /// Ends every open exchange as `incomplete(shutdown)`.
    pub fn shutdown(&mut self, now: KernelTime) {
        self.tracker.shutdown(now, &mut self.stage);
    }

    /// Where spans go.
    pub fn queue(&mut self) -> &mut Producer {
        &mut self.stage.queue
    }

    /// Capture policies wanted since the last call.
    pub fn policies(&mut self) -> impl Iterator<Item = (ConnKey, u32)> + '_ {
        self.stage.policies.drain(..)
    }

    /// Hands the state of all metric series over; one that does not fit is counted.
    pub fn snapshot(&mut self, now: KernelTime) {
        let snapshot = self.stage.metrics.snapshot(self.unix(now));
        self.stage.queue.metrics(snapshot);
    }

    /// The Unix time of a kernel time, by the newest offset.
    fn unix(&self, time: KernelTime) -> UnixTime {
        self.stage.offset.unix(time)
    }

    /// Writes the ledgers of its stages into `health`. Bytes that a policy kept in the kernel count as presented and ignored.
    pub fn report(&self, health: &Health, kept_in_kernel: u64) {
        self.stage.spans.report(health);
        self.stage.metrics.report(health);
        let counts = self.tracker.counts();
        let bytes = &counts.bytes;
        for (metric, value) in [
            (Metric::BytesPresented, bytes.presented + kept_in_kernel),
            (Metric::BytesParsed, bytes.parsed),
            (Metric::BytesSkipped, bytes.skipped),
            (Metric::BytesGap, bytes.gap),
            (Metric::BytesTruncated, bytes.truncated),
            (Metric::BytesUnclassified, bytes.unclassified),
            (Metric::BytesIgnored, bytes.ignored + kept_in_kernel),
            (Metric::BytesBuffered, bytes.buffered),
            (Metric::BytesContended, bytes.contended),
            (Metric::ExchangesBegun, counts.exchanges.begun),
            (Metric::ExchangesDone, counts.exchanges.done),
            (Metric::ExchangesOpen, counts.exchanges.open()),
            (Metric::TlsUnbound, bytes.tls_unbound),
            (Metric::TlsConflict, bytes.tls_conflict),
            (Metric::Connections, counts.connections.live),
        ] {
            health.store(metric, value);
        }
        for (metric, value) in Metric::INCOMPLETE.into_iter().zip(counts.exchanges.incomplete) {
            health.store(metric, value);
        }
    }
}

impl Stage {
    /// Whose an exchange is: the process that moved its first request byte; in a capture file the end of the connection.
    fn resource(&mut self, connection: &Connection, exchange: &Exchange) -> Arc<Resource> {
        match exchange.request.first.pid {
            0 => self.identities.end(&connection.local, exchange.role == Role::Client),
            pid => match self.identities.process(pid) {
                Some(resource) => Arc::clone(resource),
                None => self.identities.learn(&Process { pid, own_pid: pid, ..Process::default() }),
            },
        }
    }
}

impl Sink for Stage {
    fn emitted(&mut self, connection: &Arc<Connection>, what: Emitted) {
        match what {
            Emitted::Begun { id, dir, first } => self.spans.begun(connection, id, dir, first),
            Emitted::Done(exchange) if self.spans.leaves_out(connection, &exchange) => {}
            Emitted::Done(exchange) => {
                let resource = self.resource(connection, &exchange);
                let built = self.spans.done(connection, &resource, exchange, self.offset);
                self.metrics.record(built.span());
                if let Some(span) = built.sampled() {
                    self.queue.span(&span);
                }
            }
            // the causality stage will read answers; switches stay inside the tracker
            Emitted::Answered { .. } | Emitted::Switch(_) => {}
        }
    }

    fn policy(&mut self, key: ConnKey, policy: u32) {
        self.policies.push((key, policy));
    }

    fn program(&self, pid: u32) -> &str {
        self.identities.program(pid)
    }
}
