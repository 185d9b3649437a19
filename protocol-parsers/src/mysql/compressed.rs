//! The compressed protocol: packets inside frames, each of which begins with its length, a sequence id and the length of what
//! it holds; the latter is 0 where that is stored as it is.
//!
//! In: a chunk. Out: the bytes of the packets, as they come out of each frame. A stored frame is passed on as it arrives. A
//! compressed one is waited for, kept by the tracker: whole, or as much as [`PREFIX`] of it; what that does not give is a hole
//! of known length in the packets. So a long statement is known by its beginning, and a result in such frames is not counted.
//! All bytes of a compressed frame carry the marks of its ends, and what counts as bytes of an exchange is what it held.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression.html>

use std::io::Read;

use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::packets::Input;
use super::resume::Verdict;
use super::wire::Wire;
use super::{Mysql, REQUESTS, RESPONSES};
use crate::contract::{Chunk, MAX_REST, Malformed, Role, Used};
use crate::exchange::{Incomplete, Output};

const HEADER: usize = 7;

/// As much of a compressed frame is read: less than the tracker keeps. A server's frames hold 16 KiB at most, but for long rows.
const PREFIX: usize = 12 * 1024;
const _: () = assert!(HEADER + PREFIX < MAX_REST);

/// Frames of zstd that hold more are not read: its decoder needs that much memory at once.
const MAX_WINDOW: u32 = 128 * 1024;

/// Where one direction's frames stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    /// Bytes of a stored frame to come.
    stored: u32,
    /// Bytes of a frame to come that are not read.
    unread: u32,
    /// The newest frame's sequence id.
    seq: u8,
}

impl Frames {
    /// No frame is being received.
    pub(super) fn between(&self) -> bool {
        self.stored == 0 && self.unread == 0
    }

    /// Bytes are missing. Gives how many of them are missing from the packets; `None`: nobody knows.
    pub(super) fn skip(&mut self, len: Option<u64>) -> Option<u64> {
        let len = u32::try_from(len?).ok();
        match len {
            Some(len) if len <= self.unread => {
                self.unread -= len;
                Some(0)
            }
            Some(len) if len <= self.stored => {
                self.stored -= len;
                Some(len.into())
            }
            _ => {
                *self = Self::default();
                None
            }
        }
    }

    /// How many of the next bytes are of no interest, if so many of the packets' are.
    pub(super) fn skippable(&self, packets: u64) -> u64 {
        if self.unread > 0 { self.unread.into() } else { packets.min(self.stored.into()) }
    }
}

struct Header {
    len: u32,
    seq: u8,
    holds: u32,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let mut wire = Wire(bytes);
    Some(Header { len: wire.u24()?, seq: wire.u8()?, holds: wire.u24()? })
}

impl Mysql {
    /// Reads frames from `at` on.
    pub(super) fn frames(
        &mut self,
        role: Role,
        direction: usize,
        chunk: &Chunk<'_>,
        mut at: usize,
        out: &mut Output,
    ) -> Result<Used, Malformed> {
        while let Some(rest) = chunk.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(frames) = self.frames.get_mut(direction) else { break };
            if frames.unread > 0 {
                let used = rest.len().min(frames.unread as usize);
                frames.unread -= u32::try_from(used).unwrap_or(frames.unread);
                at += used;
                continue;
            }
            if frames.stored > 0 {
                let used = rest.len().min(frames.stored as usize);
                frames.stored -= u32::try_from(used).unwrap_or(frames.stored);
                at += used;
                self.feed(role, direction, &mut Input::part(chunk, at - used, at), out)?;
            } else {
                let Some(Header { len, seq, holds }) = header(rest) else { return Ok(Used(at)) };
                if len == 0 {
                    return Err(Malformed("an empty frame"));
                }
                frames.seq = seq;
                if direction == RESPONSES {
                    self.pairing.frame_begins(self.responses.between().then_some(seq));
                }
                if holds == 0 {
                    frames.stored = len;
                    at += HEADER;
                    continue;
                }
                let have = PREFIX.min(len as usize);
                let Some(bytes) = rest.get(HEADER..HEADER + have) else { return Ok(Used(at)) };
                let last = at + HEADER + have - 1;
                let first = std::mem::replace(&mut at, last + 1);
                frames.unread = len - u32::try_from(have).unwrap_or(len);
                let whole = frames.unread == 0;
                let unpacked = unpack(bytes, holds, whole, &mut |piece| {
                    self.feed(role, direction, &mut Input::inflated(chunk, piece, first, last), out)
                })?;
                if unpacked < holds && !self.over {
                    self.not_unpacked(direction, holds - unpacked, chunk, last, out);
                }
            }
            if self.over || self.lost.get(direction) == Some(&true) {
                return Ok(Used(chunk.bytes.len()));
            }
        }
        Ok(Used(at))
    }

    /// So many bytes of packets were not unpacked.
    fn not_unpacked(&mut self, direction: usize, len: u32, chunk: &Chunk<'_>, last: usize, out: &mut Output) {
        if self.count(direction, len.into(), chunk.mark(last), out) {
            return;
        }
        self.lose(direction);
        if direction == REQUESTS {
            self.pairing.request_lost(Incomplete::Truncated, out);
        } else {
            self.pairing.response_lost(Incomplete::Truncated, true, out);
        }
    }

    /// Judges a frame by what it holds: does a message begin here?
    pub(super) fn frame(&self, direction: usize, bytes: &[u8], judge: impl Fn(&[u8]) -> Verdict) -> Verdict {
        let Some(Header { len, seq, .. }) = header(bytes) else { return Verdict::More };
        let asked = self.frames.first().map_or(0, |frames| frames.seq);
        let expected = if direction == RESPONSES { asked.wrapping_add(1) } else { 0 };
        if len == 0 || seq != expected {
            return Verdict::No;
        }
        if bytes.len() < HEADER + PREFIX.min(len as usize) {
            return Verdict::More;
        }
        let verdict = first(bytes, seq).map_or(Verdict::No, |front| judge(&front));
        // What is longer than its frame is not looked for.
        if verdict == Verdict::More { Verdict::No } else { verdict }
    }
}

