//! The harness of the end-to-end tests: the real daemon, real peers, sets of unique ids.
//!
//! * [`scene`]: a shell whose descendants are what the daemon watches.
//! * [`daemon`]: the `sidelight` binary, its start, its stop and its ledgers.
//! * [`spans`]: its OTLP/JSON lines as values to compare.
//! * [`otlp_sink`]: an OTLP end point that records, and fails as it is told.
//! * [`points`]: the end point's metrics as values to compare.
//! * [`peers`]: nginx, certificates, ports; [`mysql`]: a MariaDB or MySQL server.
//! * [`compare`]: spans against access logs.
//! * [`grpc`]: gRPC servers and clients in four languages.
//!
//! Everything here panics when it fails, with what it saw: that is the test's message.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a harness of tests: it panics with what it saw")]

pub mod compare;
pub mod daemon;
pub mod grpc;
pub mod mysql;
pub mod otlp_sink;
pub mod peers;
pub mod points;
pub mod scene;
pub mod spans;

use std::time::{Duration, Instant};

/// Polls `ready` until it gives a value, every 5 ms; panics with `what` after `limit`.
#[expect(clippy::disallowed_methods, reason = "waiting for another process, with a deadline")]
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One test at a time in a test binary: each has the machine's ports, tracing hooks and cores for itself.
pub fn serial() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
