//! What an exchange was, once its stream is over.
//!
//! In: the stream. Out: its exchange: HTTP, or RPC with a status where one is certain.

use super::stream::{Half, Stream};
use crate::contract::Role;
use crate::exchange::{Details, Exchange, Http, Outcome, RpcSystem};
use crate::rpc::{Call, Content, Kind, Said};

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
    let Some(kind) = kind else {
        stream.exchange.details = Details::Generic;
        return (stream.exchange, false);
    };
    let http = stream.http().copied().unwrap_or_default();
    match kind.system() {
        Some(system) => call(&mut stream, system, kind, &http),
        None => plain(&mut stream, http),
    }
    (stream.exchange, kind == Kind::Grpc)
}

/// Which system a request is of whose content type was not seen; `None` if that cannot be told.
fn unknown(stream: &Stream, grpc: bool) -> Option<Kind> {
    let asked = stream.request.messages.whole().filter(|_| stream.request.ended);
    let answered = stream.response.messages.whole().filter(|_| stream.response.ended);
    // A body that is framed as messages up to its very end, and trailers behind the answer: gRPC-Web and Connect have none.
    let framed = asked.is_some_and(|count| count > 0) && answered.is_some() && stream.trailers;
    if stream.answer == Some(Content::Grpc)
        || stream.grpc_status.is_some()
        || framed
        || grpc && asked.is_some_and(|count| count > 0)
    {
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
    let Stream { request, response, exchange, grpc_status, failed, unknown, answer, .. } = stream;
    Call {
        system,
        kind,
        http,
        status: *grpc_status,
        failed: *failed,
        answer: *answer,
        unknown: *unknown,
        request: said(request),
        response: said(response),
    }
    .finish(exchange);
}

fn said(half: &Half) -> Said<'_> {
    Said { body: &half.messages, whole: half.ended && half.suspect.is_none() }
}
