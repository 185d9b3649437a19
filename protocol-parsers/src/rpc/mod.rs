//! What RPC systems have in common wherever they ride: content types, status codes, message framing.
//!
//! In: header values, reset codes, body bytes. Out: which system it is and how the call ended. Sources: "gRPC over HTTP2" and
//! "HTTP to gRPC Status Code Mapping" of the gRPC project, the Connect protocol reference.

mod base64;
mod body;
mod call;
mod json;
mod messages;

pub(crate) use body::Body;
pub(crate) use call::{Call, Said};
use messages::Messages;

use crate::contract::Role;
use crate::exchange::Outcome;

/// Canonical status codes.
pub(crate) mod code {
    pub(crate) const CANCELLED: u8 = 1;
    pub(crate) const UNKNOWN: u8 = 2;
    pub(crate) const DEADLINE_EXCEEDED: u8 = 4;
    pub(crate) const PERMISSION_DENIED: u8 = 7;
    pub(crate) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(crate) const UNIMPLEMENTED: u8 = 12;
    pub(crate) const INTERNAL: u8 = 13;
    pub(crate) const UNAVAILABLE: u8 = 14;
    pub(crate) const DATA_LOSS: u8 = 15;
    pub(crate) const UNAUTHENTICATED: u8 = 16;
}

/// What a `content-type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// `application/connect+proto` or `+json`: streaming Connect.
    Connect,
    /// `application/grpc`, `+proto`, `+json` and so on.
    Grpc,
    /// `application/grpc-web`.
    GrpcWeb,
    /// `application/grpc-web-text`: the same in base64.
    GrpcWebText,
    /// `application/json`: of Connect's unary calls, among others.
    Json,
    /// None of an RPC system's own.
    Other,
}

impl Content {
    /// Of a header's value.
    pub(crate) fn of(value: &[u8]) -> Self {
        let Some(kind @ [first, ..]) = strip_prefix(value, b"application/") else { return Self::Other };
        let is = |name| strip_prefix(kind, name).is_some_and(|rest| matches!(rest, [] | [b'+' | b';' | b' ', ..]));
        match first.to_ascii_lowercase() {
            b'c' if strip_prefix(kind, b"connect+").is_some() => Self::Connect,
            b'g' if is(b"grpc") => Self::Grpc,
            b'g' if is(b"grpc-web") => Self::GrpcWeb,
            b'g' if is(b"grpc-web-text") => Self::GrpcWebText,
            b'j' if is(b"json") => Self::Json,
            _ => Self::Other,
        }
    }
}

fn strip_prefix<'a>(value: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Which RPC system an exchange belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ConnectStream,
    ConnectUnary,
    Grpc,
    GrpcWeb,
    GrpcWebText,
    /// None.
    Plain,
    /// Not known yet: its content type was not seen.
    Unknown,
}

impl Kind {
    /// Of a request: its content type, whether it carries `connect-protocol-version: 1`, its target.
    pub(crate) fn of(content: Option<Content>, connect: bool, target: &str) -> Self {
        // "GET requests: the query must have connect=v1" (Connect protocol, Unary-Get-Request).
        let connect_get = || {
            let query = memchr::memchr(b'?', target.as_bytes()).and_then(|at| target.as_bytes().get(at + 1..));
            query.is_some_and(|query| query.split(|byte| *byte == b'&').any(|one| one == b"connect=v1"))
        };
        match content {
            Some(Content::Grpc) => Self::Grpc,
            Some(Content::GrpcWeb) => Self::GrpcWeb,
            Some(Content::GrpcWebText) => Self::GrpcWebText,
            Some(Content::Connect) => Self::ConnectStream,
            Some(Content::Json | Content::Other) | None if connect || connect_get() => Self::ConnectUnary,
            Some(Content::Json | Content::Other) | None => Self::Plain,
        }
    }
}

/// The value of `grpc-status`. Codes are 0 to 16; others are none of those that have a name.
pub(crate) fn grpc_status(value: &[u8]) -> Option<u8> {
    match *value {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'6'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// What the status of a plain HTTP answer means ("HTTP to gRPC Status Code Mapping").
pub(crate) fn of_http(status: u16) -> u8 {
    match status {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502..=504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

/// What a received RST_STREAM means ("gRPC over HTTP2", Errors).
pub(crate) fn of_reset(error: u32) -> Option<u8> {
    match error {
        0x5 => None,
        0x7 => Some(code::UNAVAILABLE),
        0x8 => Some(code::CANCELLED),
        0xb => Some(code::RESOURCE_EXHAUSTED),
        0xc => Some(code::PERMISSION_DENIED),
        _ => Some(code::INTERNAL),
    }
}

/// Which codes are errors, by side (semantic conventions, RPC: gRPC).
pub(crate) fn outcome(status: u8, role: Role) -> Outcome {
    let error = match role {
        Role::Client => status != 0,
        Role::Server => matches!(
            status,
            code::UNKNOWN
                | code::DEADLINE_EXCEEDED
                | code::UNIMPLEMENTED
                | code::INTERNAL
                | code::UNAVAILABLE
                | code::DATA_LOSS
        ),
    };
    if error { Outcome::Error } else { Outcome::Ok }
}
