//! The exporter against an end point that fails in every way we know: nothing is lost within the queues' bounds, and what is
//! lost is counted exactly.
//!
//! Each span has its own id. At rest built = exported + dropped + queued, and what the end point accepted is what the ledger
//! calls exported.
//!
//! * `rig`: an exporter of the daemon's own, and spans for it.
//! * `end_point`: spans to an end point.
//! * `outputs`: metrics, the daemon's own health, files.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test: it panics with what it saw, and times the exporter"
)]

mod end_point;
mod outputs;
mod rig;
