//! What a finished exchange is called in OpenTelemetry: names, attributes, errors, by the semantic conventions 1.44.
//!
//! In: a [`Span`](crate::model::Span), in which nothing is spelled out yet. Out: its name, its error and its attributes, visited one by one
//! and never materialised, the same for the protobuf encoder, the console, OTLP-JSON and (in part) the metrics.
//!
//! * [`attributes`]: the visitor and the values.
//! * [`http`], [`rpc`], [`db`]: the families.
//! * [`url`]: request targets, authorities, full URLs, redaction.
//! * [`rules`]: what the operator configures: routes and known methods.
//! * [`network`]: addresses as text.

pub mod attributes;
pub mod db;
pub mod http;
pub mod network;
pub mod rpc;
pub mod rules;
#[cfg(test)]
mod tests;
pub mod url;

/// The schema that the names follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Instrumentation scope of everything we observe.
pub const SCOPE_NAME: &str = "sidelight";

/// Version of the scope and of the distribution.
pub const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");
