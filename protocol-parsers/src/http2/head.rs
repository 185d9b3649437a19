//! The fields of a header block, gathered.
//!
//! In: what the decoder sees. Out: the facts an exchange needs; everything else is never copied.

use super::hpack::{Broken, Decoder, Field};
use crate::exchange::{Http, HttpVersion, Span, Text, TraceContext};
use crate::forwarded::{forwarded_for, list_item};
use crate::rpc::{Content, grpc_status};
use crate::trace_context::traceparent;

/// A header block's facts.
#[derive(Debug)]
pub(super) struct Block {
    /// Of a request; its `status` is that of a response.
    pub(super) http: Http,
    pub(super) context: Option<TraceContext>,
    pub(super) text: Text,
    /// A field that only requests have (RFC 9113 section 8.3.1).
    pub(super) asks: bool,
    pub(super) content: Option<Content>,
    pub(super) grpc_status: Option<u8>,
    /// `grpc-timeout` in nanoseconds.
    pub(super) timeout: Option<u64>,
    /// `connect-protocol-version: 1`.
    pub(super) connect: bool,
    /// `POST` as the method.
    pub(super) posts: bool,
    /// A field whose name or value is not known.
    pub(super) unknown: bool,
    /// The block could not be read to its end.
    pub(super) broken: bool,
    /// It was too long to keep, and not read at all.
    pub(super) too_long: bool,
}

impl Block {
    /// Of which nothing is known: its bytes are too many to keep.
    pub(super) fn unread() -> Self {
        Self { unknown: true, broken: true, too_long: true, ..Self::empty(Text::default()) }
    }

    fn empty(text: Text) -> Self {
        Self {
            http: Http::default(),
            context: None,
            text,
            asks: false,
            content: None,
            grpc_status: None,
            timeout: None,
            connect: false,
            posts: false,
            unknown: false,
            broken: false,
            too_long: false,
        }
    }

    /// Decodes a block. `room`: how much text is expected.
    pub(super) fn read(decoder: &mut Decoder, bytes: &[u8], room: usize) -> Self {
        let mut block = Self::empty(Text::with_capacity(room));
        let mut more = More::default();
        let decoded = decoder.block(bytes, |field, value| block.see(field, value, &mut more));
        block.finish(more, decoded)
    }

    fn see(&mut self, field: Field, value: Option<&[u8]>, more: &mut More) {
        let Some(value) = value else {
            self.unknown = true;
            self.asks |= matches!(field, Field::Authority | Field::Method | Field::Path | Field::Scheme);
            return;
        };
        let Self { http, text, .. } = self;
        match field {
            Field::Method => {
                http.method = Some(text.push(value));
                self.posts = value == b"POST";
                self.asks = true;
            }
            Field::Path => {
                http.target = Some(text.push(value));
                self.asks = true;
            }
            Field::Scheme => {
                http.scheme = Some(text.push(value));
                self.asks = true;
            }
            Field::Authority => {
                http.host = Some(text.push(value));
                self.asks = true;
            }
            Field::Host => more.host = Some(text.push(value)),
            Field::UserAgent => http.user_agent = Some(text.push(value)),
            Field::Forwarded => more.forwarded = more.forwarded.or_else(|| Some(text.push(forwarded_for(value)?))),
            Field::XForwardedFor => {
                more.x_forwarded = more.x_forwarded.or_else(|| Some(text.push(list_item(value)?)));
            }
            Field::Traceparent => {
                self.context = traceparent(value);
                more.parents += 1;
            }
            Field::Tracestate => more.state(text, value),
            Field::Status => http.status = status(value),
            Field::ContentType => self.content = Some(Content::of(value)),
            Field::GrpcStatus => self.grpc_status = grpc_status(value),
            Field::GrpcTimeout => self.timeout = timeout(value),
            Field::ConnectVersion => self.connect = value == b"1",
            Field::Other | Field::Te | Field::Unknown => {}
        }
    }

    fn finish(mut self, more: More, decoded: Result<(), Broken>) -> Self {
        let http = &mut self.http;
        http.host = http.host.or(more.host);
        http.forwarded_for = more.forwarded.or(more.x_forwarded);
        if self.asks {
            http.version = Some(HttpVersion::H2);
        }
        // Several: which is the parent is not known.
        self.context = self.context.filter(|_| more.parents == 1);
        if let Some(context) = &mut self.context {
            context.state = more.state;
        }
        self.broken = decoded.is_err();
        self.unknown |= self.broken;
        self
    }
}

/// What is decided when all fields are known.
#[derive(Default)]
struct More {
    host: Option<Span>,
    forwarded: Option<Span>,
    x_forwarded: Option<Span>,
    parents: u32,
    state: Option<Span>,
}

impl More {
    /// "Multiple tracestate header fields MUST be handled as specified by RFC 9110, section 5.3": joined by commas.
    fn state(&mut self, text: &mut Text, value: &[u8]) {
        self.state = Some(match self.state {
            None => text.push(value),
            Some(before) => {
                let joined = [text.str(before).as_bytes(), value].join(&b',');
                text.push(&joined)
            }
        });
    }
}

fn status(value: &[u8]) -> Option<u16> {
    match value {
        &[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => None,
    }
}

/// `TimeoutValue TimeoutUnit`: at most 8 digits and a letter (gRPC over HTTP2).
fn timeout(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    let nanos = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u64, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))
        .map(|value| value.saturating_mul(nanos))
}
