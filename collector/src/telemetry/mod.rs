//! The daemon's view of itself.
//!
//! In: counts from every stage, internal events. Out: log lines on standard error, [`Health`] (the four ledgers) and its
//! export as OTLP metrics.

pub mod events;
pub mod health;
pub mod health_export;
pub mod logging;
pub mod own_process;
mod repeat;

pub use health::{Health, Metric};
