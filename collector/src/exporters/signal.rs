//! The two signals and their ledgers.
//!
//! In: how many spans or metric points were built, delivered or lost. Out: [`Health`], in which at rest
//! built = exported + dropped(reason) + queued.

use crate::telemetry::{Health, Metric, events};

/// Traces or metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Metric points.
    Metrics,
    /// Spans.
    Traces,
}

/// Why a span or a metric point was built and not delivered: the `reason` of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The output's reader went away.
    OutputClosed,
    /// A queue was at its bound.
    QueueFull,
    /// The end point refused the whole payload for good.
    Refused,
    /// The end point accepted the payload and rejected some of it.
    Rejected,
    /// The daemon stopped before it could be sent.
    Shutdown,
    /// Nothing is configured to take this signal.
    Unconfigured,
}

impl Loss {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::OutputClosed, Self::QueueFull, Self::Refused, Self::Rejected, Self::Shutdown, Self::Unconfigured];

    /// The `reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OutputClosed => "output_closed",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
            Self::Unconfigured => "unconfigured",
        }
    }
}

impl Signal {
    /// `traces` or `metrics`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }

    /// The counter of a loss.
    #[must_use]
    pub fn lost(self, why: Loss) -> Metric {
        match (self, why) {
            (Self::Metrics, Loss::OutputClosed) => Metric::PointsOutputClosed,
            (Self::Metrics, Loss::QueueFull) => Metric::PointsQueueFull,
            (Self::Metrics, Loss::Refused) => Metric::PointsRefused,
            (Self::Metrics, Loss::Rejected) => Metric::PointsRejected,
            (Self::Metrics, Loss::Shutdown) => Metric::PointsShutdown,
            (Self::Metrics, Loss::Unconfigured) => Metric::PointsUnconfigured,
            (Self::Traces, Loss::OutputClosed) => Metric::SpansOutputClosed,
            (Self::Traces, Loss::QueueFull) => Metric::SpansQueueFull,
            (Self::Traces, Loss::Refused) => Metric::SpansRefused,
            (Self::Traces, Loss::Rejected) => Metric::SpansRejected,
            (Self::Traces, Loss::Shutdown) => Metric::SpansShutdown,
            (Self::Traces, Loss::Unconfigured) => Metric::SpansUnconfigured,
        }
    }

    /// Counts items that were built and are now queued.
    pub(crate) fn built(self, health: &Health, items: u64) {
        let (built, queued) = match self {
            Self::Metrics => (Metric::PointsBuilt, Metric::PointsQueued),
            Self::Traces => (Metric::SpansBuilt, Metric::SpansQueued),
        };
        health.add(built, items);
        health.add(queued, items);
    }

    /// Counts queued items as delivered.
    pub(crate) fn exported(self, health: &Health, items: u64) {
        let (exported, queued) = match self {
            Self::Metrics => (Metric::PointsExported, Metric::PointsQueued),
            Self::Traces => (Metric::SpansExported, Metric::SpansQueued),
        };
        health.add(exported, items);
        health.sub(queued, items);
    }

    /// Counts queued items as lost, and says so.
    pub(crate) fn dropped(self, health: &Health, why: Loss, items: u64, detail: &str) {
        if items == 0 {
            return;
        }
        let queued = match self {
            Self::Metrics => Metric::PointsQueued,
            Self::Traces => Metric::SpansQueued,
        };
        health.sub(queued, items);
        events::Dropped { signal: self.name(), metric: self.lost(why), reason: why.name(), count: items, detail }
            .emit(health);
    }

    /// Counts queued items as lost because nothing takes the signal.
    pub(crate) fn unwanted(self, health: &Health, items: u64) {
        self.dropped(health, Loss::Unconfigured, items, "no output is configured for it");
    }

    /// Items queued now.
    pub(crate) fn queued(self, health: &Health) -> u64 {
        health.load(match self {
            Self::Metrics => Metric::PointsQueued,
            Self::Traces => Metric::SpansQueued,
        })
    }
}
