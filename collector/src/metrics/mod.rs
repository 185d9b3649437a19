//! Duration histograms from every exchange, sampled or not.
//!
//! In: finished [`Span`]s; snapshots at the export interval. Out: [`Snapshot`]s of cumulative series, grouped by instance.
//!
//! * Not measured are exchanges whose end was not seen (gap, desync, eviction, our own stop): their duration is unknown. They are
//!   counted. One whose connection ended early is measured up to its last byte.
//! * A series whose texts take more than 1 KiB is not made: its exchanges go to the overflow series.
//! * Limits: [`MAX_PER_INSTANCE`] series an instance and [`MAX_SERIES`] in all; what exceeds them goes to the instance's overflow series (one an
//!   instrument). [`MAX_INSTANCES`] instances; what exceeds them is dropped and counted.
//! * A series idle for [`IDLE_INTERVALS`] is dropped by the snapshot that ends the last of them; if it comes back it starts anew, with a new start
//!   time, as a cumulative stream must after a reset.

mod instrument;
mod labels;
#[cfg(test)]
mod tests;

use std::{hash::BuildHasher, mem, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};
use rustc_hash::FxHashMap;
use sidelight_protocol_parsers::Incomplete;

use self::labels::Key;
pub use self::{
    instrument::{BUCKETS, Histogram, Instrument},
    labels::Labels,
};
use crate::{
    model::{Instance, Span, UnixTime},
    semconv::network::Short,
    telemetry::{Health, Metric},
};

/// Series of one instance, the overflow series apart.
pub const MAX_PER_INSTANCE: usize = 2_000;

/// Series in all, the overflow series apart: 290 bytes each, 5.8 MB, and 3.2 MB more while a snapshot is on its way.
pub const MAX_SERIES: usize = 20_000;

/// Instances with a series.
pub const MAX_INSTANCES: usize = 2_000;

/// Intervals without a new value after which a series is dropped.
pub const IDLE_INTERVALS: u8 = 5;

/// One series at a moment.
#[derive(Clone, Debug)]
pub struct Point {
    /// What it stands for.
    pub labels: Arc<Labels>,
    /// Its values.
    pub histogram: Histogram,
}

/// All series at a moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The moment.
    pub time: UnixTime,
    /// Instances and their points, those of an instrument together.
    pub instances: Vec<(Arc<Instance>, Vec<Point>)>,
}

/// Counters of this stage: exchanges = measured + the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricCounts {
    /// In a series of their own labels.
    pub measured: u64,
    /// In an overflow series.
    pub overflow: u64,
    /// Not measured: their end was not seen.
    pub unfinished: u64,
    /// Not measured: their protocol has no metric.
    pub without_metric: u64,
    /// Not measured: too many instances.
    pub dropped: u64,
    /// Series now.
    pub series: u64,
}

#[derive(Debug)]
struct Series {
    labels: Arc<Labels>,
    histogram: Histogram,
    /// Snapshots since the last value.
    idle: u8,
}

#[derive(Debug)]
struct Usage {
    instance: Arc<Instance>,
    /// With labels of their own.
    series: usize,
    overflow: usize,
}

/// The series of one shard.
#[derive(Debug, Default)]
pub struct Metrics {
    hasher: DefaultHashBuilder,
    /// Boxed, so that an empty slot costs eight bytes.
    series: HashTable<Box<Series>>,
    instances: FxHashMap<u128, Usage>,
    /// With labels of their own.
    own: usize,
    counts: MetricCounts,
}

impl Metrics {
    /// No series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a finished exchange.
    pub fn record(&mut self, span: &Span) {
        let mut room = Short::new();
        let Some(key) = Key::new(span, &mut room) else {
            self.counts.without_metric += 1;
            return;
        };
        if span.exchange.incomplete.iter().any(|why| !matches!(why, Incomplete::Closed | Incomplete::Truncated)) {
            self.counts.unfinished += 1;
            return;
        }
        if !key.is_overflow() && self.add(span, key) {
            self.counts.measured += 1;
        } else if self.add(span, key.overflow()) {
            self.counts.overflow += 1;
        } else {
            self.counts.dropped += 1;
        }
    }

