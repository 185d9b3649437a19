//! Message bodies, counted and never kept (RFC 9112 sections 6 and 7).
//!
//! In: how a head frames its body, then bytes or lengths. Out: how many of them belong to the body, which, and where it ends.

use crate::rpc;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// All that comes until the connection ends.
    UntilClose,
    /// The head contradicts itself.
    Contradiction,
}

/// Where in a chunked body the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunked {
    /// Among the digits of a size: value and number of digits so far.
    Size(u64, u8),
    /// Behind the digits (extension, blanks), before the line feed.
    Extension(u64),
    /// In data.
    Data(u64),
    /// At the line end behind data.
    DataEnd,
    /// In the trailer section; the bytes of the current line so far, CR not counted.
    Trailer(u64),
}

/// What one look at the input gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of it belongs to the body, which goes on.
    All,
    /// The body ended after this many bytes.
    End(usize),
    /// The bytes are no chunked body.
    Broken,
}

/// What a hole did to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// It lay inside; the body goes on.
    Inside,
    /// It ended exactly where the body does.
    End,
    /// It reached beyond what was known.
    Lost,
}

/// A body that is being received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    state: State,
    /// Bytes of the body proper so far.
    payload: u64,
    /// That is all of them.
    counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Adrift,
    Chunked(Chunked),
    Length(u64),
    UntilClose,
}

impl Body {
    /// The body of a head that frames it so; `None` where no byte follows.
    pub(super) fn new(framing: Framing) -> Option<Self> {
        let state = match framing {
            Framing::None | Framing::Length(0) | Framing::Contradiction => return None,
            Framing::Length(len) => State::Length(len),
            Framing::Chunked => State::Chunked(Chunked::Size(0, 0)),
            Framing::UntilClose => State::UntilClose,
        };
        Some(Self { state, payload: 0, counted: true })
    }

    /// Bytes of the body proper, if all were counted.
    pub(super) fn payload(&self) -> Option<u64> {
        self.counted.then_some(self.payload)
    }

    /// Nothing of it came yet.
    pub(super) fn untouched(&self) -> bool {
        self.payload == 0 && self.counted && !matches!(self.state, State::Chunked(_))
    }

    /// It ends with the connection.
    pub(super) fn until_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Bytes of it were lost, nobody knows how many.
    pub(super) fn uncount(&mut self) {
        self.counted = false;
    }

    /// Its end will not be recognised in its own bytes any more.
    pub(super) fn adrift(&self) -> bool {
        self.state == State::Adrift
    }

    /// It is chunked and its place in the chunks was lost: only what happens in the other direction can end it.
    pub(super) fn set_adrift(&mut self) -> bool {
        let chunked = matches!(self.state, State::Chunked(_));
        if chunked {
            self.state = State::Adrift;
            self.counted = false;
        }
        chunked
    }

    /// How many of the next bytes are of no interest.
    pub(super) fn skippable(&self) -> u64 {
        match self.state {
            State::Length(left) | State::Chunked(Chunked::Data(left)) => left,
            State::UntilClose => u64::MAX,
            State::Chunked(_) | State::Adrift => 0,
        }
    }

    /// Counts bytes; `call` gets those of the body proper.
    pub(super) fn take(&mut self, bytes: &[u8], mut call: Option<&mut rpc::Body>) -> Taken {
        let mut read = |bytes: &[u8]| call.as_mut().map_or((), |call| call.take(bytes));
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.state {
                State::Adrift => return Taken::All,
                State::UntilClose => {
                    read(rest);
                    self.payload += rest.len() as u64;
                    return Taken::All;
                }
                State::Length(left) => {
                    let used = shorter(*left, rest.len());
                    *left -= used as u64;
                    read(rest.get(..used).unwrap_or_default());
                    self.payload += used as u64;
                    if *left == 0 {
                        return Taken::End(at + used);
                    }
                    at += used;
                }
                State::Chunked(Chunked::Data(left)) => {
                    let used = shorter(*left, rest.len());
                    *left -= used as u64;
                    if *left == 0 {
                        self.state = State::Chunked(Chunked::DataEnd);
                    }
                    read(rest.get(..used).unwrap_or_default());
                    self.payload += used as u64;
                    at += used;
                }
                State::Chunked(line) => {
                    let Some(&byte) = rest.first() else { break };
                    at += 1;
                    match line.step(byte) {
                        Step::To(next) => *line = next,
                        Step::End => return Taken::End(at),
                        Step::Broken => return Taken::Broken,
                    }
                }
            }
        }
        Taken::All
    }

    /// Counts bytes that nobody saw; `call` learns how many of them are of the body proper.
    pub(super) fn skip(&mut self, len: u64, call: Option<&mut rpc::Body>) -> Skipped {
        let (inside, skipped) = match &mut self.state {
            State::Adrift => return Skipped::Inside,
            State::UntilClose => (len, Skipped::Inside),
            State::Length(left) => {
                let Some(rest) = left.checked_sub(len) else { return Skipped::Lost };
                *left = rest;
                (len, if rest == 0 { Skipped::End } else { Skipped::Inside })
            }
            State::Chunked(Chunked::Data(left)) => {
                let inside = len.min(*left);
                // The line end behind data is two bytes: a hole may cover it without hiding a size.
                let next = match len - inside {
                    0 if inside < *left => Chunked::Data(*left - inside),
                    0 | 1 => Chunked::DataEnd,
                    2 => Chunked::Size(0, 0),
                    _ => return Skipped::Lost,
                };
                self.state = State::Chunked(next);
                (inside, Skipped::Inside)
            }
            State::Chunked(_) => return Skipped::Lost,
        };
        if let Some(call) = call {
            call.skip(inside);
        }
        self.payload += inside;
        skipped
    }
}

