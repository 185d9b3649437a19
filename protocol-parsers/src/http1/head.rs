//! Message heads: bytes in, the facts an exchange needs out. Everything else (cookies, credentials, other headers) is never
//! copied.
//!
//! `httparse` judges the bytes. It starts again at byte 0 each time, so an unfinished head is tried once when its first bytes
//! come, and then only when a blank line has come, or [`MAX_REST`] bytes have: what is known by then is kept, as `cut`.

use std::mem::MaybeUninit;

use httparse::{Error, Header, ParserConfig, Status};

use super::body::Framing;
use crate::contract::MAX_REST;
use crate::exchange::{Http, HttpVersion, Text, TraceContext};
use crate::forwarded::{forwarded_for, list_item};
use crate::trace_context::traceparent;

/// Headers of a usual head; a longer list is read a second time with [`MANY_HEADERS`].
const HEADERS: usize = 48;

/// The longest list of headers. Servers refuse heads with more than about 100.
const MANY_HEADERS: usize = 256;

/// What bytes at the start of a message are.
#[derive(Debug)]
pub(super) enum Parsed<T> {
    /// A head of this many bytes.
    Whole(T, usize),
    /// The start of a head too long to wait for.
    Cut(T),
    /// The start of a head.
    More,
    /// Something else.
    Not(&'static str),
}

/// What a request's method means for bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Its success turns the connection into a tunnel.
    Connect,
    /// Its response has no body.
    Head,
    /// Any other.
    Plain,
}

/// A request's head.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) framing: Framing,
    pub(super) http: Http,
    pub(super) context: Option<TraceContext>,
    pub(super) text: Text,
}

/// A response's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) version: HttpVersion,
    /// Of its body if it has one at all.
    framing: Framing,
    /// First protocol of `Upgrade`.
    pub(super) upgrade: &'static str,
}

impl ResponseHead {
    /// How the body is framed in answer to such a request (RFC 9112 section 6.3, rules 1 and 2).
    pub(super) fn framing(&self, method: Method) -> Framing {
        match (method, self.status) {
            (Method::Head, _) | (_, 100..=199 | 204 | 304) | (Method::Connect, 200..=299) => Framing::None,
            _ => self.framing,
        }
    }
}

/// Reads a request's head. `seen`: how many of the bytes were looked at before.
pub(super) fn request(bytes: &[u8], seen: usize) -> Parsed<RequestHead> {
    if !worth_trying(bytes, seen) {
        return Parsed::More;
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(len)) => Parsed::Whole(request_facts(&request), len),
        Ok(Status::Partial) if bytes.len() < MAX_REST => Parsed::More,
        Err(error @ (Error::NewLine | Error::Status | Error::Token | Error::Version)) => Parsed::Not(name(error)),
        Ok(Status::Partial) | Err(Error::HeaderName | Error::HeaderValue | Error::TooManyHeaders) => {
            long_request(bytes)
        }
    }
}

/// Methods that are common enough to recognise a message by.
const METHODS: [&[u8]; 10] =
    [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"QUERY "];

/// As [`request`], where it is not certain that a message begins at all, as after a loss. The method must be one of the common
/// ones, or the end of a method whose beginning is missing would be taken for it.
pub(super) fn certain_request(bytes: &[u8], seen: usize) -> Parsed<RequestHead> {
    let begins = |method: &[u8]| method.iter().zip(bytes).all(|(a, b)| a == b);
    if METHODS.into_iter().any(begins) { request(bytes, seen) } else { Parsed::Not("not a common method") }
}

/// Whether a whole request head stands somewhere in these bytes: behind the rest of an older message, say.
pub(super) fn holds_request(bytes: &[u8]) -> bool {
    let heads_end = memchr::memmem::find_iter(bytes, b" HTTP/1.").filter_map(|at| bytes.get(..at));
    // The first few: each costs a search back to its method.
    heads_end.take(4).any(|before| {
        METHODS.into_iter().any(|method| {
            let head = memchr::memmem::rfind(before, method).and_then(|start| bytes.get(start..));
            head.is_some_and(|head| matches!(request(head, 0), Parsed::Whole(..) | Parsed::Cut(_)))
        })
    })
}

