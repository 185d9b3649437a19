//! The lines of a message's head, judged and taken apart where they lie (RFC 9112 sections 2 to 5).
//!
//! In: bytes at the start of a message. Out: the start line, then each header. What real servers let pass passes: a line feed
//! alone as a line's end, blank lines in front, any bytes above 127 in a value; headers that break a rule are passed over, lines
//! of a response's header may be folded. Nothing else does: a carriage return alone, a NUL in a bad header, a space in front of a
//! start line, two spaces in it, a version other than 1.0 or 1.1. These are the rules of `httparse` in the configuration that is
//! most lenient and yet tells HTTP from other bytes; a test holds them against it.

use crate::exchange::HttpVersion;
use crate::swar::{graphic, name, printable};

/// The longest list of headers. Servers refuse heads with more than about 100.
const MAX_HEADERS: usize = 256;

/// The first line of a request.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a str,
    pub(super) version: HttpVersion,
    /// Where headers begin.
    pub(super) end: usize,
}

/// The first line of a response.
#[derive(Debug)]
pub(super) struct StatusLine {
    pub(super) version: HttpVersion,
    /// 0 to 999.
    pub(super) status: u16,
    /// Where headers begin.
    pub(super) end: usize,
}

/// How the headers end.
#[derive(Debug, PartialEq)]
pub(super) enum Headers {
    /// With a blank line, and the head with it, which is so long.
    Whole(usize),
    /// Not within these bytes.
    Partial,
    /// Perhaps never.
    TooMany,
}

const STATUS: &str = "invalid status";
const START: &str = "invalid start line";
const LINE_END: &str = "invalid line end";
const NAME: &str = "invalid header name";
const VALUE: &str = "invalid header value";
const VERSION: &str = "not HTTP/1";

/// Characters of a method or of a header's name (RFC 9110 section 5.6.2).
const fn token(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'z' | b'|' | b'~')
}

/// `None`: the line may be growing.
pub(super) fn request_line(bytes: &[u8]) -> Result<Option<RequestLine<'_>>, &'static str> {
    let Some(start) = blank_lines(bytes)? else { return Ok(None) };
    let Some(rest) = bytes.get(start..) else { return Ok(None) };
    let len = match rest {
        [b'G', b'E', b'T', b' ', ..] => 3,
        [b'P', b'O', b'S', b'T', b' ', ..] => 4,
        _ => rest.iter().take_while(|byte| token(**byte)).count(),
    };
    let (method, target) = match rest.split_at_checked(len) {
        Some((_, [])) | None => return Ok(None),
        Some((method @ [_, ..], [b' ', target @ ..])) => (method, target),
        Some(_) => return Err(START),
    };
    let (target, rest) = match target.split_at_checked(graphic(target)) {
        Some((_, [])) | None => return Ok(None),
        Some((target @ [_, ..], [b' ', rest @ ..])) => (std::str::from_utf8(target).map_err(|_| START)?, rest),
        Some(_) => return Err(START),
    };
    let Some((version, rest)) = version(rest)? else { return Ok(None) };
    let left = match rest {
        [b'\r', b'\n', left @ ..] | [b'\n', left @ ..] => left,
        // The line is whole but for its end: no header was seen.
        [] | [b'\r'] => &[],
        _ => return Err(LINE_END),
    };
    Ok(Some(RequestLine { method, target, version, end: bytes.len() - left.len() }))
}

/// `None`: the line may be growing.
pub(super) fn status_line(bytes: &[u8]) -> Result<Option<StatusLine>, &'static str> {
    let Some(start) = blank_lines(bytes)? else { return Ok(None) };
    let Some((version, rest)) = version(bytes.get(start..).unwrap_or_default())? else { return Ok(None) };
    let code = match rest {
        [] => return Ok(None),
        [b' ', code @ ..] => code,
        _ => return Err(VERSION),
    };
    let (mut status, mut rest) = (0, code);
    for _ in 0..3 {
        match rest {
            [] => return Ok(None),
            [digit @ b'0'..=b'9', more @ ..] => (status, rest) = (10 * status + u16::from(digit - b'0'), more),
            _ => return Err(STATUS),
        }
    }
    // "A server MUST send the space that separates the status-code from the reason-phrase even when the reason-phrase is
    // absent": some do not.
    let end = match rest {
        [b' ', reason @ ..] => {
            let mut end = reason.get(printable(reason)..).unwrap_or_default();
            while let [b'\t', more @ ..] = end {
                end = more.get(printable(more)..).unwrap_or_default();
            }
            end
        }
        _ => rest,
    };
    let left = match end {
        [b'\r', b'\n', left @ ..] | [b'\n', left @ ..] => left,
        [] | [b'\r'] => &[],
        _ => return Err(STATUS),
    };
    Ok(Some(StatusLine { version, status, end: bytes.len() - left.len() }))
}