fn shorter(left: u64, have: usize) -> usize {
    usize::try_from(left).map_or(have, |left| left.min(have))
}

enum Step {
    To(Chunked),
    End,
    Broken,
}

impl Chunked {
    fn step(self, byte: u8) -> Step {
        Step::To(match (self, byte) {
            (Self::Size(size, digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // 15 digits: no sum of sizes overflows.
                if digits == 15 {
                    return Step::Broken;
                }
                let value = char::from(byte).to_digit(16).unwrap_or(0);
                Self::Size(size << 4 | u64::from(value), digits + 1)
            }
            (Self::Size(_, 0), _) => return Step::Broken,
            (Self::Size(size, _), b' ' | b'\t' | b';' | b'\r') => Self::Extension(size),
            (Self::Size(0, _) | Self::Extension(0), b'\n') => Self::Trailer(0),
            (Self::Size(size, _) | Self::Extension(size), b'\n') => Self::Data(size),
            (Self::Extension(size), _) => Self::Extension(size),
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size(0, 0),
            (Self::Trailer(0), b'\n') => return Step::End,
            (Self::Trailer(_), b'\n') => Self::Trailer(0),
            (Self::Trailer(line), b'\r') => Self::Trailer(line),
            (Self::Trailer(line), _) => Self::Trailer(line.saturating_add(1)),
            (Self::Size(..) | Self::Data(_) | Self::DataEnd, _) => return Step::Broken,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKS: &[u8] = b"4\r\nWiki\r\n5;name=\"a\"\r\npedia\r\n0a \r\n0123456789\r\n0\r\nX: y\r\n\r\nHTTP/1.1";

    fn chunked() -> Body {
        Body::new(Framing::Chunked).unwrap()
    }

    #[test]
    fn a_chunked_body_ends_at_the_same_byte_however_it_is_split() {
        let end = CHUNKS.len() - "HTTP/1.1".len();
        for cut in 0..=end {
            let mut body = chunked();
            let (a, b) = CHUNKS.split_at(cut);
            match body.take(a, None) {
                Taken::All => assert_eq!(body.take(b, None), Taken::End(end - cut)),
                other => assert_eq!((other, cut), (Taken::End(end), end)),
            }
            assert_eq!(body.payload(), Some(19));
        }
    }

    #[test]
    fn line_feeds_alone_end_lines_too() {
        assert_eq!(chunked().take(b"1\na\n0\n\nrest", None), Taken::End(7));
    }

    #[test]
    fn what_is_no_size_breaks() {
        for bad in ["\r\n", "g\r\n", " 1\r\n", "-1\r\n", "1x\r\n", "1234567890abcdef\r\n", "1\r\nab"] {
            assert_eq!(chunked().take(bad.as_bytes(), None), Taken::Broken, "{bad:?}");
        }
    }

    #[test]
    fn a_hole_inside_chunk_data_loses_nothing_and_one_over_a_size_does() {
        let mut body = chunked();
        assert_eq!(body.take(b"a\r\n01", None), Taken::All);
        assert_eq!(body.skip(3, None), Skipped::Inside);
        assert_eq!(body.take(b"56789\r\n0\r\n\r\n", None), Taken::End(12));
        assert_eq!(body.payload(), Some(10));
        for (len, skipped) in [
            (8, Skipped::Inside),
            (9, Skipped::Inside),
            (10, Skipped::Inside),
            (11, Skipped::Lost),
            (90, Skipped::Lost),
        ] {
            let mut body = chunked();
            body.take(b"a\r\n01", None);
            assert_eq!(body.skip(len, None), skipped, "{len}");
        }
        let mut body = chunked();
        body.take(b"a\r\n01", None);
        body.skip(10, None);
        assert_eq!(body.take(b"0\r\n\r\n", None), Taken::End(5));
    }

    #[test]
    fn a_length_is_counted_in_bytes_and_holes() {
        let mut body = Body::new(Framing::Length(10)).unwrap();
        assert_eq!(body.take(b"abc", None), Taken::All);
        assert_eq!(body.skippable(), 7);
        assert_eq!(body.skip(5, None), Skipped::Inside);
        assert_eq!(body.take(b"XYZ", None), Taken::End(2));
        let mut body = Body::new(Framing::Length(10)).unwrap();
        assert_eq!(body.skip(10, None), Skipped::End);
        assert_eq!(Body::new(Framing::Length(10)).unwrap().skip(11, None), Skipped::Lost);
    }
}
