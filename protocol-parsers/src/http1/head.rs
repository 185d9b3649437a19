//! Message heads: bytes in, the facts an exchange needs out. Everything else (cookies, credentials, other headers) is never
//! copied.
//!
//! [`lines`] judges the bytes. It starts again at byte 0 each time, so an unfinished head is tried once when its first bytes
//! come, and then only when a blank line has come, or [`MAX_REST`] bytes have: what is known by then is kept, as `cut`.

use super::body::Framing;
use super::lines::{self, Headers, RequestLine, StatusLine};
use crate::contract::{Chunk, MAX_REST};
use crate::exchange::{Http, HttpVersion, Text, TraceContext};
use crate::forwarded::{forwarded_for, list_item};
use crate::rpc::{Content, Kind, grpc_status};
use crate::trace_context::traceparent;

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
    pub(super) kind: Kind,
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
    pub(super) content: Content,
    pub(super) grpc_status: Option<u8>,
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
    let line = match lines::request_line(bytes) {
        Ok(Some(line)) => line,
        Ok(None) if bytes.len() < MAX_REST => return Parsed::More,
        Ok(None) => return Parsed::Not("request line too long"),
        Err(why) => return Parsed::Not(why),
    };
    let mut told = RequestHeaders::default();
    match lines::headers(bytes, line.end, false, |name, value| told.header(name, value)) {
        Ok(Headers::Whole(len)) => Parsed::Whole(told.head(&line), len),
        Ok(Headers::Partial) if bytes.len() < MAX_REST => Parsed::More,
        Ok(Headers::Partial | Headers::TooMany) => Parsed::Cut(told.head(&line)),
        Err(why) => Parsed::Not(why),
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

/// Reads a response's head. `seen`: how many of the bytes were looked at before.
pub(super) fn response(bytes: &[u8], seen: usize) -> Parsed<ResponseHead> {
    if !worth_trying(bytes, seen) {
        return Parsed::More;
    }
    let line = match lines::status_line(bytes) {
        Ok(Some(line)) => line,
        Ok(None) if bytes.len() < MAX_REST => return Parsed::More,
        Ok(None) => return Parsed::Not("status line too long"),
        Err(why) => return Parsed::Not(why),
    };
    let mut told = ResponseHeaders::default();
    let ended = match lines::headers(bytes, line.end, true, |name, value| told.header(name, value)) {
        Ok(Headers::Partial) if bytes.len() < MAX_REST => return Parsed::More,
        Ok(ended) => ended,
        Err(why) => return Parsed::Not(why),
    };
    if line.status < 100 {
        return Parsed::Not("status out of range");
    }
    match ended {
        Headers::Whole(len) => Parsed::Whole(told.head(&line), len),
        Headers::Partial | Headers::TooMany => Parsed::Cut(told.head(&line)),
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

/// What a request's headers say.
#[derive(Default)]
pub(super) struct RequestHeaders<'a> {
    framing: FramingHeaders,
    host: Option<&'a [u8]>,
    agent: Option<&'a [u8]>,
    forwarded: Option<&'a [u8]>,
    x_forwarded: Option<&'a [u8]>,
    parent: Option<TraceContext>,
    parents: usize,
    states: [Option<&'a [u8]>; 4],
    content: Option<Content>,
    /// `connect-protocol-version: 1`.
    connect: bool,
}

impl<'a> RequestHeaders<'a> {
    #[inline(always)]
    pub(super) fn header(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host = self.host.or(Some(value)),
            9 if name.eq_ignore_ascii_case(b"forwarded") => {
                self.forwarded = self.forwarded.or_else(|| forwarded_for(value))
            }
            10 if name.eq_ignore_ascii_case(b"user-agent") => self.agent = self.agent.or(Some(value)),
            10 if name.eq_ignore_ascii_case(b"tracestate") => {
                if let Some(free) = self.states.iter_mut().find(|slot| slot.is_none()) {
                    *free = Some(value);
                }
            }
            11 if name.eq_ignore_ascii_case(b"traceparent") => {
                self.parent = traceparent(value);
                self.parents += 1;
            }
            12 if is(name, b"content-type") => self.content = Some(Content::of(value)),
            14 | 17 => self.framing.header(name, value),
            15 if name.eq_ignore_ascii_case(b"x-forwarded-for") => {
                self.x_forwarded = self.x_forwarded.or_else(|| list_item(value));
            }
            24 if is(name, b"connect-protocol-version") => self.connect = value == b"1",
            _ => {}
        }
    }

    pub(super) fn head(self, line: &RequestLine<'_>) -> RequestHead {
        let Self { framing, host, agent, forwarded, x_forwarded, parent, parents, states, content, connect } = self;
        let forwarded_for = forwarded.or(x_forwarded);
        // Several: which is the parent is not known.
        let mut context = parent.filter(|_| parents == 1);
        let states = if context.is_some() { states } else { [None; 4] };
        // "Multiple tracestate header fields MUST be handled as specified by RFC 9110, section 5.3": joined by commas.
        let joined =
            matches!(states, [_, Some(_), ..]).then(|| states.into_iter().flatten().collect::<Vec<_>>().join(&b','));
        let state = joined.as_deref().or(states[0]);
        let optional = [host, agent, forwarded_for, state];
        let [host, agent, forwarded_for, state] = optional.map(Option::unwrap_or_default);
        let (text, [method, target, spans @ ..]) =
            Text::of([line.method, line.target.as_bytes(), host, agent, forwarded_for, state]);
        let [host, agent, forwarded_for, state] =
            std::array::from_fn(|at| spans.get(at).copied().filter(|_| optional.get(at).is_some_and(Option::is_some)));
        let http = Http {
            method: Some(method),
            target: Some(target),
            version: Some(line.version),
            scheme: None,
            host,
            user_agent: agent,
            forwarded_for,
            status: None,
            request_body: None,
            response_body: None,
        };
        if let Some(context) = &mut context {
            context.state = state;
        }
        let method = match line.method {
            b"CONNECT" => Method::Connect,
            b"HEAD" => Method::Head,
            _ => Method::Plain,
        };
        let framing = match (method, framing.framing(Framing::None)) {
            // A CONNECT has no body; what follows it belongs to the tunnel.
            (Method::Connect, _) => Framing::None,
            // Chunked is not the last coding: only the connection's end would show the body's, and no request ends so.
            (_, Framing::UntilClose) => Framing::Contradiction,
            (_, framing) => framing,
        };
        let kind = Kind::of(content, connect, line.target);
        RequestHead { method, kind, framing, http, context, text }
    }
}

/// What a response's headers say.
#[derive(Default)]
pub(super) struct ResponseHeaders {
    framing: FramingHeaders,
    /// A protocol that is known.
    upgrade: Option<&'static str>,
    content: Option<Content>,
    grpc_status: Option<u8>,
}

impl ResponseHeaders {
    #[inline(always)]
    pub(super) fn header(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                for known in ["websocket", "h2c"] {
                    if list_item(value).is_some_and(|item| item.eq_ignore_ascii_case(known.as_bytes())) {
                        self.upgrade = Some(known);
                    }
                }
            }
            11 if name.eq_ignore_ascii_case(b"grpc-status") => self.grpc_status = grpc_status(value),
            12 if is(name, b"content-type") => self.content = Some(Content::of(value)),
            14 | 17 => self.framing.header(name, value),
            _ => {}
        }
    }

    pub(super) fn head(self, line: &StatusLine) -> ResponseHead {
        ResponseHead {
            status: line.status,
            version: line.version,
            framing: self.framing.framing(Framing::UntilClose),
            upgrade: self.upgrade.unwrap_or("upgrade"),
            content: self.content.unwrap_or(Content::Other),
            grpc_status: self.grpc_status,
        }
    }
}

