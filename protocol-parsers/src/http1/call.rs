//! The call that an exchange is, if it is one: gRPC-Web or Connect. Only for these a body is looked into.
//!
//! In: the heads' facts and both bodies, in any division, with holes. Out: the exchange's details, as over HTTP/2.

use super::head::ResponseHead;
use crate::exchange::{Details, Exchange};
use crate::rpc::{self, Content, Kind, Said};

/// One direction's body.
struct Half {
    body: rpc::Body,
    whole: bool,
}

impl Half {
    fn said(&self) -> Said<'_> {
        Said { body: &self.body, whole: self.whole }
    }
}

/// What is known of a call beside what HTTP says.
pub(super) struct Call {
    kind: Kind,
    /// `grpc-status` and content type of the answer's head.
    status: Option<u8>,
    answer: Option<Content>,
    request: Half,
    response: Half,
}

impl Call {
    /// Of a request of this kind. gRPC itself does not exist over HTTP/1 ("gRPC over HTTP2").
    pub(super) fn of(kind: Kind) -> Option<Box<Self>> {
        let half = |request| Half { body: rpc::Body::new(kind, request), whole: false };
        match kind {
            Kind::ConnectStream | Kind::ConnectUnary | Kind::GrpcWeb | Kind::GrpcWebText => {
                Some(Box::new(Self { kind, status: None, answer: None, request: half(true), response: half(false) }))
            }
            Kind::Grpc | Kind::Plain | Kind::Unknown => None,
        }
    }

    /// The answer's head came. A client may ask for the other of gRPC-Web's two encodings.
    pub(super) fn answer(&mut self, head: &ResponseHead) {
        (self.status, self.answer) = (head.grpc_status, Some(head.content));
        match (self.kind, head.content) {
            (Kind::GrpcWeb, Content::GrpcWebText) => self.response.body = rpc::Body::new(Kind::GrpcWebText, false),
            (Kind::GrpcWebText, Content::GrpcWeb) => self.response.body = rpc::Body::new(Kind::GrpcWeb, false),
            _ => {}
        }
    }

    fn half(&mut self, request: bool) -> &mut Half {
        if request { &mut self.request } else { &mut self.response }
    }

    /// The messages of a body.
    pub(super) fn body(&mut self, request: bool) -> &mut rpc::Body {
        &mut self.half(request).body
    }

    /// A body ended; `whole`: every byte of it was counted.
    pub(super) fn ended(&mut self, request: bool, whole: bool) {
        self.half(request).whole = whole;
    }

    /// The answer may be another call's.
    pub(super) fn disown(&mut self) {
        (self.status, self.answer) = (None, None);
        self.response = Half { body: rpc::Body::new(self.kind, false), whole: false };
    }

    /// How many of the next bytes of a body are of no interest.
    pub(super) fn skippable(&self, request: bool) -> u64 {
        if request { self.request.body.skippable() } else { self.response.body.skippable() }
    }

    /// Bytes of heap it may come to hold.
    pub(super) fn heap(&self) -> usize {
        size_of::<Self>() + rpc::Body::most_heap(self.kind)
    }

    /// Writes what it was into its exchange.
    pub(super) fn finish(&self, exchange: &mut Exchange) {
        let (Some(system), Details::Http(http)) = (self.kind.system(), exchange.details) else { return };
        rpc::Call {
            system,
            kind: self.kind,
            http: &http,
            status: self.status,
            failed: None,
            answer: self.answer,
            unknown: false,
            request: self.request.said(),
            response: self.response.said(),
        }
        .finish(exchange);
    }
}