    /// Adds to the series of a key, made if need be. `false`: there is no room for a new one.
    fn add(&mut self, span: &Span, key: Key<'_>) -> bool {
        let hash = self.hasher.hash_one(key);
        let hasher = &self.hasher;
        let found =
            self.series.entry(hash, |series| series.labels.key() == key, |series| hasher.hash_one(series.labels.key()));
        match found {
            Entry::Occupied(mut series) => {
                let series = series.get_mut();
                series.idle = 0;
                series.histogram.record(key.instrument(), span.duration);
            }
            Entry::Vacant(place) => {
                let labels = key.labels(&span.http);
                let instances = self.instances.len();
                let usage = match self.instances.entry(labels.instance()) {
                    std::collections::hash_map::Entry::Occupied(usage) => usage.into_mut(),
                    std::collections::hash_map::Entry::Vacant(_) if instances >= MAX_INSTANCES => return false,
                    std::collections::hash_map::Entry::Vacant(place) => {
                        place.insert(Usage { instance: Arc::clone(&span.resource.instance), series: 0, overflow: 0 })
                    }
                };
                if labels.is_overflow() {
                    usage.overflow += 1;
                } else if usage.series >= MAX_PER_INSTANCE || self.own >= MAX_SERIES {
                    return false;
                } else {
                    usage.series += 1;
                    self.own += 1;
                }
                let end = UnixTime(span.start.0.saturating_add(span.duration));
                let mut series = Series { labels: Arc::new(labels), histogram: Histogram::new(end), idle: 0 };
                series.histogram.record(key.instrument(), span.duration);
                place.insert(Box::new(series));
            }
        }
        true
    }

    /// All series as they are, without those that were idle for too long.
    pub fn snapshot(&mut self, now: UnixTime) -> Snapshot {
        self.expire();
        let mut instances: Vec<_> = self
            .instances
            .iter()
            .map(|(key, usage)| {
                (*key, (Arc::clone(&usage.instance), Vec::with_capacity(usage.series + usage.overflow)))
            })
            .collect();
        let index: FxHashMap<u128, usize> = instances.iter().enumerate().map(|(at, (key, _))| (*key, at)).collect();
        for series in &mut self.series {
            series.idle += 1;
            let place = index.get(&series.labels.instance()).and_then(|at| instances.get_mut(*at));
            if let Some((_, (_, points))) = place {
                points.push(Point { labels: Arc::clone(&series.labels), histogram: series.histogram.clone() });
            }
        }
        for (_, (_, points)) in &mut instances {
            points.sort_by_key(|point| point.labels.instrument);
        }
        Snapshot { time: now, instances: instances.into_iter().map(|(_, instance)| instance).collect() }
    }

    fn expire(&mut self) {
        let mut series = mem::take(&mut self.series);
        series.retain(|series| {
            // `idle` is 1 in the first snapshot without a new value.
            let keep = series.idle < IDLE_INTERVALS;
            if let (false, Some(usage)) = (keep, self.instances.get_mut(&series.labels.instance())) {
                if series.labels.is_overflow() {
                    usage.overflow -= 1;
                } else {
                    usage.series -= 1;
                    self.own -= 1;
                }
            }
            keep
        });
        self.series = series;
        self.instances.retain(|_, usage| usage.series + usage.overflow > 0);
    }

    /// This stage's counters.
    #[must_use]
    pub fn counts(&self) -> MetricCounts {
        MetricCounts { series: self.series.len() as u64, ..self.counts }
    }

    /// Writes its counters into `health`.
    pub fn report(&self, health: &Health) {
        let MetricCounts { measured: _, overflow, unfinished, without_metric, dropped, series } = self.counts();
        for (metric, value) in [
            (Metric::ExchangesOverflow, overflow),
            (Metric::ExchangesUnfinished, unfinished),
            (Metric::ExchangesNoMetric, without_metric),
            (Metric::ExchangesInstances, dropped),
            (Metric::Series, series),
        ] {
            health.store(metric, value);
        }
    }
}
