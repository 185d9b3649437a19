//! What one call moved, in the tracker's own terms.
//!
//! In: a `Data` record. Out: a [`Piece`], which can be trimmed, kept and turned into the parser's [`Chunk`].

use sidelight_events::{DataHeader, direction, flags, layer};
use sidelight_protocol_parsers::{Chunk, Direction, Kept, KernelTime, Lost, Mark};

/// A `Data` record without its bytes, positions widened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) dir: Direction,
    pub(super) packet: bool,
    /// Why bytes behind the captured ones are missing.
    pub(super) why: Lost,
    pub(super) offset: u64,
    /// Egress position a read waits for; of packets, what their sender had received.
    pub(super) other: Option<u64>,
    pub(super) len: u64,
    pub(super) begin_ns: u64,
    pub(super) end_ns: u64,
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) task: u64,
    pub(super) wire_seq: u32,
}

impl Piece {
    /// The piece of a record; `offset` and `other` still as in the record.
    pub(super) fn of(header: &DataHeader) -> Self {
        let dir = if header.direction == direction::EGRESS { Direction::Egress } else { Direction::Ingress };
        let packet = header.layer == layer::PACKET;
        let why = match header.flags {
            f if f & flags::CONTENDED != 0 => Lost::Contended,
            f if f & flags::FAULT != 0 => Lost::Fault,
            _ => Lost::Cut,
        };
        Self {
            dir,
            packet,
            why,
            offset: header.offset,
            other: (packet || dir == Direction::Ingress).then_some(header.other),
            len: u64::from(header.true_len),
            begin_ns: header.begin_ns,
            end_ns: header.end_ns,
            pid: header.tgid,
            tid: header.tid,
            task: header.task,
            wire_seq: header.wire_seq,
        }
    }

    /// Position behind its last byte.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    /// Drops what lies before `position`; returns how many bytes that was.
    pub(super) fn trim(&mut self, position: u64) -> u64 {
        let cut = position.saturating_sub(self.offset).min(self.len);
        self.offset += cut;
        self.len -= cut;
        self.wire_seq = self.wire_seq.wrapping_add(wrap(cut));
        cut
    }

    /// The captured bytes as a chunk, nothing kept in front.
    pub(super) fn chunk<'a>(&self, bytes: &'a [u8]) -> Chunk<'a> {
        Chunk {
            dir: self.dir,
            kept: Kept::default(),
            offset: self.offset,
            bytes,
            begin: (self.begin_ns != 0).then_some(KernelTime(self.begin_ns)),
            end: KernelTime(self.end_ns),
            pid: self.pid,
            tid: self.tid,
            task: self.task,
            wire_seq: self.wire_seq,
        }
    }

    /// The mark of its byte at `index`.
    pub(super) fn mark(&self, index: u64) -> Mark {
        let first = self.chunk(&[]).mark(0);
        Mark { offset: self.offset.saturating_add(index), wire_seq: self.wire_seq.wrapping_add(wrap(index)), ..first }
    }
}

/// Sequence numbers count modulo 2^32.
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is what is meant")]
fn wrap(bytes: u64) -> u32 {
    bytes as u32
}