/// Heads that need care: folded or odd headers, which are passed over, very many headers, more bytes than may be kept.
#[cold]
fn long_request(bytes: &[u8]) -> Parsed<RequestHead> {
    let mut headers = [httparse::EMPTY_HEADER; MANY_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let mut config = ParserConfig::default();
    match config.ignore_invalid_headers_in_requests(true).parse_request(&mut request, bytes) {
        Ok(Status::Complete(len)) => Parsed::Whole(request_facts(&request), len),
        Ok(Status::Partial) if bytes.len() < MAX_REST => Parsed::More,
        Ok(Status::Partial) | Err(Error::TooManyHeaders) if request.version.is_some() => {
            Parsed::Cut(request_facts(&request))
        }
        Ok(Status::Partial) => Parsed::Not("request line too long"),
        Err(error) => Parsed::Not(name(error)),
    }
}

/// Reads a response's head. `seen`: how many of the bytes were looked at before.
pub(super) fn response(bytes: &[u8], seen: usize) -> Parsed<ResponseHead> {
    if !worth_trying(bytes, seen) {
        return Parsed::More;
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let strict = ParserConfig::default();
    match strict.parse_response_with_uninit_headers(&mut response, bytes, &mut headers) {
        Ok(Status::Complete(len)) => match response_facts(&response) {
            Some(head) => Parsed::Whole(head, len),
            None => Parsed::Not("status out of range"),
        },
        Ok(Status::Partial) if bytes.len() < MAX_REST => Parsed::More,
        Err(error @ (Error::NewLine | Error::Status | Error::Token | Error::Version)) => Parsed::Not(name(error)),
        Ok(Status::Partial) | Err(Error::HeaderName | Error::HeaderValue | Error::TooManyHeaders) => {
            long_response(bytes)
        }
    }
}

/// As [`long_request`].
#[cold]
fn long_response(bytes: &[u8]) -> Parsed<ResponseHead> {
    let mut headers = [httparse::EMPTY_HEADER; MANY_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let mut config = ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true).ignore_invalid_headers_in_responses(true);
    let parsed = config.parse_response(&mut response, bytes);
    let Some(head) = response_facts(&response) else {
        return match parsed {
            Ok(Status::Partial) if bytes.len() < MAX_REST => Parsed::More,
            _ => Parsed::Not("status out of range"),
        };
    };
    match parsed {
        Ok(Status::Complete(len)) => Parsed::Whole(head, len),
        Ok(Status::Partial) if bytes.len() < MAX_REST => Parsed::More,
        Ok(Status::Partial) | Err(Error::TooManyHeaders) => Parsed::Cut(head),
        Err(error) => Parsed::Not(name(error)),
    }
}

/// Whether another look at these bytes can tell more than the last one.
fn worth_trying(bytes: &[u8], seen: usize) -> bool {
    // A blank line may end three bytes behind the last line feed that was seen.
    let fresh = bytes.get(seen.saturating_sub(3)..).unwrap_or_default();
    seen == 0 || bytes.len() >= MAX_REST || {
        memchr::memchr_iter(b'\n', fresh).any(|at| {
            let next = fresh.get(at + 1..).unwrap_or_default();
            next.starts_with(b"\n") || next.starts_with(b"\r\n")
        })
    }
}

fn name(error: Error) -> &'static str {
    match error {
        Error::HeaderName => "invalid header name",
        Error::HeaderValue => "invalid header value",
        Error::NewLine => "invalid line end",
        Error::Status => "invalid status",
        Error::Token => "invalid start line",
        Error::TooManyHeaders => "too many headers",
        Error::Version => "not HTTP/1",
    }
}

fn version(minor: u8) -> HttpVersion {
    if minor == 0 { HttpVersion::H10 } else { HttpVersion::H11 }
}

fn request_facts(request: &httparse::Request<'_, '_>) -> RequestHead {
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let mut framing = FramingHeaders::default();
    let (mut host, mut agent, mut forwarded, mut x_forwarded) = (None, None, None, None);
    let (mut parent, mut parents) = (None, 0);
    let mut states = [None; 4];
    let mut state_len = 0;
    for Header { name, value } in request.headers.iter() {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => host = host.or(Some(*value)),
            9 if name.eq_ignore_ascii_case("forwarded") => forwarded = forwarded.or_else(|| forwarded_for(value)),
            10 if name.eq_ignore_ascii_case("user-agent") => agent = agent.or(Some(*value)),
            10 if name.eq_ignore_ascii_case("tracestate") => {
                if let Some(free) = states.iter_mut().find(|slot| slot.is_none()) {
                    *free = Some(*value);
                    state_len += value.len() + 1;
                }
            }
            11 if name.eq_ignore_ascii_case("traceparent") => {
                parent = traceparent(value);
                parents += 1;
            }
            14 | 17 => framing.header(name, value),
            15 if name.eq_ignore_ascii_case("x-forwarded-for") => {
                x_forwarded = x_forwarded.or_else(|| list_item(value));
            }
            _ => {}
        }
    }
    let forwarded_for = forwarded.or(x_forwarded);
    // Several: which is the parent is not known.
    let mut context = parent.filter(|_| parents == 1);
    let optional = [host, agent, forwarded_for].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
    let state_len = if context.is_some() { state_len } else { 0 };
    let mut text = Text::with_capacity(method.len() + target.len() + optional + state_len);
    let http = Http {
        method: Some(text.push(method.as_bytes())),
        target: Some(text.push(target.as_bytes())),
        version: request.version.map(version),
        scheme: None,
        host: host.map(|value| text.push(value)),
        user_agent: agent.map(|value| text.push(value)),
        forwarded_for: forwarded_for.map(|value| text.push(value)),
        status: None,
        request_body: None,
        response_body: None,
    };
    if let (Some(context), [Some(first), more @ ..]) = (&mut context, states) {
        context.state = Some(match more {
            [None, ..] => text.push(first),
            // "Multiple tracestate header fields MUST be handled as specified by RFC 9110, section 5.3": joined by commas.
            _ => {
                let values: Vec<&[u8]> = states.into_iter().flatten().collect();
                text.push(&values.join(&b','))
            }
        });
    }
    let method = match method {
        "CONNECT" => Method::Connect,
        "HEAD" => Method::Head,
        _ => Method::Plain,
    };
    let framing = match (method, framing.framing(Framing::None)) {
        // A CONNECT has no body; what follows it belongs to the tunnel.
        (Method::Connect, _) => Framing::None,
        // Chunked is not the last coding: only the connection's end would show the body's, and no request ends so.
        (_, Framing::UntilClose) => Framing::Contradiction,
        (_, framing) => framing,
    };
    RequestHead { method, framing, http, context, text }
}

