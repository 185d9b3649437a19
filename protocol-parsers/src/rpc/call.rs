//! What a call was, once it is over.
//!
//! In: what was said outside the bodies, and both bodies. Out: the exchange's details, outcome and shape; a value that may be
//! where nobody could see it is absent.

use super::{Body, Content, Kind, of_http, outcome};
use crate::exchange::{Details, Exchange, Http, Rpc, RpcSystem, Shape};

/// One direction's body.
pub(crate) struct Said<'a> {
    pub(crate) body: &'a Body,
    /// It was seen to its end, and none of its bytes can be elsewhere.
    pub(crate) whole: bool,
}

/// A call that is over.
pub(crate) struct Call<'a> {
    pub(crate) system: RpcSystem,
    pub(crate) kind: Kind,
    pub(crate) http: &'a Http,
    /// The status that a header or trailers say.
    pub(crate) status: Option<u8>,
    /// The status that a reset stands for.
    pub(crate) failed: Option<u8>,
    /// Content type of the answer, where it is known.
    pub(crate) answer: Option<Content>,
    /// It may have been said there, by a field that nobody could read.
    pub(crate) unknown: bool,
    pub(crate) request: Said<'a>,
    pub(crate) response: Said<'a>,
}

impl Kind {
    /// The system of such a call.
    pub(crate) fn system(self) -> Option<RpcSystem> {
        match self {
            Self::Grpc | Self::GrpcWeb | Self::GrpcWebText => Some(RpcSystem::Grpc),
            Self::ConnectStream | Self::ConnectUnary => Some(RpcSystem::Connect),
            Self::Plain | Self::Unknown => None,
        }
    }
}

impl Call<'_> {
    /// Writes what it was into its exchange.
    pub(crate) fn finish(self, exchange: &mut Exchange) {
        let (http, text) = (self.http, &exchange.text);
        let method = http.target.and_then(|target| {
            let path = text.str(target).strip_prefix('/')?;
            text.part(target, 1..1 + path.find('?').unwrap_or(path.len()))
        });
        let unary = self.kind == Kind::ConnectUnary;
        let messages = |said: &Said<'_>| match said {
            _ if !said.whole => None,
            _ if unary => Some(1),
            _ => said.body.whole(),
        };
        // A unary Connect call that failed is answered by an error, not by a message.
        let failed = unary && http.status != Some(200);
        let (requests, responses) = (messages(&self.request), messages(&self.response).filter(|_| !failed));
        let status = self.status();
        let many = |said: &Said<'_>| said.body.at_least() > 1;
        exchange.shape = if many(&self.request) || many(&self.response) { Shape::Stream } else { Shape::RequestReply };
        exchange.outcome = status.map(|status| outcome(status, exchange.role));
        let (system, authority) = (self.system, http.host);
        exchange.details = Details::Rpc(Rpc { system, method, authority, status, requests, responses });
    }

    /// How it ended.
    fn status(&self) -> Option<u8> {
        self.status.or_else(|| self.of_http()).or(self.failed).or_else(|| self.of_body())
    }

    /// An answer that no handler gave, but a proxy, say: its head tells all, and its client may have read no more.
    fn of_http(&self) -> Option<u8> {
        let http = self.http.status.filter(|status| *status != 200)?;
        match self.kind {
            // Connect protocol, Unary-Response: the error is JSON, or the HTTP status tells it.
            Kind::ConnectUnary => self.answer.is_some_and(|answer| answer != Content::Json).then(|| of_http(http)),
            _ => (!self.unknown).then(|| of_http(http)),
        }
    }

    /// What is known when the answer was seen to its end.
    fn of_body(&self) -> Option<u8> {
        let body = self.response.whole.then_some(self.response.body)?;
        match (self.kind, self.http.status?) {
            (Kind::ConnectUnary, 200) => Some(0),
            (Kind::ConnectUnary, http) => body.status(self.kind).or_else(|| body.is_text().then(|| of_http(http))),
            (Kind::ConnectStream | Kind::GrpcWeb | Kind::GrpcWebText, 200) => body.status(self.kind),
            (Kind::Grpc, 200) if !self.unknown => Some(of_http(200)),
            _ => None,
        }
    }
}
