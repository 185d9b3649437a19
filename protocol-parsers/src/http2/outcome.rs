//! What an exchange was, once its stream is over.
//!
//! In: the stream. Out: its exchange: HTTP, or RPC with a status where one is certain.

use super::stream::{Half, Stream};
use crate::contract::Role;
use crate::exchange::{Details, Exchange, Http, Outcome, Rpc, RpcSystem, Shape};
use crate::rpc::{self, Kind};

/// Makes the exchange of a stream that is over, and tells whether it is gRPC for certain. `grpc`: another one of the
/// connection is.
pub(super) fn finish(mut stream: Stream, grpc: bool) -> (Box<Exchange>, bool) {
    let kind = match stream.kind {
        Kind::Unknown => unknown(&stream, grpc),
        kind => Some(kind),
    };
    for why in [stream.request.suspect, stream.response.suspect].into_iter().flatten() {
        stream.exchange.incomplete.insert(why);
    }
    let system = match kind {
        Some(Kind::Grpc | Kind::GrpcWeb | Kind::GrpcWebText) => Some(RpcSystem::Grpc),
        Some(Kind::ConnectStream | Kind::ConnectUnary) => Some(RpcSystem::Connect),
        Some(Kind::Plain | Kind::Unknown) => None,
        None => {
            stream.exchange.details = Details::Generic;
            return (stream.exchange, false);
        }
    };
    let http = stream.http().copied().unwrap_or_default();
    match (system, kind) {
        (Some(system), Some(kind)) => call(&mut stream, system, kind, &http),
        _ => plain(&mut stream, http),
    }
    (stream.exchange, kind == Some(Kind::Grpc))
}

/// Which system a request is of whose content type was not seen; `None` if that cannot be told.
fn unknown(stream: &Stream, grpc: bool) -> Option<Kind> {
    let asked = stream.request.messages.whole().filter(|_| stream.request.ended);
    let answered = stream.response.messages.whole().filter(|_| stream.response.ended);
    // A body that is framed as messages up to its very end, and trailers behind the answer: gRPC-Web and Connect have none.
    let framed = asked.is_some_and(|count| count > 0) && answered.is_some() && stream.trailers;
    if stream.grpc_answer || stream.grpc_status.is_some() || framed || grpc && asked.is_some_and(|count| count > 0) {
        return Some(Kind::Grpc);
    }
    // Bytes that are no such messages are certain to be none of these systems', but for unary Connect, which is plain HTTP.
    let other = stream.request.ended && stream.request.suspect.is_none() && stream.request.messages.is_foreign();
    other.then_some(Kind::Plain)
}

fn plain(stream: &mut Stream, http: Http) {
    let size = |half: &Half| Some(half.body).filter(|_| half.ended && half.suspect.is_none());
    let details = Http { request_body: size(&stream.request), response_body: size(&stream.response), ..http };
    stream.exchange.outcome = http.status.map(|status| match (stream.exchange.role, status) {
        (Role::Server, 500..) | (Role::Client, 400..) => Outcome::Error,
        (Role::Server | Role::Client, _) => Outcome::Ok,
    });
    stream.exchange.details = Details::Http(details);
}

fn call(stream: &mut Stream, system: RpcSystem, kind: Kind, http: &Http) {
    let status = status(stream, kind, http);
    let exchange = &mut *stream.exchange;
    let text = &exchange.text;
    let method = http.target.and_then(|target| {
        let path = text.str(target).strip_prefix('/')?;
        text.part(target, 1..1 + path.find('?').unwrap_or(path.len()))
    });
    let unary = kind == Kind::ConnectUnary;
    let messages = |half: &Half| match half {
        _ if !half.ended || half.suspect.is_some() => None,
        _ if unary => Some(1),
        _ => half.messages.whole(),
    };
    // A unary Connect call that failed is answered by an error, not by a message.
    let failed = unary && http.status != Some(200);
    let (requests, responses) = (messages(&stream.request), messages(&stream.response).filter(|_| !failed));
    let many = |half: &Half| half.messages.at_least() > 1;
    exchange.shape = if many(&stream.request) || many(&stream.response) { Shape::Stream } else { Shape::RequestReply };
    exchange.outcome = status.map(|status| rpc::outcome(status, exchange.role));
    exchange.details = Details::Rpc(Rpc { system, method, authority: http.host, status, requests, responses });
}

/// How a call ended.
fn status(stream: &Stream, kind: Kind, http: &Http) -> Option<u8> {
    if let known @ Some(_) = stream.grpc_status.or(stream.failed) {
        return known;
    }
    // The status may be where nobody could see it.
    if !stream.response.ended || stream.response.suspect.is_some() {
        return None;
    }
    let body = &stream.response.messages;
    match (kind, http.status) {
        (Kind::ConnectUnary, Some(200)) => Some(0),
        (Kind::ConnectUnary, Some(http)) => body.status(kind).or_else(|| body.is_seen().then(|| rpc::of_http(http))),
        (Kind::Grpc, Some(http)) if !stream.unknown => Some(rpc::of_http(http)),
        (Kind::ConnectStream | Kind::GrpcWeb | Kind::GrpcWebText, Some(200)) => body.status(kind),
        (Kind::ConnectStream | Kind::GrpcWeb | Kind::GrpcWebText, Some(http)) if !stream.unknown => {
            Some(rpc::of_http(http))
        }
        _ => None,
    }
}