/// What the first frame of some bytes holds, as much of it as is read; `None`: they do not begin with a whole frame that has
/// this sequence id, or with as much of one as is read.
pub(super) fn first(bytes: &[u8], seq: u8) -> Option<Vec<u8>> {
    let found = header(bytes).filter(|header| header.seq == seq && header.len > 0)?;
    let bytes = bytes.get(HEADER..HEADER + PREFIX.min(found.len as usize))?;
    if found.holds == 0 {
        return Some(bytes.to_vec());
    }
    let mut front = Vec::new();
    let mut collect = |piece: &[u8]| {
        front.extend_from_slice(piece);
        if front.len() > 4 * PREFIX { Err(BROKEN) } else { Ok(()) }
    };
    let unpacked = unpack(bytes, found.holds, bytes.len() == found.len as usize, &mut collect);
    // So much of a long one tells enough.
    (unpacked.is_ok() || front.len() > 4 * PREFIX).then_some(front)
}

/// What is unpacked at once.
const PIECE: usize = 4 * 1024;

/// Unpacks the front of a frame, at most as much as it says to hold, and gives how much that was.
fn unpack(
    bytes: &[u8],
    holds: u32,
    whole: bool,
    each: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
) -> Result<u32, Malformed> {
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd(bytes, holds, whole, each)
    } else {
        zlib(bytes, holds, whole, each)
    }
}

const BROKEN: Malformed = Malformed("a frame that holds something else than it says");

fn zlib(
    mut bytes: &[u8],
    holds: u32,
    whole: bool,
    each: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
) -> Result<u32, Malformed> {
    let mut stream = Decompress::new(true);
    let mut piece = [0; PIECE];
    loop {
        let (taken, given) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(bytes, &mut piece, FlushDecompress::None).map_err(|_| BROKEN)?;
        let used = usize::try_from(stream.total_in() - taken).unwrap_or(0);
        let new = usize::try_from(stream.total_out() - given).unwrap_or(0);
        bytes = bytes.get(used..).unwrap_or_default();
        let total = u32::try_from(stream.total_out()).unwrap_or(u32::MAX);
        if total > holds {
            return Err(BROKEN);
        }
        each(piece.get(..new).unwrap_or_default())?;
        match status {
            Status::StreamEnd if total == holds => return Ok(total),
            Status::Ok | Status::BufError if used > 0 || new > 0 => {}
            Status::Ok | Status::BufError if !whole => return Ok(total),
            _ => return Err(BROKEN),
        }
    }
}

fn zstd(
    bytes: &[u8],
    holds: u32,
    whole: bool,
    each: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
) -> Result<u32, Malformed> {
    if holds > MAX_WINDOW || !whole {
        return Ok(0);
    }
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW.into());
    let mut source = bytes;
    decoder.init(&mut source).map_err(|_| BROKEN)?;
    // A block holds 128 KiB at most, so that no more than that is unpacked in vain.
    decoder.decode_blocks(&mut source, BlockDecodingStrategy::UptoBytes(holds as usize)).map_err(|_| BROKEN)?;
    if !decoder.is_finished() || decoder.can_collect() != holds as usize {
        return Err(BROKEN);
    }
    let mut piece = [0; PIECE];
    loop {
        match decoder.read(&mut piece).map_err(|_| BROKEN)? {
            0 => return Ok(holds),
            new => each(piece.get(..new).unwrap_or_default())?,
        }
    }
}
