//! From spans and metric snapshots to their destination.
//!
//! In: spans and snapshots of the ring thread, through a [`Producer`], which never blocks and encodes the spans. Out: OTLP over gRPC or
//! HTTP, or lines of text; every span ends in the ledger (`signal`). One thread runs everything else: `task` takes what comes out of
//! queue A (`intake`) and puts it into queue B (`pending`), one `sender` a signal takes it from there through a transport
//! (`otlp_http`, `otlp_grpc`, `writer`) and repeats what may be accepted later.

mod connect;
pub mod console;
pub mod encode;
mod format;
mod intake;
pub mod json;
mod otlp_grpc;
mod otlp_http;
mod outcome;
mod pending;
mod pieces;
mod sender;
mod signal;
mod start;
mod task;
mod tls;
mod writer;

pub use connect::EndpointError;
pub use intake::Producer;
pub use pending::Payload;
pub use sender::Backoff;
pub use signal::{Loss, Signal};
pub use start::{Console, Handle, Report, Settings, StartError, start};
pub use tls::TlsError;
pub use writer::FileError;
