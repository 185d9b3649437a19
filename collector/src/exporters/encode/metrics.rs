//! `ExportMetricsServiceRequest`.
//!
//! In: a [`Snapshot`]. Out: [`Batch`]es of whole points, cumulative histograms in seconds, one `ResourceMetrics` for an instance's points of
//! one instrument.

use super::{Batch, attributes, schema_url, scope, wire};
use crate::{
    metrics::{Instrument, Point, Snapshot},
    model::{Instance, UnixTime},
};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`
const CUMULATIVE: u64 = 2;

/// What stands around a resource and its points: scope, schema URLs, name, description, unit, lengths.
const ENVELOPE: usize = 320;

/// Encodes snapshots; belongs to one thread.
#[derive(Debug, Default)]
pub struct MetricsEncoder {
    /// The request so far, and its points.
    request: Vec<u8>,
    items: usize,
    /// `Resource` of the instance at hand.
    resource: Vec<u8>,
    /// Data points of the instance and instrument at hand.
    points: Vec<u8>,
    count: usize,
}

impl MetricsEncoder {
    /// An encoder with empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes a snapshot into batches. A batch exceeds `max_bytes` only if a single point does.
    pub fn encode(&mut self, snapshot: &Snapshot, max_bytes: usize, out: &mut Vec<Batch>) {
        for (instance, points) in &snapshot.instances {
            self.resource(instance);
            for group in points.chunk_by(|a, b| a.labels.instrument == b.labels.instrument) {
                for point in group {
                    self.point(point, snapshot.time, max_bytes, out);
                }
                if let Some(last) = group.last() {
                    self.close(last.labels.instrument);
                }
            }
        }
        self.flush(out);
    }

    fn resource(&mut self, instance: &Instance) {
        self.resource.clear();
        wire::message(&mut self.resource, 1, |out| {
            for (key, value) in &instance.attributes {
                attributes::string(out, 1, key, value.as_bytes());
            }
        });
    }

    /// Appends a point; closes the batch in front of it if it would become too large.
    fn point(&mut self, point: &Point, now: UnixTime, max_bytes: usize, out: &mut Vec<Batch>) {
        let before = self.points.len();
        wire::message(&mut self.points, 1, |out| encode(out, point, now));
        let size = self.request.len() + self.resource.len() + ENVELOPE + self.points.len();
        if size > max_bytes && self.items + self.count > 0 {
            let last = self.points.split_off(before);
            self.close(point.labels.instrument);
            self.flush(out);
            self.points = last;
        }
        self.count += 1;
    }

    /// Appends the points at hand as a `ResourceMetrics`.
    fn close(&mut self, instrument: Instrument) {
        if self.count == 0 {
            return;
        }
        let Self { request, items, resource, points, count } = self;
        wire::message(request, 1, |out| {
            out.extend_from_slice(resource);
            wire::message(out, 2, |out| {
                scope(out);
                wire::message(out, 2, |out| {
                    wire::bytes(out, 1, instrument.name().as_bytes());
                    wire::bytes(out, 2, instrument.description().as_bytes());
                    wire::bytes(out, 3, b"s");
                    wire::message(out, 9, |out| {
                        out.extend_from_slice(points);
                        wire::uint(out, 2, CUMULATIVE);
                    });
                });
                schema_url(out);
            });
            schema_url(out);
        });
        *items += *count;
        *count = 0;
        points.clear();
    }

    fn flush(&mut self, out: &mut Vec<Batch>) {
        if self.items > 0 {
            out.push(Batch { payload: self.request.as_slice().to_vec().into(), items: self.items });
        }
        self.items = 0;
        self.request.clear();
    }
}

/// The fields of `HistogramDataPoint`.
fn encode(out: &mut Vec<u8>, point: &Point, now: UnixTime) {
    let histogram = &point.histogram;
    wire::fixed64(out, 2, histogram.start.0);
    wire::fixed64(out, 3, now.0);
    wire::fixed64(out, 4, histogram.count());
    wire::fixed64(out, 5, histogram.sum.to_bits());
    let bounds = point.labels.instrument.bounds();
    let buckets = histogram.buckets.get(..=bounds.len()).unwrap_or_default();
    out.push(wire::key_bytes(6));
    wire::varint(out, size_of_val(buckets) as u64);
    for bucket in buckets {
        out.extend_from_slice(&bucket.to_le_bytes());
    }
    out.push(wire::key_bytes(7));
    wire::varint(out, size_of_val(bounds) as u64);
    for bound in bounds {
        out.extend_from_slice(&bound.to_le_bytes());
    }
    if point.labels.is_overflow() {
        attributes::boolean(out, 9, "otel.metric.overflow", true);
    }
    point.labels.visit_attributes(&mut |key, value| attributes::attribute(out, 9, key, value));
}
