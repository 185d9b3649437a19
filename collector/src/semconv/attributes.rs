//! The attributes of a span, one by one.
//!
//! In: a [`Span`]. Out: its name, status and attributes, handed to a visitor in a fixed order; nothing is allocated.

use std::net::IpAddr;

use sidelight_protocol_parsers::{Details, Incomplete, IncompleteSet, Outcome};

use super::{
    db, http,
    network::{self, Short},
    rpc,
    url::{self, Url},
};
use crate::model::Span;

/// Time from the first byte of the request to the first byte of the response, seconds.
pub const FIRST_BYTE: &str = "sidelight.time_to_first_byte";

/// Why the exchange is not whole: an array of [`Incomplete::name`]s.
pub const INCOMPLETE: &str = "sidelight.incomplete";

/// One value.
#[derive(Clone, Copy, Debug)]
pub enum AttrValue<'a> {
    /// Text as it is.
    Str(&'a str),
    /// `url.full`, to be redacted: [`AttrValue::text`].
    Url(Url<'a>),
    /// `url.query`, to be redacted: [`AttrValue::text`].
    Query(&'a str),
    /// An integer.
    Int(i64),
    /// A number.
    Double(f64),
    /// An array of names.
    Reasons(IncompleteSet),
}

impl AttrValue<'_> {
    /// The pieces of a text, in order; nothing for numbers and arrays.
    pub fn text(&self, each: &mut impl FnMut(&str)) {
        match self {
            Self::Str(text) => each(text),
            Self::Url(url) => url.pieces(each),
            Self::Query(query) => url::redact(query, each),
            Self::Int(_) | Self::Double(_) | Self::Reasons(_) => {}
        }
    }
}

/// Takes attributes one by one. The common kinds have calls of their own, so that the encoder can write a constant key where
/// the key is named; every other visitor is a closure ([`Span::visit_attributes`]).
pub(crate) trait Visit {
    /// Any value.
    fn value(&mut self, key: &'static str, value: AttrValue<'_>);

    /// A text as it is.
    fn str(&mut self, key: &'static str, text: &str) {
        self.value(key, AttrValue::Str(text));
    }

    /// An integer.
    fn int(&mut self, key: &'static str, number: i64) {
        self.value(key, AttrValue::Int(number));
    }

    /// An address as text.
    fn address(&mut self, key: &'static str, ip: IpAddr) {
        let mut room = Short::new();
        room.address(ip);
        self.value(key, AttrValue::Str(room.as_str()));
    }
}

impl<F: FnMut(&'static str, AttrValue<'_>)> Visit for F {
    fn value(&mut self, key: &'static str, value: AttrValue<'_>) {
        self(key, value);
    }
}

/// Why a span is an error: value of `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType<'a> {
    /// The connection ended before the response did: `closed`.
    Closed,
    /// The status code of an RPC or a database.
    Code(&'a str),
    /// The protocol says so, without a code.
    Other,
    /// The HTTP status.
    Status(u16),
}

impl<'a> ErrorType<'a> {
    /// Its text, in the room given if need be.
    #[must_use]
    pub fn text(self, room: &'a mut Short) -> &'a str {
        match self {
            Self::Closed => Incomplete::Closed.name(),
            Self::Code(code) => code,
            Self::Other => "_OTHER",
            Self::Status(status) => {
                room.number(status);
                room.as_str()
            }
        }
    }
}

impl Span {
    /// The name, in one or three pieces: of its family, else the protocol's.
    pub fn name(&self, each: &mut impl FnMut(&str)) {
        match &self.exchange.details {
            Details::Http(_) => http::name(self, each),
            Details::Rpc(details) => rpc::name(self, details, each),
            Details::Db(details) => db::name(self, details, each),
            Details::Generic => each(self.exchange.protocol),
        }
    }

    /// Why it is an error; `None`: it is not, or that is unknown.
    ///
    /// The family's status decides first. Otherwise a connection that ended before its response did is an error on both sides, and then
    /// what the protocol says without a code. What we failed to see is none.
    #[must_use]
    pub fn error(&self) -> Option<ErrorType<'_>> {
        let (coded, code) = match &self.exchange.details {
            Details::Http(details) => (details.status.is_some(), http::error(self.exchange.role, details)),
            Details::Rpc(details) => (details.status.is_some(), rpc::error(self.exchange.role, details)),
            Details::Db(details) => (details.status.is_some(), db::error(self, details)),
            Details::Generic => (false, None),
        };
        if code.is_some() {
            code
        } else if self.exchange.incomplete.contains(Incomplete::Closed) {
            Some(ErrorType::Closed)
        } else {
            (!coded && self.exchange.outcome == Some(Outcome::Error)).then_some(ErrorType::Other)
        }
    }

    /// Gives every attribute that is known, each key once.
    pub fn visit_attributes(&self, visit: &mut impl FnMut(&'static str, AttrValue<'_>)) {
        self.attributes(visit);
    }

    /// The same for any visitor.
    pub(crate) fn attributes(&self, visit: &mut impl Visit) {
        match &self.exchange.details {
            Details::Http(details) => http::visit(self, details, visit),
            Details::Rpc(details) => rpc::visit(self, details, visit),
            Details::Db(details) => db::visit(self, details, visit),
            Details::Generic => network::visit_peer(self, visit),
        }
        if let Some(nanoseconds) = self.first_byte {
            visit.value(FIRST_BYTE, AttrValue::Double(seconds(nanoseconds)));
        }
        if !self.exchange.incomplete.is_empty() {
            visit.value(INCOMPLETE, AttrValue::Reasons(self.exchange.incomplete));
        }
    }
}

/// Nanoseconds as seconds.
#[must_use]
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
