//! The attributes of a span, one by one.
//!
//! In: a [`Span`]. Out: its name, status and attributes, handed to a visitor in a fixed order; nothing is allocated.

use std::net::IpAddr;

use sidelight_protocol_parsers::{Details, Incomplete, IncompleteSet, Outcome, Role};

use super::{
    http,
    network::Short,
    rules::Method,
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
pub enum ErrorType {
    /// The connection ended before the response did: `closed`.
    Closed,
    /// The protocol says so, without a code.
    Other,
    /// The HTTP status.
    Status(u16),
}

impl ErrorType {
    /// Its text, in the room given if need be.
    #[must_use]
    pub fn text(self, room: &mut Short) -> &str {
        match self {
            Self::Closed => Incomplete::Closed.name(),
            Self::Other => "_OTHER",
            Self::Status(status) => {
                room.number(status);
                room.as_str()
            }
        }
    }
}

impl Span {
    /// The name, in one or three pieces: `{method} {route}`, `{method}`, or the protocol's.
    pub fn name(&self, each: &mut impl FnMut(&str)) {
        let Details::Http(_) = self.exchange.details else {
            return each(self.exchange.protocol);
        };
        each(match self.method {
            Method::Known(_) => self.http.method_name(self.method).unwrap_or("HTTP"),
            Method::Other | Method::Missing => "HTTP",
        });
        if let Some(pattern) = self.route.and_then(|route| self.http.pattern(route)) {
            each(" ");
            each(pattern);
        }
    }

    /// Why it is an error; `None`: it is not, or that is unknown.
    ///
    /// A status decides first: 5xx, and what is no valid status, is an error on both sides, 4xx only for clients. Otherwise a
    /// connection that ended before its response did is an error on both sides. What we failed to see is none.
    #[must_use]
    pub fn error(&self) -> Option<ErrorType> {
        let (status, failed) = match &self.exchange.details {
            Details::Http(http) => (http.status, false),
            Details::Db(_) | Details::Generic | Details::Rpc(_) => {
                (None, self.exchange.outcome == Some(Outcome::Error))
            }
        };
        match (status, self.exchange.role) {
            (Some(status @ (0..100 | 500..)), _) | (Some(status @ 400..500), Role::Client) => {
                Some(ErrorType::Status(status))
            }
            _ if self.exchange.incomplete.contains(Incomplete::Closed) => Some(ErrorType::Closed),
            _ => failed.then_some(ErrorType::Other),
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
            Details::Db(_) | Details::Generic | Details::Rpc(_) => http::visit_peer(self, visit),
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