/// Whether a name of headers is this one, which is written in small letters. No other character that a name may have differs
/// from a letter or a dash in that bit alone.
#[inline(always)]
fn is<const N: usize>(name: &[u8], small: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(name).is_ok_and(|name| name.map(|byte| byte | 0x20) == *small)
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
    fn header(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"content-length") {
            // RFC 9110 section 8.6: a list of equal values may be read as one of them.
            for item in value.split(|byte| *byte == b',') {
                let length = decimal(item.trim_ascii());
                self.contradiction |= length.is_none() || self.length.is_some_and(|known| Some(known) != length);
                self.length = self.length.or(length);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
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

/// How many line ends stand before a start line. "A server SHOULD ignore at least one empty line" (RFC 9112 section 2.2).
pub(super) fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Looks for a head where a call's bytes begin: at the start of what was kept, else of what is new; or for one that may
/// be growing there.
pub(super) fn find<T>(
    chunk: &Chunk<'_>,
    at: usize,
    parse: fn(&[u8], usize) -> Parsed<T>,
) -> Option<(usize, Parsed<T>)> {
    let starts = [Some(0), Some(chunk.kept.len).filter(|len| *len > 0)];
    let mut growing = None;
    for start in starts.into_iter().flatten().filter(|start| *start >= at) {
        // Line ends in front are no part of it; here they are more likely the end of an older message.
        let start = start + line_ends(chunk.bytes.get(start..)?);
        let Some(rest) = chunk.bytes.get(start..).filter(|rest| !rest.is_empty()) else { continue };
        match parse(rest, 0) {
            found @ (Parsed::Whole(..) | Parsed::Cut(_)) => return Some((start, found)),
            Parsed::More if growing.is_none() => growing = Some((start, Parsed::More)),
            Parsed::More | Parsed::Not(_) => {}
        }
    }
    growing
}
