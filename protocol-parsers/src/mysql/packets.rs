//! One direction's packets: a length of three bytes, a sequence id, a payload; a payload of 0xffffff bytes goes on in the next
//! packet.
//!
//! In: bytes, however divided. Out: for each message its front, as long as is wanted of it, and its end. Nothing is left
//! unread: a front that does not lie in one piece is collected here, the rest of a message is counted.

use std::borrow::Cow;

use crate::contract::{Chunk, Malformed, Mark};

/// A packet of this length is continued by the next one.
pub(super) const MAX_PACKET: u32 = 0x00ff_ffff;

/// Bytes to be parsed: those of a chunk, or what a compressed frame of it holds.
pub(super) struct Input<'a> {
    chunk: &'a Chunk<'a>,
    bytes: &'a [u8],
    at: usize,
    /// The frame's first and last byte in the chunk.
    frame: Option<(usize, usize)>,
}

impl<'a> Input<'a> {
    /// A part of a chunk, as it is.
    pub(super) fn part(chunk: &'a Chunk<'a>, at: usize, end: usize) -> Self {
        Self { chunk, bytes: chunk.bytes.get(..end).unwrap_or(chunk.bytes), at, frame: None }
    }

    /// What a frame held whose ends are there in the chunk.
    pub(super) fn inflated(chunk: &'a Chunk<'a>, bytes: &'a [u8], first: usize, last: usize) -> Self {
        Self { chunk, bytes, at: 0, frame: Some((first, last)) }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn first(&self, at: usize) -> Mark {
        self.chunk.mark(self.frame.map_or(at, |(first, _)| first))
    }

    /// The mark of the last byte taken.
    pub(super) fn last(&self) -> Mark {
        let at = match self.frame {
            Some((_, last)) => last,
            None => self.at.saturating_sub(1),
        };
        self.chunk.mark(at)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a header.
    Header,
    /// In the front of a message.
    Front,
    /// Behind it.
    Body,
}

/// One direction.
pub(super) struct Lane {
    state: State,
    head: [u8; 4],
    have: u8,
    /// The newest packet's sequence id.
    seq: u8,
    /// A further packet belongs to the message.
    more: bool,
    /// Payload bytes of the newest packet to come.
    left: u32,
    /// Length of the message's first packet.
    len: u32,
    /// Bytes of the message so far, headers included.
    taken: u64,
    /// Where in this input the message began; else it began in an older one, at `first`.
    start: Option<usize>,
    first: Mark,
    kept: Vec<u8>,
}

/// The first bytes of a message.
pub(super) struct Front<'a> {
    pub(super) seq: u8,
    /// Length of its first packet.
    pub(super) len: u32,
    pub(super) bytes: Cow<'a, [u8]>,
    /// Its first byte's.
    pub(super) first: Mark,
    /// Bytes of it so far, headers included.
    pub(super) taken: u64,
}

impl Front<'_> {
    /// Nothing of the message lies behind these bytes.
    pub(super) fn whole(&self) -> bool {
        self.bytes.len() as u64 == u64::from(self.len) && self.len < MAX_PACKET
    }
}

