//! RESP2 and RESP3 (redis.io/docs/latest/develop/reference/protocol-spec): headers, and the walk over a reply of any depth.
//!
//! A reply is walked by counting what is still to come; nothing is kept of it. Streamed strings and aggregates, which the
//! specification names and no server sends, are not read.

use memchr::memchr;

use crate::contract::Malformed;

/// The longest header or number that is read: a sign and the 19 digits of the longest integer fit.
const MAX_HEADER: usize = 24;

/// Elements and bytes that one header may announce: `proto-max-bulk-len` and 2^31 elements are far below.
const MAX_COUNT: i64 = 1 << 40;

/// What a header was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// A number, and the length of the header with its line end.
    Number(i64, usize),
    /// More bytes are needed.
    More,
    /// None.
    Not,
}

/// Reads the number behind a type byte (the first of `bytes`) up to its CRLF.
#[inline]
pub(super) fn header(bytes: &[u8]) -> Header {
    // Nearly all have one digit, or two.
    match bytes {
        [_, one @ b'0'..=b'9', b'\r', b'\n', ..] => Header::Number(i64::from(one - b'0'), 4),
        [_, ten @ b'0'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Header::Number(i64::from(ten - b'0') * 10 + i64::from(one - b'0'), 5)
        }
        _ => long_header(bytes),
    }
}

fn long_header(bytes: &[u8]) -> Header {
    let (mut value, mut negative, mut digits) = (0_i64, false, 0_usize);
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                match value.checked_mul(10).and_then(|value| value.checked_add(i64::from(byte - b'0'))) {
                    Some(more) if at < MAX_HEADER => value = more,
                    _ => return Header::Not,
                }
            }
            b'-' if at == 1 => negative = true,
            b'\r' if digits > 0 => {
                return match bytes.get(at + 1) {
                    Some(b'\n') => Header::Number(if negative { -value } else { value }, at + 2),
                    Some(_) => Header::Not,
                    None => Header::More,
                };
            }
            _ => return Header::Not,
        }
    }
    Header::More
}

/// A header that announces elements or bytes; -1: null.
#[inline]
pub(super) fn count(bytes: &[u8]) -> Header {
    match header(bytes) {
        Header::Number(-1, len) => Header::Number(-1, len),
        Header::Number(number, len) if (0..=MAX_COUNT).contains(&number) => Header::Number(number, len),
        Header::Number(..) | Header::Not => Header::Not,
        Header::More => Header::More,
    }
}

/// Where a walk over elements stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walk {
    /// Elements still to come, of the reply itself.
    elements: u64,
    /// The same of what is nested in the current one.
    nested: u64,
    /// Bytes of the current string still to come, with its line end.
    payload: u64,
    /// In a line, whose end is looked for.
    line: bool,
}

/// What of a walk is worth knowing.
pub(super) trait Visitor {
    /// An element of the reply itself begins with these bytes, its header whole. False: more of them are needed.
    fn element(&mut self, bytes: &[u8]) -> bool;
}

/// Nothing is.
pub(super) struct Blind;

impl Visitor for Blind {
    fn element(&mut self, _: &[u8]) -> bool {
        true
    }
}

impl Walk {
    /// Over so many elements.
    pub(super) fn over(elements: u64) -> Self {
        Self { elements, ..Self::default() }
    }

    /// Over the rest of a line.
    pub(super) fn line() -> Self {
        Self { line: true, ..Self::default() }
    }

    /// Over so many bytes.
    pub(super) fn bytes(payload: u64) -> Self {
        Self { payload, ..Self::default() }
    }

    /// Nothing is still to come.
    pub(super) fn is_over(&self) -> bool {
        self.elements == 0 && self.nested == 0 && self.payload == 0 && !self.line
    }

    /// Bytes to come that say nothing.
    pub(super) fn skippable(&self) -> u64 {
        self.payload
    }

    /// Goes over bytes that are missing, if they are known to be of a string. Whether they are.
    pub(super) fn skip(&mut self, len: u64) -> bool {
        let inside = len <= self.payload;
        if inside {
            self.payload -= len;
        }
        inside
    }

