//! What the daemon knows of its own health: counters and gauges that any thread may write.
//!
//! In: [`Health::store`] for totals that are kept elsewhere (kernel counters, the tracker's own sums), [`Health::add`] and
//! [`Health::sub`] where things happen. Out: [`Health::load`] and the table [`ROWS`], from which the metrics are made.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a value behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// Only grows, in nanoseconds; exported in seconds.
    Time,
}

/// What the metrics call a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The value.
    pub metric: Metric,
    /// Instrument name; rows that follow each other with the same name are one instrument.
    pub name: &'static str,
    /// Attribute that tells the rows of an instrument apart.
    pub attribute: Option<(&'static str, &'static str)>,
    /// UCUM unit.
    pub unit: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts.
    pub help: &'static str,
}

/// Every value of [`Health`], in the order of [`ROWS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "ROWS describes each")]
pub enum Metric {
    EventsAttempted,
    EventsSubmitted,
    EventsRead,
    EventsRingFull,
    EventsFault,
    EventsMalformed,
    BytesPresented,
    BytesParsed,
    BytesSkipped,
    BytesGap,
    BytesTruncated,
    BytesUnclassified,
    BytesIgnored,
    BytesBuffered,
    BytesContended,
    BytesCiphertext,
    ExchangesBegun,
    ExchangesDone,
    ExchangesClosed,
    ExchangesDesync,
    ExchangesEvicted,
    ExchangesGap,
    ExchangesShutdown,
    ExchangesTruncated,
    ExchangesOpen,
    ExchangesUnsampled,
    ExchangesLeftOut,
    ExchangesUnfinished,
    ExchangesNoMetric,
    ExchangesInstances,
    ExchangesOverflow,
    Series,
    SpansBuilt,
    SpansExported,
    SpansQueueFull,
    SpansRefused,
    SpansRejected,
    SpansShutdown,
    SpansOutputClosed,
    SpansUnconfigured,
    SpansQueued,
    PointsBuilt,
    PointsExported,
    PointsQueueFull,
    PointsRefused,
    PointsRejected,
    PointsShutdown,
    PointsOutputClosed,
    PointsUnconfigured,
    PointsQueued,
    QueueIntake,
    QueueTraces,
    QueueMetrics,
    CapacityIntake,
    CapacityTraces,
    CapacityMetrics,
    CallsSeen,
    CallsUndecided,
    CallsUnresolved,
    CallsMapFull,
    HooksSkipped,
    TlsLateLibrary,
    TlsUnbound,
    TlsConflict,
    Connections,
    MemoryUsage,
    CpuTime,
}

impl Metric {
    /// Exchanges that are not whole, by reason: in the order of `Incomplete::ALL`.
    pub const INCOMPLETE: [Self; 6] = [
        Self::ExchangesClosed,
        Self::ExchangesDesync,
        Self::ExchangesEvicted,
        Self::ExchangesGap,
        Self::ExchangesShutdown,
        Self::ExchangesTruncated,
    ];
}

const fn row(
    metric: Metric,
    name: &'static str,
    attribute: Option<(&'static str, &'static str)>,
    unit: &'static str,
    kind: Kind,
    help: &'static str,
) -> Row {
    Row { metric, name, attribute, unit, kind, help }
}

const fn reason(value: &'static str) -> Option<(&'static str, &'static str)> {
    Some(("reason", value))
}

