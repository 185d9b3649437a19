//! OTLP in protobuf, appended by hand.
//!
//! In: spans, or a metrics [`Snapshot`](crate::metrics::Snapshot). Out: `ExportTraceServiceRequest` and `ExportMetricsServiceRequest` as bytes, the
//! same for gRPC and HTTP. Buffers are reused: a batch costs one allocation, for its payload, and a span none.

mod attributes;
mod metrics;
#[cfg(test)]
mod tests;
mod traces;
mod wire;

use bytes::Bytes;

pub(super) use self::traces::{flags, kind};
pub use self::{metrics::MetricsEncoder, traces::TraceEncoder};
use crate::semconv::{SCHEMA_URL, SCOPE_NAME, SCOPE_VERSION};

/// An encoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The message.
    pub payload: Bytes,
    /// Spans or data points in it.
    pub items: usize,
}

/// `InstrumentationScope scope = 1` of `ScopeSpans` and `ScopeMetrics`.
fn scope(out: &mut Vec<u8>) {
    wire::message(out, 1, |out| {
        wire::bytes(out, 1, SCOPE_NAME.as_bytes());
        wire::bytes(out, 2, SCOPE_VERSION.as_bytes());
    });
}

/// `string schema_url = 3` of `ScopeSpans`, `ScopeMetrics`, `ResourceSpans` and `ResourceMetrics`.
fn schema_url(out: &mut Vec<u8>) {
    wire::bytes(out, 3, SCHEMA_URL.as_bytes());
}
