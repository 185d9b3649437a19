//! The Sidelight daemon as a library: the stages of the pipeline and what wires them.
//!
//! ARCHITECTURE.md follows one event through these modules. No stage imports another; [`model`] holds what they share.

#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod exporters;
pub mod identity;
pub mod metrics;
pub mod model;
pub mod pipeline;
pub mod semconv;
pub mod source;
pub mod span;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod time;
pub mod tracker;
