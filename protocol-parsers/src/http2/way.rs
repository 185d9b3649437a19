//! One direction of a connection: where it stands among its frames.

use super::hpack::{Decoder, Packed};
use super::stream::Place;

/// Where a direction stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing was seen: a client's preface comes next, or a frame.
    Start,
    /// Between frames.
    Frame,
    /// In a DATA frame.
    Data(Data),
    /// In a frame of a header block that is gathered.
    Block(u32),
    /// In a frame of no interest.
    Skip(u32),
    /// Anywhere.
    Lost,
    /// In what seems to be a frame: if a frame follows, it was one.
    Trial(Data),
}

/// A DATA frame that is being received: bytes left of its content and of its padding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) stream: u32,
    pub(super) ends: bool,
    pub(super) content: u32,
    pub(super) padding: u32,
}

/// A header block that comes in pieces.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) stream: u32,
    pub(super) pushed: bool,
    pub(super) ends: bool,
    /// Type and flags of the frame that is being received.
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) place: Place,
    pub(super) bytes: Vec<u8>,
    pub(super) too_long: bool,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) phase: Phase,
    pub(super) decoder: Decoder,
    pub(super) block: Option<Box<Gathered>>,
    /// Its frames were found in the middle, and no header block among them has shown yet that they are frames.
    pub(super) unproven: bool,
}

/// What stays of a direction while nothing is under way.
#[derive(Default)]
pub(super) struct Lasting {
    table: Packed,
    at: At,
    unproven: bool,
}

/// The [`Phase`]s in which nothing is under way.
#[derive(Default)]
enum At {
    #[default]
    Start,
    Frame,
    Lost,
}

impl Lasting {
    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.table.heap()
    }
}

impl Way {
    /// Of a connection seen from its start.
    pub(super) fn new() -> Self {
        Self::wake(&Lasting::default())
    }

    /// As it was.
    pub(super) fn wake(Lasting { table, at, unproven }: &Lasting) -> Self {
        let phase = match at {
            At::Start => Phase::Start,
            At::Frame => Phase::Frame,
            At::Lost => Phase::Lost,
        };
        Self { phase, decoder: Decoder::unpack(table), block: None, unproven: *unproven }
    }

    /// What stays of it, if nothing is under way.
    pub(super) fn rest(&self) -> Option<Lasting> {
        let at = match self.phase {
            _ if self.block.is_some() => return None,
            Phase::Start => At::Start,
            Phase::Frame => At::Frame,
            Phase::Lost => At::Lost,
            Phase::Block(_) | Phase::Data(_) | Phase::Skip(_) | Phase::Trial(_) => return None,
        };
        Some(Lasting { table: self.decoder.pack(), at, unproven: self.unproven })
    }
}