/// `None`: no or no possible status.
fn response_facts(response: &httparse::Response<'_, '_>) -> Option<ResponseHead> {
    let mut framing = FramingHeaders::default();
    let mut upgrade = "upgrade";
    for Header { name, value } in response.headers.iter() {
        match name.len() {
            7 if name.eq_ignore_ascii_case("upgrade") => {
                for known in ["websocket", "h2c"] {
                    if list_item(value).is_some_and(|item| item.eq_ignore_ascii_case(known.as_bytes())) {
                        upgrade = known;
                    }
                }
            }
            14 | 17 => framing.header(name, value),
            _ => {}
        }
    }
    Some(ResponseHead {
        status: response.code.filter(|code| (100..=999).contains(code))?,
        version: version(response.version?),
        framing: framing.framing(Framing::UntilClose),
        upgrade,
    })
}

/// The headers that frame a body.
#[derive(Default)]
struct FramingHeaders {
    length: Option<u64>,
    contradiction: bool,
    coded: bool,
    chunked: bool,
}

impl FramingHeaders {
    fn header(&mut self, name: &str, value: &[u8]) {
        if name.eq_ignore_ascii_case("content-length") {
            // RFC 9110 section 8.6: a list of equal values may be read as one of them.
            for item in value.split(|byte| *byte == b',') {
                let length = decimal(item.trim_ascii());
                self.contradiction |= length.is_none() || self.length.is_some_and(|known| Some(known) != length);
                self.length = self.length.or(length);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
            self.coded = true;
            self.chunked = last.eq_ignore_ascii_case(b"chunked");
        }
    }

    /// RFC 9112 section 6.3, rules 3 to 8.
    fn framing(&self, without: Framing) -> Framing {
        match (self.coded, self.chunked, self.contradiction, self.length) {
            (true, true, ..) => Framing::Chunked,
            (true, false, ..) => Framing::UntilClose,
            (false, _, true, _) => Framing::Contradiction,
            (false, _, false, Some(length)) => Framing::Length(length),
            (false, _, false, None) => without,
        }
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}