/// Which values exist and what they are called.
#[rustfmt::skip]
pub const ROWS: &[Row] = {
    use Kind::{Counter, Gauge, Time};
    use Metric as M;
    const LOST: &str = "events lost between a hook and the ring thread";
    const UNPARSED: &str = "bytes of watched connections that no parser read";
    const INCOMPLETE: &str = "exchanges that ended without being whole";
    const UNMEASURED: &str = "exchanges in no duration metric";
    const DROPPED: &str = "spans built and not delivered";
    const POINTS: &str = "metric points built and not delivered";
    const QUEUE: &str = "bytes held by a queue";
    const CAPACITY: &str = "bytes a queue may hold";
    const CALLS: &str = "calls of processes that could not be captured";
    const TLS: &str = "TLS plaintext records not given to a connection";
    &[
        row(M::EventsAttempted, "sidelight.events.attempted", None, "{event}", Counter, "events the hooks tried to submit"),
        row(M::EventsSubmitted, "sidelight.events.submitted", None, "{event}", Counter, "events submitted to the ring"),
        row(M::EventsRead, "sidelight.events.read", None, "{event}", Counter, "events read from the ring"),
        row(M::EventsRingFull, "sidelight.events.lost", reason("ring_full"), "{event}", Counter, LOST),
        row(M::EventsFault, "sidelight.events.lost", reason("fault"), "{event}", Counter, LOST),
        row(M::EventsMalformed, "sidelight.events.malformed", None, "{event}", Counter, "events read with a size or kind we do not know"),
        row(M::BytesPresented, "sidelight.bytes.presented", None, "By", Counter, "true length of what watched processes read and wrote"),
        row(M::BytesParsed, "sidelight.bytes.parsed", None, "By", Counter, "bytes a parser read"),
        row(M::BytesSkipped, "sidelight.bytes.unparsed", reason("skipped"), "By", Counter, UNPARSED),
        row(M::BytesGap, "sidelight.bytes.unparsed", reason("gap"), "By", Counter, UNPARSED),
        row(M::BytesTruncated, "sidelight.bytes.unparsed", reason("truncated"), "By", Counter, UNPARSED),
        row(M::BytesUnclassified, "sidelight.bytes.unparsed", reason("unclassified"), "By", Counter, UNPARSED),
        row(M::BytesIgnored, "sidelight.bytes.unparsed", reason("ignored"), "By", Counter, UNPARSED),
        row(M::BytesBuffered, "sidelight.bytes.buffered", None, "By", Gauge, "bytes waiting for the ones before or after them"),
        row(M::BytesContended, "sidelight.bytes.contended", None, "By", Counter, "bytes trimmed because two calls reported the same range"),
        row(M::BytesCiphertext, "sidelight.bytes.ciphertext", None, "By", Counter, "ciphertext of connections read through their TLS library; not in presented"),
        row(M::ExchangesBegun, "sidelight.exchanges.begun", None, "{exchange}", Counter, "requests recognised"),
        row(M::ExchangesDone, "sidelight.exchanges.done", None, "{exchange}", Counter, "exchanges seen whole"),
        row(M::ExchangesClosed, "sidelight.exchanges.incomplete", reason("closed"), "{exchange}", Counter, INCOMPLETE),
        row(M::ExchangesDesync, "sidelight.exchanges.incomplete", reason("desync"), "{exchange}", Counter, INCOMPLETE),
        row(M::ExchangesEvicted, "sidelight.exchanges.incomplete", reason("evicted"), "{exchange}", Counter, INCOMPLETE),
        row(M::ExchangesGap, "sidelight.exchanges.incomplete", reason("gap"), "{exchange}", Counter, INCOMPLETE),
        row(M::ExchangesShutdown, "sidelight.exchanges.incomplete", reason("shutdown"), "{exchange}", Counter, INCOMPLETE),
        row(M::ExchangesTruncated, "sidelight.exchanges.incomplete", reason("truncated"), "{exchange}", Counter, INCOMPLETE),
        row(M::ExchangesOpen, "sidelight.exchanges.open", None, "{exchange}", Gauge, "exchanges not ended yet"),
        row(M::ExchangesUnsampled, "sidelight.exchanges.unsampled", None, "{exchange}", Counter, "exchanges without a span, by their trace's flag"),
        row(M::ExchangesLeftOut, "sidelight.exchanges.left_out", None, "{exchange}", Counter, "exchanges of a database's own side, left out as configured"),
        row(M::ExchangesUnfinished, "sidelight.exchanges.unmeasured", reason("unfinished"), "{exchange}", Counter, UNMEASURED),
        row(M::ExchangesNoMetric, "sidelight.exchanges.unmeasured", reason("no_metric"), "{exchange}", Counter, UNMEASURED),
        row(M::ExchangesInstances, "sidelight.exchanges.unmeasured", reason("instances"), "{exchange}", Counter, UNMEASURED),
        row(M::ExchangesOverflow, "sidelight.exchanges.overflow", None, "{exchange}", Counter, "exchanges measured in an overflow series"),
        row(M::Series, "sidelight.series", None, "{series}", Gauge, "metric series kept"),
        row(M::SpansBuilt, "sidelight.spans.built", None, "{span}", Counter, "spans handed to the exporter"),
        row(M::SpansExported, "sidelight.spans.exported", None, "{span}", Counter, "spans the end point accepted or the output took"),
        row(M::SpansQueueFull, "sidelight.spans.dropped", reason("queue_full"), "{span}", Counter, DROPPED),
        row(M::SpansRefused, "sidelight.spans.dropped", reason("refused"), "{span}", Counter, DROPPED),
        row(M::SpansRejected, "sidelight.spans.dropped", reason("rejected"), "{span}", Counter, DROPPED),
        row(M::SpansShutdown, "sidelight.spans.dropped", reason("shutdown"), "{span}", Counter, DROPPED),
        row(M::SpansOutputClosed, "sidelight.spans.dropped", reason("output_closed"), "{span}", Counter, DROPPED),
        row(M::SpansUnconfigured, "sidelight.spans.dropped", reason("unconfigured"), "{span}", Counter, DROPPED),
        row(M::SpansQueued, "sidelight.spans.queued", None, "{span}", Gauge, "spans waiting in the queues or on the wire"),
        row(M::PointsBuilt, "sidelight.metric_points.built", None, "{point}", Counter, "metric points handed to the exporter"),
        row(M::PointsExported, "sidelight.metric_points.exported", None, "{point}", Counter, "metric points the end point accepted"),
        row(M::PointsQueueFull, "sidelight.metric_points.dropped", reason("queue_full"), "{point}", Counter, POINTS),
        row(M::PointsRefused, "sidelight.metric_points.dropped", reason("refused"), "{point}", Counter, POINTS),
        row(M::PointsRejected, "sidelight.metric_points.dropped", reason("rejected"), "{point}", Counter, POINTS),
        row(M::PointsShutdown, "sidelight.metric_points.dropped", reason("shutdown"), "{point}", Counter, POINTS),
        row(M::PointsOutputClosed, "sidelight.metric_points.dropped", reason("output_closed"), "{point}", Counter, POINTS),
        row(M::PointsUnconfigured, "sidelight.metric_points.dropped", reason("unconfigured"), "{point}", Counter, POINTS),
        row(M::PointsQueued, "sidelight.metric_points.queued", None, "{point}", Gauge, "metric points waiting in the queues or on the wire"),
        row(M::QueueIntake, "sidelight.queue.size", Some(("queue", "intake")), "By", Gauge, QUEUE),
        row(M::QueueTraces, "sidelight.queue.size", Some(("queue", "traces")), "By", Gauge, QUEUE),
        row(M::QueueMetrics, "sidelight.queue.size", Some(("queue", "metrics")), "By", Gauge, QUEUE),
        row(M::CapacityIntake, "sidelight.queue.capacity", Some(("queue", "intake")), "By", Gauge, CAPACITY),
        row(M::CapacityTraces, "sidelight.queue.capacity", Some(("queue", "traces")), "By", Gauge, CAPACITY),
        row(M::CapacityMetrics, "sidelight.queue.capacity", Some(("queue", "metrics")), "By", Gauge, CAPACITY),
        row(M::CallsSeen, "sidelight.calls.seen", None, "{call}", Counter, "calls of watched processes that reached the handler"),
        row(M::CallsUndecided, "sidelight.calls.lost", reason("undecided"), "{call}", Counter, CALLS),
        row(M::CallsUnresolved, "sidelight.calls.lost", reason("unresolved"), "{call}", Counter, CALLS),
        row(M::CallsMapFull, "sidelight.calls.lost", reason("map_full"), "{call}", Counter, CALLS),
        row(M::HooksSkipped, "sidelight.hooks.skipped", None, "{run}", Counter, "runs of our eBPF programs that the kernel skipped (recursion_misses), of watched processes or not"),
        row(M::TlsLateLibrary, "sidelight.tls.lost", reason("late_library"), "{call}", Counter, TLS),
        row(M::TlsUnbound, "sidelight.tls.lost", reason("tls_unbound"), "{call}", Counter, TLS),
        row(M::TlsConflict, "sidelight.tls.lost", reason("tls_conflict"), "{call}", Counter, TLS),
        row(M::Connections, "sidelight.connections", None, "{connection}", Gauge, "connections tracked"),
        row(M::MemoryUsage, "process.memory.usage", None, "By", Gauge, "resident memory of the daemon"),
        row(M::CpuTime, "process.cpu.time", None, "s", Time, "processor time of the daemon"),
    ]
};