/// How many bytes blank lines in front take.
fn blank_lines(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        match bytes.get(at..).unwrap_or_default() {
            [b'\r', b'\n', ..] => at += 2,
            [b'\n', ..] => at += 1,
            [] | [b'\r'] => return Ok(None),
            [b'\r', ..] => return Err(LINE_END),
            _ => return Ok(Some(at)),
        }
    }
}

fn version(bytes: &[u8]) -> Result<Option<(HttpVersion, &[u8])>, &'static str> {
    match bytes.split_first_chunk() {
        Some((b"HTTP/1.1", rest)) => Ok(Some((HttpVersion::H11, rest))),
        Some((b"HTTP/1.0", rest)) => Ok(Some((HttpVersion::H10, rest))),
        None if b"HTTP/1.".starts_with(bytes) => Ok(None),
        Some(_) | None => Err(VERSION),
    }
}

/// Gives each header's name and value to `each`, from `at` on. `folds`: as in responses, whose values may go on in the next line
/// if that begins with white space.
#[inline(always)]
pub(super) fn headers<'a>(
    bytes: &'a [u8],
    at: usize,
    folds: bool,
    mut each: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<Headers, &'static str> {
    let mut count = 0;
    let mut rest = bytes.get(at..).unwrap_or_default();
    loop {
        // A name with other characters than names have is none that is asked for: whether its line counts is all one.
        let Some((name @ [_, ..], [b':', value @ ..])) = rest.split_at_checked(name(rest)) else {
            match rest {
                [b'\r', b'\n', left @ ..] | [b'\n', left @ ..] => return Ok(Headers::Whole(bytes.len() - left.len())),
                [] | [b'\r'] => return Ok(Headers::Partial),
                [b'\r', ..] => return Err(LINE_END),
                _ => {}
            }
            let Some(next) = bad_line(rest, NAME)? else { return Ok(Headers::Partial) };
            rest = next;
            continue;
        };
        let mut value = value;
        while let [b' ' | b'\t', more @ ..] = value {
            value = more;
        }
        match value.split_at_checked(printable(value)) {
            Some((whole, [b'\r', b'\n', next @ ..])) if !(folds && matches!(next, [] | [b' ' | b'\t', ..])) => {
                (value, rest) = (whole, next);
            }
            _ => match odd_value(value, folds)? {
                Odd::Value(whole, next) => (value, rest) = (whole, next),
                Odd::Bad(next) => {
                    rest = next;
                    continue;
                }
                Odd::Partial => return Ok(Headers::Partial),
            },
        }
        if count == MAX_HEADERS {
            return Ok(Headers::TooMany);
        }
        count += 1;
        each(name, if let [.., b' ' | b'\t'] = value { value.trim_ascii_end() } else { value });
    }
}

/// What stands where a value should, and what follows its line.
enum Odd<'a> {
    /// A value.
    Value(&'a [u8], &'a [u8]),
    /// None, for the line has characters that no value has.
    Bad(&'a [u8]),
    /// One without end.
    Partial,
}

/// A value with tabs, in several lines, or whose line does not end as it should.
#[inline(never)]
fn odd_value(bytes: &[u8], folds: bool) -> Result<Odd<'_>, &'static str> {
    let mut rest = bytes;
    loop {
        rest = rest.get(printable(rest)..).unwrap_or_default();
        let next = match rest {
            [b'\r', b'\n', next @ ..] | [b'\n', next @ ..] => next,
            [b'\t', more @ ..] => {
                rest = more;
                continue;
            }
            [] | [b'\r'] => return Ok(Odd::Partial),
            [b'\r', ..] => return Err(VALUE),
            _ => return Ok(bad_line(rest, VALUE)?.map_or(Odd::Partial, Odd::Bad)),
        };
        match next {
            [] if folds => return Ok(Odd::Partial),
            [b' ' | b'\t', more @ ..] if folds => rest = more,
            _ => {
                let value = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
                return Ok(Odd::Value(value.trim_ascii(), next));
            }
        }
    }
}

/// The lines behind this one; `None`: it does not end within these bytes.
#[cold]
fn bad_line<'a>(line: &'a [u8], why: &'static str) -> Result<Option<&'a [u8]>, &'static str> {
    let end = memchr::memchr3(b'\r', b'\n', 0, line).and_then(|end| line.get(end..));
    match end.unwrap_or_default() {
        [b'\r', b'\n', next @ ..] | [b'\n', next @ ..] => Ok(Some(next)),
        [] | [b'\r'] => Ok(None),
        _ => Err(why),
    }
}
