//! Bytes that wait, with their marks, until the protocol of their connection is known.
//!
//! In: chunks of both directions. Out: the sample to judge, then the same chunks again in the same order.

use sidelight_protocol_parsers::{
    Chunk, Direction, MAX_REST, Mark,
    detect::{Candidates, Sample},
};

use super::{buffers::Buffers, counts::Counts};

/// First bytes of both directions.
#[derive(Default)]
pub(super) struct Waiting {
    data: [Vec<u8>; 2],
    parts: Vec<Part>,
    /// What they may be.
    pub(super) candidates: Candidates,
    /// Bytes that were judged and dropped (a connection joined in the middle).
    pub(super) dropped: u64,
}

/// A chunk without its bytes.
struct Part {
    head: Chunk<'static>,
    len: usize,
}

impl Waiting {
    /// The sample; what detection knows besides the bytes is filled in by the caller.
    pub(super) fn sample(&self) -> Sample<'_> {
        let [ingress, egress] = self.data.each_ref().map(|data| data.get(..MAX_REST).unwrap_or(data));
        Sample { ingress, egress, from_start: false, role: None, tls: false, port: None, program: "" }
    }

    /// The mark of the first byte that waits.
    pub(super) fn first(&self) -> Option<Mark> {
        self.parts.first().map(|part| part.head.mark(0))
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether no more should wait.
    pub(super) fn is_full(&self) -> bool {
        self.parts.len() >= PARTS || self.data.iter().any(|data| data.len() >= MAX_REST)
    }

    /// Keeps a chunk.
    pub(super) fn push(&mut self, chunk: &Chunk<'_>, counts: &mut Counts, buffers: &mut Buffers) {
        let before = self.parts_memory();
        self.parts.push(Part { head: Chunk { bytes: &[], ..*chunk }, len: chunk.bytes.len() });
        buffers.resized(before, self.parts_memory());
        let [ingress, egress] = &mut self.data;
        let data = match chunk.dir {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        };
        if data.is_empty() {
            *data = buffers.copy(chunk.bytes);
        } else {
            buffers.append(data, chunk.bytes);
        }
        counts.bytes.buffered += chunk.bytes.len() as u64;
    }

    /// Gives the chunks back in the order in which they came.
    pub(super) fn replay(&self, mut each: impl FnMut(Chunk<'_>)) {
        let mut at = [0; 2];
        for part in &self.parts {
            let ([ingress, egress], [from_ingress, from_egress]) = (&self.data, &mut at);
            let (data, from) = match part.head.dir {
                Direction::Ingress => (ingress, from_ingress),
                Direction::Egress => (egress, from_egress),
            };
            let bytes = data.get(*from..*from + part.len).unwrap_or_default();
            *from += part.len;
            each(Chunk { bytes, ..part.head });
        }
    }

    /// Drops everything; returns how many bytes waited.
    pub(super) fn clear(&mut self, counts: &mut Counts, buffers: &mut Buffers) -> u64 {
        let len = self.data.iter().map(Vec::len).sum::<usize>() as u64;
        counts.bytes.buffered -= len;
        buffers.resized(self.parts_memory(), 0);
        self.parts = Vec::new();
        self.candidates = Candidates::default();
        for data in &mut self.data {
            buffers.put(std::mem::take(data));
        }
        len
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.parts_memory() + self.data.iter().map(Vec::capacity).sum::<usize>()
    }

    fn parts_memory(&self) -> usize {
        self.parts.capacity() * size_of::<Part>()
    }
}

/// Most chunks kept: 64 KiB of marks.
const PARTS: usize = 512;
