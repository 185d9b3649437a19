//! The RPC family: conventions (release candidate) for gRPC and Connect, server and client spans.
//!
//! In: a [`Span`] of an RPC exchange. Out: its name, its error, its attributes.
//!
//! Decisions where the conventions leave room:
//! * `rpc.method` is what was sent, `package.Service/Method`. `_OTHER` is never used: whether the server knows a method cannot be told from
//!   outside (a generated stub answers UNIMPLEMENTED as well). The metrics' limits bound what a scanner can make of it.
//! * `rpc.response.status_code` is absent if no status was seen (an index of the header table that was sent before we came), and for a
//!   Connect call that succeeded, which has no code.
//! * `server.address` and `server.port` come from `:authority` or `Host`; a client without it falls back to the address it connected to,
//!   if the whole head was seen. A port that is not written is absent.
//! * `sidelight.rpc.request_messages` and `sidelight.rpc.response_messages`, which no convention names, are given for streams only: a
//!   unary call has one of each.

use sidelight_protocol_parsers::{Role, Rpc, RpcSystem, Shape};

use super::{
    attributes::{ErrorType, Visit},
    http,
    network::{self, Short},
    url,
};
use crate::model::Span;

/// Messages a client sent in a stream.
pub const REQUEST_MESSAGES: &str = "sidelight.rpc.request_messages";

/// Messages a server sent in a stream.
pub const RESPONSE_MESSAGES: &str = "sidelight.rpc.response_messages";

/// Canonical codes by number: gRPC's text, Connect's
/// (<https://connectrpc.com/docs/protocol/#error-codes>), and whether it is an error of the server.
const CODES: [(&str, Option<&str>, bool); 17] = [
    ("OK", None, false),
    ("CANCELLED", Some("canceled"), false),
    ("UNKNOWN", Some("unknown"), true),
    ("INVALID_ARGUMENT", Some("invalid_argument"), false),
    ("DEADLINE_EXCEEDED", Some("deadline_exceeded"), true),
    ("NOT_FOUND", Some("not_found"), false),
    ("ALREADY_EXISTS", Some("already_exists"), false),
    ("PERMISSION_DENIED", Some("permission_denied"), false),
    ("RESOURCE_EXHAUSTED", Some("resource_exhausted"), false),
    ("FAILED_PRECONDITION", Some("failed_precondition"), false),
    ("ABORTED", Some("aborted"), false),
    ("OUT_OF_RANGE", Some("out_of_range"), false),
    ("UNIMPLEMENTED", Some("unimplemented"), true),
    ("INTERNAL", Some("internal"), true),
    ("UNAVAILABLE", Some("unavailable"), true),
    ("DATA_LOSS", Some("data_loss"), true),
    ("UNAUTHENTICATED", Some("unauthenticated"), false),
];

/// `rpc.response.status_code`.
pub(crate) fn code(system: RpcSystem, status: u8) -> Option<&'static str> {
    let (grpc, connect, _) = CODES.get(usize::from(status))?;
    match system {
        RpcSystem::Connect => *connect,
        RpcSystem::Grpc => Some(grpc),
    }
}

/// Gives the name: the method, else the system's.
pub(super) fn name(span: &Span, rpc: &Rpc, each: &mut impl FnMut(&str)) {
    let method = rpc.method.map(|method| span.exchange.text.str(method)).filter(|method| !method.is_empty());
    each(method.unwrap_or_else(|| rpc.system.name()));
}

/// Which statuses are errors: of a client all but OK, of a server those that tell of its own trouble.
pub(super) fn error(role: Role, rpc: &Rpc) -> Option<ErrorType<'static>> {
    let status = rpc.status?;
    let (_, _, of_server) = CODES.get(usize::from(status))?;
    let failed = match role {
        Role::Client => status != 0,
        Role::Server => *of_server,
    };
    code(rpc.system, status).filter(|_| failed).map(ErrorType::Code)
}

/// What the request calls the server: `server.address`, `server.port`. `room` holds an address that no text names.
pub(crate) fn server<'a>(span: &'a Span, rpc: &Rpc, room: &'a mut Short) -> (Option<&'a str>, Option<u16>) {
    let authority = rpc.authority.map(|authority| url::without_userinfo(span.exchange.text.str(authority)).0);
    match authority.filter(|authority| !authority.is_empty()) {
        Some(authority) => {
            let (host, port) = url::host_port(authority);
            (Some(host), port)
        }
        None if span.exchange.role == Role::Client && http::head_seen(span) => {
            network::address(&span.connection.remote, room)
        }
        None => (None, None),
    }
}

/// Gives the attributes of an RPC span. Not inlined: HTTP's way through [`Span::attributes`] stays as short as it was alone.
#[inline(never)]
pub(super) fn visit(span: &Span, rpc: &Rpc, visit: &mut impl Visit) {
    visit.str("rpc.system.name", rpc.system.name());
    if let Some(method) = rpc.method {
        visit.str("rpc.method", span.exchange.text.str(method));
    }
    if let Some(code) = rpc.status.and_then(|status| code(rpc.system, status)) {
        visit.str("rpc.response.status_code", code);
    }
    if let Some(error) = span.error() {
        visit.str("error.type", error.text(&mut Short::new()));
    }
    let mut room = Short::new();
    let (address, port) = server(span, rpc, &mut room);
    if let Some(address) = address {
        visit.str("server.address", address);
    }
    if let Some(port) = port {
        visit.int("server.port", i64::from(port));
    }
    network::visit_peer(span, visit);
    if matches!(span.exchange.shape, Shape::Session | Shape::Stream) {
        for (key, messages) in [(REQUEST_MESSAGES, rpc.requests), (RESPONSE_MESSAGES, rpc.responses)] {
            if let Some(messages) = messages {
                visit.int(key, i64::try_from(messages).unwrap_or(i64::MAX));
            }
        }
    }
}
