//! Internal events: one struct each, whose `emit` writes the log line and the counters together.
//!
//! In: facts, as fields. Out: a line on standard error (repeats within ten seconds are counted, not written) and [`Health`].

use std::time::Duration;

use super::{Health, Metric, repeat::Repeat};

/// An end point did not take a payload now and is asked again later; nothing is lost.
#[derive(Debug)]
pub struct ExportRetry<'a> {
    /// `traces` or `metrics`.
    pub signal: &'static str,
    /// Where it was sent.
    pub destination: &'a str,
    /// What happened.
    pub error: &'a str,
    /// When it is sent again.
    pub delay: Duration,
}

impl ExportRetry<'_> {
    /// Writes the event.
    pub fn emit(self) {
        static REPEAT: Repeat = Repeat::new();
        let Self { signal, destination, error, delay } = self;
        if let Some(suppressed) = REPEAT.admit() {
            tracing::warn!(signal, destination, error, ?delay, suppressed, "Export failed and will be repeated");
        }
    }
}

/// An end point takes payloads again.
#[derive(Debug)]
pub struct ExportRecovered<'a> {
    /// `traces` or `metrics`.
    pub signal: &'static str,
    /// Where it was sent.
    pub destination: &'a str,
}

impl ExportRecovered<'_> {
    /// Writes the event.
    pub fn emit(self) {
        static REPEAT: Repeat = Repeat::new();
        let Self { signal, destination } = self;
        if let Some(suppressed) = REPEAT.admit() {
            tracing::info!(signal, destination, suppressed, "Export works again");
        }
    }
}

/// Spans or metric points were lost; `lost` says by which reason.
#[derive(Debug)]
pub struct Dropped<'a> {
    /// `traces` or `metrics`.
    pub signal: &'static str,
    /// Its counter.
    pub metric: Metric,
    /// The reason, as in the ledger.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
    /// What the end point, or we, have to say.
    pub detail: &'a str,
}

impl Dropped<'_> {
    /// Writes and counts the event. Each reason has its own limit on lines.
    pub fn emit(self, health: &Health) {
        static QUEUE_FULL: Repeat = Repeat::new();
        static REFUSED: Repeat = Repeat::new();
        static REJECTED: Repeat = Repeat::new();
        static OTHER: Repeat = Repeat::new();
        let Self { signal, metric, reason, count, detail } = self;
        health.add(metric, count);
        let repeat = match reason {
            "queue_full" => &QUEUE_FULL,
            "refused" => &REFUSED,
            "rejected" => &REJECTED,
            _ => &OTHER,
        };
        if let Some(suppressed) = repeat.admit() {
            tracing::error!(signal, reason, count, detail, suppressed, "Telemetry was dropped");
        }
    }
}

/// An end point took everything and has a warning about it.
#[derive(Debug)]
pub struct ExportWarning<'a> {
    /// `traces` or `metrics`.
    pub signal: &'static str,
    /// Its words.
    pub message: &'a str,
}

impl ExportWarning<'_> {
    /// Writes the event.
    pub fn emit(self) {
        static REPEAT: Repeat = Repeat::new();
        let Self { signal, message } = self;
        if let Some(suppressed) = REPEAT.admit() {
            tracing::warn!(signal, message, suppressed, "The end point accepted the telemetry with a warning");
        }
    }
}
