//! Protocol detection and incremental parsers: captured bytes in, [`Exchange`]s out.
//!
//! In: in-order [`Chunk`]s of one connection, [`Hole`]s where bytes are missing, closes and ticks. Out: [`Output`], a list of
//! [`Emitted`] things. A parser does no I/O, reads no clock, keeps no reference to its input and never panics.
//!
//! * [`contract`]: what a parser is given and must do ([`Parser`]).
//! * [`exchange`]: what it gives back.
//! * [`detect`]: which protocol a connection speaks, from the bytes of both directions.
//! * one module per protocol, listed in [`PROTOCOLS`].
//! * [`sql`]: queries without their literals, for the protocols that carry SQL.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests panic"))]

pub mod contract;
pub mod detect;
pub mod exchange;
mod forwarded;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "it is a test, and tests panic")]
pub mod fuzzing;
pub mod http1;
pub mod http2;
mod leb128;
pub mod mysql;
#[cfg(test)]
mod phantoms;
pub mod postgresql;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "it is a test, and tests panic")]
pub mod proof;
pub mod redis;
mod resting;
mod rpc;
pub mod sql;
mod swar;
mod text;
pub mod trace_context;
mod trial;

pub use contract::{
    Chunk, Close, Direction, Hole, Kept, KernelTime, Lost, MAX_REST, Malformed, Mark, Parser, Priors, Protocol, Role,
    Used, Wants,
};
pub use exchange::{
    Db, DbSystem, Details, Emitted, Exchange, ExchangeId, Http, HttpVersion, Incomplete, IncompleteSet, Next, Outcome,
    Output, Rpc, RpcSystem, Shape, Side, Span, Text, TraceContext,
};

/// Every protocol this build knows, strongest signature first. A new protocol is an entry here, a module, and at most one
/// change to its family's mapper in the collector.
pub static PROTOCOLS: &[&Protocol] =
    &[&http2::PROTOCOL, &http1::PROTOCOL, &postgresql::PROTOCOL, &mysql::PROTOCOL, &redis::PROTOCOL];