pub(super) enum Step<'a> {
    /// The input is used up.
    More,
    Front(Front<'a>),
    /// The message whose front was given last ended.
    End,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            state: State::Header,
            head: [0; 4],
            have: 0,
            seq: 0,
            more: false,
            left: 0,
            len: 0,
            taken: 0,
            start: None,
            first: Mark::default(),
            kept: Vec::new(),
        }
    }

    /// The newest packet's sequence id.
    pub(super) fn seq(&self) -> u8 {
        self.seq
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.kept.capacity()
    }

    /// The front of a message was given, and its end was not.
    pub(super) fn inside(&self) -> bool {
        self.state == State::Body || (self.state == State::Header && self.more)
    }

    /// A message began of which the front was not given.
    pub(super) fn pending(&self) -> bool {
        self.state == State::Front || self.have > 0
    }

    /// The next byte begins a message.
    pub(super) fn between(&self) -> bool {
        self.state == State::Header && self.have == 0 && !self.more
    }

    /// How many of the next bytes are of no interest.
    pub(super) fn skippable(&self) -> u64 {
        if self.state == State::Body { self.left.into() } else { 0 }
    }

    /// Goes on. `want`, asked with the first byte and the first packet's length, says how long a front is wanted.
    pub(super) fn take<'a>(
        &mut self,
        input: &mut Input<'a>,
        want: impl Fn(u8, u32) -> u32,
    ) -> Result<Step<'a>, Malformed> {
        loop {
            let rest = input.rest();
            match self.state {
                State::Header => {
                    if rest.is_empty() {
                        return Ok(self.pause(input));
                    }
                    if self.have == 0 && !self.more {
                        self.start = Some(input.at);
                        self.taken = 0;
                    }
                    let [low, middle, high, seq] = match rest.first_chunk::<4>() {
                        Some(head) if self.have == 0 => {
                            self.taken += 4;
                            input.at += 4;
                            *head
                        }
                        _ => {
                            let free = self.head.iter_mut().skip(self.have.into());
                            let copied = free.zip(rest).map(|(to, from)| *to = *from).count();
                            self.have += u8::try_from(copied).unwrap_or(4);
                            self.taken += copied as u64;
                            input.at += copied;
                            if self.have < 4 {
                                return Ok(self.pause(input));
                            }
                            self.have = 0;
                            self.head
                        }
                    };
                    self.left = u32::from_le_bytes([low, middle, high, 0]);
                    if std::mem::replace(&mut self.more, self.left == MAX_PACKET) {
                        if seq != self.seq.wrapping_add(1) {
                            return Err(Malformed("a packet out of sequence"));
                        }
                        self.state = State::Body;
                    } else {
                        self.len = self.left;
                        self.state = State::Front;
                    }
                    self.seq = seq;
                }
                State::Front => {
                    let first = self.kept.first().or_else(|| rest.first()).copied();
                    let wanted = match first {
                        None if self.len > 0 => return Ok(self.pause(input)),
                        None => 0,
                        Some(first) => want(first, self.len).min(self.len),
                    };
                    let missing = (wanted as usize).saturating_sub(self.kept.len());
                    let bytes = rest.get(..missing).unwrap_or(rest);
                    input.at += bytes.len();
                    self.taken += bytes.len() as u64;
                    let bytes = if self.kept.is_empty() && bytes.len() == missing {
                        Cow::Borrowed(bytes)
                    } else {
                        self.kept.reserve_exact(missing);
                        self.kept.extend_from_slice(bytes);
                        if bytes.len() < missing {
                            return Ok(self.pause(input));
                        }
                        Cow::Owned(std::mem::take(&mut self.kept))
                    };
                    return Ok(Step::Front(self.front(bytes, Some(input))));
                }
                State::Body => {
                    let skipped = rest.len().min(self.left as usize);
                    input.at += skipped;
                    self.taken += skipped as u64;
                    self.left -= u32::try_from(skipped).unwrap_or(self.left);
                    if self.left > 0 {
                        return Ok(self.pause(input));
                    }
                    self.state = State::Header;
                    if !self.more {
                        return Ok(Step::End);
                    }
                }
            }
        }
    }

    fn front<'a>(&mut self, bytes: Cow<'a, [u8]>, input: Option<&Input<'_>>) -> Front<'a> {
        self.state = State::Body;
        self.left = self.len - u32::try_from(bytes.len()).unwrap_or(self.len).min(self.len);
        let first = match (self.start, input) {
            (Some(start), Some(input)) => input.first(start),
            _ => self.first,
        };
        Front { seq: self.seq, len: self.len, bytes, first, taken: self.taken }
    }

    fn pause(&mut self, input: &Input<'_>) -> Step<'static> {
        if let Some(start) = self.start.take() {
            self.first = input.first(start);
        }
        Step::More
    }

    /// Takes rows that lie whole in the input, up to whatever may end them; gives how many. `next` is the sequence id expected.
    pub(super) fn rows(&mut self, input: &mut Input<'_>, next: u8) -> u64 {
        if !self.between() {
            return 0;
        }
        let (mut rows, mut seq) = (0, next);
        while let Some(&[low, middle, high, id, first, ..]) = input.rest().first_chunk::<5>() {
            let len = u32::from_le_bytes([low, middle, high, 0]);
            let end = len as usize + 4;
            if id != seq || first >= 0xfe || len == 0 || len == MAX_PACKET || input.rest().len() < end {
                break;
            }
            input.at += end;
            (rows, seq) = (rows + 1, seq.wrapping_add(1));
        }
        if rows > 0 {
            self.seq = seq.wrapping_sub(1);
        }
        rows
    }

    /// Bytes are missing: how many of them, at most, lie inside a message whose front was given. They count as taken.
    pub(super) fn skip(&mut self, len: u64) -> Option<Skipped> {
        if self.state != State::Body {
            return None;
        }
        let left = u64::from(self.left).checked_sub(len)?;
        self.left = u32::try_from(left).unwrap_or(0);
        self.taken += len;
        if left > 0 {
            return Some(Skipped::Inside);
        }
        self.state = State::Header;
        Some(if self.more { Skipped::Inside } else { Skipped::End })
    }

    /// Bytes are missing: gives a front that will not be as long as was wanted, if it is not empty.
    pub(super) fn cut(&mut self) -> Option<Front<'static>> {
        if self.state != State::Front || self.kept.is_empty() {
            return None;
        }
        let kept = Cow::Owned(std::mem::take(&mut self.kept));
        Some(self.front(kept, None))
    }
}

/// What a hole did to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// The message goes on.
    Inside,
    /// It ended exactly where the message does.
    End,
}
