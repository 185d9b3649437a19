//! What the stages hand to each other: connections, processes, instances, spans.
//!
//! In: nothing. Out: plain owned values, shared by `Arc` where many spans need the same facts.

use std::{fmt, net::IpAddr, sync::Arc};

use sidelight_events::ConnKey;
pub use sidelight_loader::process::Process;
use sidelight_protocol_parsers::{Exchange, KernelTime, Protocol, Role};

use crate::semconv::rules::{HttpRules, Method};

/// Nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

/// What turns [`KernelTime`] into [`UnixTime`]: sampled every second by the source, applied once per exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffset(pub i64);

impl ClockOffset {
    /// The Unix time of a kernel time.
    #[must_use]
    pub fn unix(self, time: KernelTime) -> UnixTime {
        UnixTime(time.0.saturating_add_signed(self.0))
    }
}

/// Which side of the connections in a capture file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Each exchange twice, as both ends see it.
    Both,
    /// One end.
    Only(Role),
    /// The one whose spans the conventions describe: [`Protocol::side`].
    Usual,
}

impl Side {
    /// Whether exchanges in which the watched side plays `role` are looked at.
    #[must_use]
    pub fn is(self, role: Role, protocol: &Protocol) -> bool {
        match self {
            Self::Both => true,
            Self::Only(only) => only == role,
            Self::Usual => protocol.side == role,
        }
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP over IPv4 (mapped addresses are shown as IPv4) or IPv6.
    Inet(IpAddr, u16),
    /// A Unix socket's path, or its abstract name with a leading `@`; empty: unnamed.
    Unix(Box<str>),
    /// Not known: its `Open` record was lost.
    Unknown,
}

/// What is known of a connection as a whole; fixed once its first exchange began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name in the kernel; in replay an invented one.
    pub key: ConnKey,
    /// The watched side's address.
    pub local: Endpoint,
    /// The other side's address.
    pub remote: Endpoint,
    /// Plaintext of a TLS library.
    pub tls: bool,
    /// Who connected, where the kernel (or a SYN) told.
    pub role: Option<Role>,
}

impl Connection {
    /// The port of the side that was connected to, where that is known.
    #[must_use]
    pub fn listening_port(&self) -> Option<u16> {
        match (self.role?, &self.local, &self.remote) {
            (Role::Server, Endpoint::Inet(_, port), _) | (Role::Client, _, Endpoint::Inet(_, port)) => Some(*port),
            (Role::Server | Role::Client, ..) => None,
        }
    }
}

/// One service instance: what one metrics resource stands for.
#[derive(Debug, PartialEq, Eq)]
pub struct Instance {
    /// `service.name`
    pub service_name: String,
    /// `service.instance.id`: UUIDv5 of container, unit, or (executable or script, host).
    pub instance_id: String,
    /// Digest of all attributes: equal for equal instances, whichever `Arc` they are in.
    pub key: u128,
    /// Resource attributes of its metrics, `service.*` included, sorted by key.
    pub attributes: Vec<(String, String)>,
}

/// What one span resource stands for: an instance and one of its processes.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// The instance.
    pub instance: Arc<Instance>,
    /// `process.pid`; 0 in replay: then no `process.*` is exported.
    pub pid: u32,
    /// The instance's attributes and `process.*`, sorted by key.
    pub attributes: Vec<(String, Value)>,
}

/// An attribute value of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// intValue
    Int(i64),
    /// stringValue
    Str(String),
    /// arrayValue of stringValue
    StrArray(Vec<String>),
}

/// 16 bytes, not all zero. Shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// 8 bytes, not all zero. Shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// `SpanKind` of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// SPAN_KIND_CLIENT
    Client,
    /// SPAN_KIND_SERVER
    Server,
}

/// One finished exchange on its way out; encoded on the exporter's thread.
#[derive(Clone, Debug)]
pub struct Span {
    /// Trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Parent, if certain.
    pub parent: Option<SpanId>,
    /// W3C trace flags; bit 0: sampled.
    pub trace_flags: u8,
    /// Kind.
    pub kind: SpanKind,
    /// First request byte.
    pub start: UnixTime,
    /// Nanoseconds to the last response byte.
    pub duration: u64,
    /// Nanoseconds from the first request byte to the first response byte.
    pub first_byte: Option<u64>,
    /// Index into the configured route patterns of `http`.
    pub route: Option<u32>,
    /// Request method, looked up in `http`.
    pub method: Method,
    /// The operator's routes and methods.
    pub http: Arc<HttpRules>,
    /// Whose.
    pub resource: Arc<Resource>,
    /// Where.
    pub connection: Arc<Connection>,
    /// What.
    pub exchange: Box<Exchange>,
}

macro_rules! hex {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
hex!(TraceId);
hex!(SpanId);