/// The same values under the names the semantic conventions give to exporters.
#[rustfmt::skip]
pub const CONVENTIONAL: &[Row] = {
    use Metric as M;
    const fn error(value: &'static str) -> Option<(&'static str, &'static str)> {
        Some(("error.type", value))
    }
    const NAME: &str = "otel.sdk.exporter.span.exported";
    const HELP: &str = "spans whose export ended, successfully or, with error.type, not";
    &[
        row(M::SpansExported, NAME, None, "{span}", Kind::Counter, HELP),
        row(M::SpansQueueFull, NAME, error("queue_full"), "{span}", Kind::Counter, HELP),
        row(M::SpansRefused, NAME, error("refused"), "{span}", Kind::Counter, HELP),
        row(M::SpansRejected, NAME, error("rejected"), "{span}", Kind::Counter, HELP),
        row(M::SpansShutdown, NAME, error("shutdown"), "{span}", Kind::Counter, HELP),
        row(M::SpansOutputClosed, NAME, error("output_closed"), "{span}", Kind::Counter, HELP),
        row(M::SpansQueued, "otel.sdk.exporter.span.inflight", None, "{span}", Kind::Gauge, "spans whose export has not ended"),
    ]
};

/// The values. Shared by `Arc`; every access is one relaxed atomic operation.
#[derive(Debug)]
pub struct Health {
    values: [AtomicU64; ROWS.len()],
}

