//! The histograms: names, buckets, values.
//!
//! In: which family and side, durations. Out: what the encoder needs of an instrument, and its counts.

use sidelight_protocol_parsers::{Details, Role};

use crate::{
    model::{Span, UnixTime},
    semconv::attributes::seconds,
};

/// Upper bounds of the buckets, seconds, as the conventions advise for HTTP and RPC; a value equal to a bound belongs below it.
const REQUEST: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The same in nanoseconds.
const REQUEST_NS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The same for databases, seconds.
const DATABASE: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The same in nanoseconds.
const DATABASE_NS: [u64; 9] = [
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Buckets of the instrument that has most: one more than bounds.
pub const BUCKETS: usize = REQUEST.len() + 1;

/// Which histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Instrument {
    /// `db.client.operation.duration`
    DbClient,
    /// `db.server.operation.duration`, which no convention names.
    DbServer,
    /// `http.client.request.duration`
    HttpClient,
    /// `http.server.request.duration`
    HttpServer,
    /// `rpc.client.call.duration`
    RpcClient,
    /// `rpc.server.call.duration`
    RpcServer,
}

impl Instrument {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::DbClient, Self::DbServer, Self::HttpClient, Self::HttpServer, Self::RpcClient, Self::RpcServer];

    /// The one a span is measured by; `None`: its family has none.
    pub(super) fn of(span: &Span) -> Option<Self> {
        match (&span.exchange.details, span.exchange.role) {
            (Details::Db(_), Role::Client) => Some(Self::DbClient),
            (Details::Db(_), Role::Server) => Some(Self::DbServer),
            (Details::Http(_), Role::Client) => Some(Self::HttpClient),
            (Details::Http(_), Role::Server) => Some(Self::HttpServer),
            (Details::Rpc(_), Role::Client) => Some(Self::RpcClient),
            (Details::Rpc(_), Role::Server) => Some(Self::RpcServer),
            (Details::Generic, _) => None,
        }
    }

    /// Name of the metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DbClient => "db.client.operation.duration",
            Self::DbServer => "db.server.operation.duration",
            Self::HttpClient => "http.client.request.duration",
            Self::HttpServer => "http.server.request.duration",
            Self::RpcClient => "rpc.client.call.duration",
            Self::RpcServer => "rpc.server.call.duration",
        }
    }

    /// Description, as the conventions word it.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::DbClient => "Duration of database client operations.",
            Self::DbServer => "Duration of database server operations.",
            Self::HttpClient => "Duration of HTTP client requests.",
            Self::HttpServer => "Duration of HTTP server requests.",
            Self::RpcClient => "Measures the duration of an outgoing Remote Procedure Call (RPC).",
            Self::RpcServer => "Measures the duration of an incoming Remote Procedure Call (RPC).",
        }
    }

    /// Upper bounds of its buckets but the last, seconds.
    #[must_use]
    pub fn bounds(self) -> &'static [f64] {
        match self {
            Self::DbClient | Self::DbServer => &DATABASE,
            Self::HttpClient | Self::HttpServer | Self::RpcClient | Self::RpcServer => &REQUEST,
        }
    }

    fn bounds_ns(self) -> &'static [u64] {
        match self {
            Self::DbClient | Self::DbServer => &DATABASE_NS,
            Self::HttpClient | Self::HttpServer | Self::RpcClient | Self::RpcServer => &REQUEST_NS,
        }
    }
}

/// A cumulative histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// When it began to count.
    pub start: UnixTime,
    /// Sum of all values, seconds.
    pub sum: f64,
    /// Values by bucket; an instrument uses one more than it has bounds.
    pub buckets: [u64; BUCKETS],
}

impl Histogram {
    pub(super) fn new(start: UnixTime) -> Self {
        Self { start, sum: 0.0, buckets: [0; BUCKETS] }
    }

    pub(super) fn record(&mut self, instrument: Instrument, nanoseconds: u64) {
        self.sum += seconds(nanoseconds);
        let bucket = instrument.bounds_ns().iter().take_while(|bound| nanoseconds > **bound).count();
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_the_bucket_below() {
        for instrument in Instrument::ALL {
            let (bounds, bounds_ns) = (instrument.bounds(), instrument.bounds_ns());
            assert!(bounds_ns.len() == bounds.len() && bounds.len() < BUCKETS);
            assert!(bounds_ns.iter().zip(bounds).all(|(ns, s)| seconds(*ns) == *s));
            for (at, bound) in bounds_ns.iter().enumerate() {
                for (nanoseconds, bucket) in [(bound - 1, at), (*bound, at), (bound + 1, at + 1)] {
                    let mut histogram = Histogram::new(UnixTime(0));
                    histogram.record(instrument, nanoseconds);
                    assert_eq!(histogram.buckets.iter().position(|count| *count == 1), Some(bucket), "{nanoseconds}");
                }
            }
        }
    }

    #[test]
    fn databases_have_finer_buckets_than_requests() {
        assert_eq!(Instrument::DbClient.bounds(), [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]);
        assert_eq!(Instrument::DbServer.bounds(), Instrument::DbClient.bounds());
        assert_eq!(Instrument::RpcClient.bounds(), Instrument::HttpServer.bounds());
    }
}