    /// Goes on over `bytes`; gives how many it took. Less than all: the walk is over, or the last of them need more.
    ///
    /// # Errors
    /// [`Malformed`] where no element begins.
    pub(super) fn run(&mut self, bytes: &[u8], visitor: &mut impl Visitor) -> Result<usize, Malformed> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.payload > 0 {
                let len = usize::try_from(self.payload).unwrap_or(usize::MAX).min(rest.len());
                self.payload -= len as u64;
                at += len;
                continue;
            }
            if self.line {
                match memchr(b'\n', rest) {
                    Some(end) => {
                        self.line = false;
                        at += end + 1;
                    }
                    None => at = bytes.len(),
                }
                continue;
            }
            if self.elements == 0 && self.nested == 0 {
                break;
            }
            let kind = rest.first().copied().unwrap_or_default();
            let aggregate = match kind {
                b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => count(rest),
                b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {
                    if self.nested == 0 && !visitor.element(rest) {
                        break;
                    }
                    self.line = true;
                    self.passed();
                    at += 1;
                    continue;
                }
                _ => return Err(Malformed("no RESP type")),
            };
            let (number, len) = match aggregate {
                Header::Number(number, len) => (number, len),
                Header::More => break,
                Header::Not => return Err(Malformed("no RESP length")),
            };
            if self.nested == 0 && !visitor.element(rest) {
                break;
            }
            at += len;
            if kind != b'|' {
                self.passed();
            }
            let number = u64::try_from(number).ok();
            match (kind, number) {
                (b'$' | b'=' | b'!', Some(bytes)) => self.payload = bytes + 2,
                (b'*' | b'~' | b'>', Some(elements)) => self.nested = self.nested.saturating_add(elements),
                (b'%' | b'|', Some(pairs)) => self.nested = self.nested.saturating_add(2 * pairs),
                // Null.
                _ => {}
            }
        }
        Ok(at)
    }

    /// An element's header was read.
    fn passed(&mut self) {
        if self.nested > 0 {
            self.nested -= 1;
        } else {
            self.elements = self.elements.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_numbers_with_their_line_end() {
        assert_eq!(header(b"$12\r\nabc"), Header::Number(12, 5));
        assert_eq!(header(b":-7\r\n"), Header::Number(-7, 5));
        assert_eq!(count(b"*-1\r\n"), Header::Number(-1, 5));
        for more in ["$", "$1", "$12\r", ":-"] {
            assert_eq!(header(more.as_bytes()), Header::More, "{more}");
        }
        for not in
            ["$\r\n", "$x", "$1\n", "$1\rx", "$-\r\n", "$99999999999999999999\r\n", "$000000000000000000000000000"]
        {
            assert_eq!(header(not.as_bytes()), Header::Not, "{not}");
        }
        assert_eq!(count(b"$-2\r\n"), Header::Not);
        assert_eq!(count(b"$9999999999999\r\n"), Header::Not);
    }

    #[test]
    fn a_walk_ends_with_its_last_element_wherever_it_is_divided() {
        let reply = b"$3\r\na\r\n\r\n*2\r\n%1\r\n+k\r\n:1\r\n|1\r\n+a\r\n#t\r\n~2\r\n_\r\n,1.5\r\n=7\r\ntxt:abc\r\n(123\r\n!3\r\nERR\r\n";
        let all = [&reply[..], b"+next\r\n"].concat();
        for step in 1..all.len() {
            let (mut walk, mut at, mut kept) = (Walk::over(5), 0, 0);
            while !walk.is_over() {
                let end = (at + kept + step).min(all.len());
                let used = walk.run(&all[at..end], &mut Blind).expect("RESP");
                (at, kept) = (at + used, end - at - used);
            }
            assert_eq!(at, reply.len(), "step {step}");
        }
    }

    #[test]
    fn depth_costs_nothing() {
        let mut walk = Walk::over(1);
        let deep = b"*1\r\n".repeat(100_000);
        assert_eq!(walk.run(&deep, &mut Blind), Ok(deep.len()));
        assert_eq!(walk.run(b":1\r\n:2\r\n", &mut Blind), Ok(4));
        assert!(walk.is_over());
    }
}
