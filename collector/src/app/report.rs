//! What the daemon tells the operator at start and at stop, on standard error.
//!
//! In: the loader's rows, the export settings, [`Health`]. Out: lines. The closing `ledger NAME entry=N ...` lines are stable:
//! scripts may read them (README, "Ledgers").

use std::fmt::Write;

use crate::telemetry::{Health, Metric};

/// The start-up table: what is on, what is off and why.
#[must_use]
pub(super) fn table<'a>(rows: impl Iterator<Item = (&'a str, &'a str, &'a str)> + Clone) -> String {
    let width = |column: fn((&'a str, &'a str, &'a str)) -> usize| rows.clone().map(column).max().unwrap_or(0);
    let (name, state) = (width(|row| row.0.len()), width(|row| row.1.len()));
    let mut text = String::new();
    for row in rows {
        let line = format!("  {:name$}  {:state$}  {}", row.0, row.1, row.2);
        // writing to a String cannot fail
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

const EVENTS: &[(&str, &[Metric])] = &[
    ("attempted", &[Metric::EventsAttempted]),
    ("submitted", &[Metric::EventsSubmitted]),
    ("ring_full", &[Metric::EventsRingFull]),
    ("fault", &[Metric::EventsFault]),
    ("read", &[Metric::EventsRead]),
    ("malformed", &[Metric::EventsMalformed]),
];

const BYTES: &[(&str, &[Metric])] = &[
    ("presented", &[Metric::BytesPresented]),
    ("parsed", &[Metric::BytesParsed]),
    ("skipped", &[Metric::BytesSkipped]),
    ("gap", &[Metric::BytesGap]),
    ("truncated", &[Metric::BytesTruncated]),
    ("unclassified", &[Metric::BytesUnclassified]),
    ("ignored", &[Metric::BytesIgnored]),
    ("buffered", &[Metric::BytesBuffered]),
];

const EXCHANGES: &[(&str, &[Metric])] = &[
    ("begun", &[Metric::ExchangesBegun]),
    ("done", &[Metric::ExchangesDone]),
    ("incomplete", &Metric::INCOMPLETE),
    ("open", &[Metric::ExchangesOpen]),
    ("closed", &[Metric::ExchangesClosed]),
    ("desync", &[Metric::ExchangesDesync]),
    ("evicted", &[Metric::ExchangesEvicted]),
    ("gapped", &[Metric::ExchangesGap]),
    ("shutdown", &[Metric::ExchangesShutdown]),
    ("truncated", &[Metric::ExchangesTruncated]),
];

const DROPPED: &[Metric] = &[
    Metric::SpansQueueFull,
    Metric::SpansRefused,
    Metric::SpansRejected,
    Metric::SpansShutdown,
    Metric::SpansOutputClosed,
    Metric::SpansUnconfigured,
];

const SPANS: &[(&str, &[Metric])] = &[
    ("built", &[Metric::SpansBuilt]),
    ("exported", &[Metric::SpansExported]),
    ("dropped", DROPPED),
    ("queued", &[Metric::SpansQueued]),
    ("queue_full", &[Metric::SpansQueueFull]),
    ("refused", &[Metric::SpansRefused]),
    ("rejected", &[Metric::SpansRejected]),
    ("shutdown", &[Metric::SpansShutdown]),
    ("output_closed", &[Metric::SpansOutputClosed]),
    ("unconfigured", &[Metric::SpansUnconfigured]),
];

const CALLS: &[(&str, &[Metric])] = &[
    ("seen", &[Metric::CallsSeen]),
    ("undecided", &[Metric::CallsUndecided]),
    ("unresolved", &[Metric::CallsUnresolved]),
    ("map_full", &[Metric::CallsMapFull]),
    ("skipped", &[Metric::HooksSkipped]),
    ("late_library", &[Metric::TlsLateLibrary]),
    ("tls_unbound", &[Metric::TlsUnbound]),
    ("tls_conflict", &[Metric::TlsConflict]),
];

/// The ledgers, one line each.
#[must_use]
pub(super) fn ledgers(health: &Health) -> String {
    let mut text = String::new();
    for (name, entries) in
        [("events", EVENTS), ("bytes", BYTES), ("exchanges", EXCHANGES), ("spans", SPANS), ("calls", CALLS)]
    {
        let _ = write!(text, "ledger {name}");
        for (entry, metrics) in entries {
            let sum: u64 = metrics.iter().map(|metric| health.load(*metric)).sum();
            let _ = write!(text, " {entry}={sum}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_lines_sum_their_reasons() {
        let health = Health::default();
        health.store(Metric::SpansBuilt, 9);
        health.store(Metric::SpansRefused, 2);
        health.store(Metric::SpansShutdown, 3);
        let text = ledgers(&health);
        let line = text.lines().find(|line| line.starts_with("ledger spans")).unwrap();
        assert!(line.starts_with("ledger spans built=9 exported=0 dropped=5 queued=0"), "{line}");
    }

    #[test]
    fn columns_of_the_table_are_aligned() {
        let rows = [("sockets", "on", "sock_send_length"), ("openssl", "degraded", "")];
        assert_eq!(table(rows.into_iter()), "  sockets  on        sock_send_length\n  openssl  degraded\n");
    }
}
