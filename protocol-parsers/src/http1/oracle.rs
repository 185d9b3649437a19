//! What `httparse` says of a head, to hold [`head`](super::head) against: the same bytes must be taken, awaited, cut and refused,
//! and the same facts found in them. For tests and `fuzz/` only.

use httparse::{Error, Header, ParserConfig, Status};

use super::head::{self, Parsed, RequestHead, RequestHeaders, ResponseHead, ResponseHeaders};
use super::lines::{RequestLine, StatusLine};
use crate::contract::MAX_REST;
use crate::exchange::HttpVersion;

const MAX_HEADERS: usize = 256;

/// Compares the two on a request and a response that begin with these bytes.
///
/// # Panics
/// When they differ.
pub(crate) fn compare(bytes: &[u8]) {
    same(bytes, &head::request(bytes, 0), &request(bytes));
    same(bytes, &head::response(bytes, 0), &response(bytes));
}

fn same<T: std::fmt::Debug>(bytes: &[u8], ours: &Parsed<T>, theirs: &Parsed<T>) {
    let long = bytes.iter().filter(|byte| **byte == b'\n').count() > MAX_HEADERS;
    match (ours, theirs) {
        (Parsed::Not(_), Parsed::Not(_)) => {}
        // Lines with odd names are counted here, not there.
        (Parsed::Cut(_), _) if long => {}
        _ => assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "of {}", bytes.escape_ascii()),
    }
}

fn lenient() -> ParserConfig {
    let mut config = ParserConfig::default();
    config.ignore_invalid_headers_in_requests(true);
    config.allow_obsolete_multiline_headers_in_responses(true).ignore_invalid_headers_in_responses(true);
    config
}

fn version(minor: u8) -> HttpVersion {
    if minor == 0 { HttpVersion::H10 } else { HttpVersion::H11 }
}

fn request(bytes: &[u8]) -> Parsed<RequestHead> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = lenient().parse_request(&mut request, bytes);
    let facts = || {
        let mut told = RequestHeaders::default();
        for Header { name, value } in request.headers.iter() {
            told.header(name.as_bytes(), value);
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return None;
        };
        Some(told.head(&RequestLine { method: method.as_bytes(), target, version: version(minor), end: 0 }))
    };
    match (parsed, facts()) {
        (Ok(Status::Complete(len)), Some(head)) => Parsed::Whole(head, len),
        (Ok(Status::Partial), _) if bytes.len() < MAX_REST => Parsed::More,
        (Ok(Status::Partial) | Err(Error::TooManyHeaders), Some(head)) => Parsed::Cut(head),
        _ => Parsed::Not("refused"),
    }
}

fn response(bytes: &[u8]) -> Parsed<ResponseHead> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = lenient().parse_response(&mut response, bytes);
    let facts = || {
        let mut told = ResponseHeaders::default();
        for Header { name, value } in response.headers.iter() {
            told.header(name.as_bytes(), value);
        }
        let (Some(status @ 100..), Some(minor)) = (response.code, response.version) else { return None };
        Some(told.head(&StatusLine { version: version(minor), status, end: 0 }))
    };
    match (parsed, facts()) {
        (Ok(Status::Complete(len)), Some(head)) => Parsed::Whole(head, len),
        (Ok(Status::Partial), _) if bytes.len() < MAX_REST => Parsed::More,
        (Ok(Status::Partial) | Err(Error::TooManyHeaders), Some(head)) => Parsed::Cut(head),
        _ => Parsed::Not("refused"),
    }
}