impl Default for Health {
    fn default() -> Self {
        Self { values: [const { AtomicU64::new(0) }; ROWS.len()] }
    }
}

impl Health {
    fn value(&self, metric: Metric) -> &AtomicU64 {
        &self.values[metric as usize]
    }

    /// Sets a value whose total is kept elsewhere.
    pub fn store(&self, metric: Metric, value: u64) {
        self.value(metric).store(value, Ordering::Relaxed);
    }

    /// Adds to a value.
    pub fn add(&self, metric: Metric, amount: u64) {
        self.value(metric).fetch_add(amount, Ordering::Relaxed);
    }

    /// Takes from a gauge.
    pub fn sub(&self, metric: Metric, amount: u64) {
        self.value(metric).fetch_sub(amount, Ordering::Relaxed);
    }

    /// A value as it is now.
    #[must_use]
    pub fn load(&self, metric: Metric) -> u64 {
        self.value(metric).load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_metrics() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.metric as usize, index, "{}", row.name);
        }
    }

    #[test]
    fn incomplete_metrics_stand_in_the_order_of_the_reasons() {
        for (metric, why) in Metric::INCOMPLETE.into_iter().zip(sidelight_protocol_parsers::Incomplete::ALL) {
            assert_eq!(ROWS[metric as usize].attribute, Some(("reason", why.name())));
        }
    }

    #[test]
    fn rows_of_one_instrument_follow_each_other_and_agree() {
        let mut seen = std::collections::HashSet::new();
        for group in ROWS.chunk_by(|a, b| a.name == b.name) {
            assert!(seen.insert(group[0].name), "{} stands in two places", group[0].name);
            let attributes: std::collections::HashSet<_> = group.iter().map(|row| row.attribute).collect();
            assert_eq!(attributes.len(), group.len(), "{} has two rows with one attribute", group[0].name);
            assert!(
                group.iter().all(|row| (row.unit, row.kind, row.help) == (group[0].unit, group[0].kind, group[0].help))
            );
        }
    }
}
