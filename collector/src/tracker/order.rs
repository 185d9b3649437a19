//! The order of one connection's bytes: each direction strictly by offset, a read not before the writes it followed.
//!
//! In: [`Piece`]s in any order. Out: [`Step`]s in the order in which a parser must see them. A piece that cannot be
//! delivered at once is held; when it was held for too long, or too much is held, what is missing in front becomes a hole.
//! A write never waits for a read. But it proves that reads held with an earlier egress position came before it: they are
//! delivered first, and a gap in front of them is settled at once. (Of packets only up to what their sender had received.)

use std::collections::VecDeque;

use sidelight_protocol_parsers::{Direction, KernelTime, Mark};

use super::{buffers::Buffers, piece::Piece};

/// How long and how much may be held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) now: KernelTime,
    /// What was held for so long is overdue.
    pub(super) hold_ns: u64,
    /// More than this makes the oldest overdue.
    pub(super) bytes: usize,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// A held piece, in order now; the first `overlap` bytes of it were delivered meanwhile, and the piece is trimmed.
    Data { piece: Piece, bytes: Vec<u8>, overlap: u64 },
    /// Nothing will come for this range.
    Hole { dir: Direction, from: u64, to: u64, mark: Mark },
}

/// What to do with a piece that just came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Deliver it, after all steps of [`Order::before`].
    Now,
    /// Hold it.
    Early,
    /// Nothing new in it.
    Duplicate,
}

/// One connection's positions and held pieces.
#[derive(Debug, Default)]
pub(super) struct Order {
    sides: [Side; 2],
    held_bytes: usize,
}

#[derive(Debug, Default)]
struct Side {
    /// Position up to which everything was delivered.
    next: Place,
    /// The last position widened.
    wide: Place,
    /// Where the direction ends, once known.
    end: Place,
    held: Queue,
    /// Something was delivered.
    begun: bool,
    /// Where it begins was said, not supposed from what came first.
    announced: bool,
}

/// A position, or none, in the eight bytes of one: there are as many of them as there are connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u64);

impl Place {
    const NONE: Self = Self(u64::MAX);

    fn get(self) -> Option<u64> {
        (self != Self::NONE).then_some(self.0)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::NONE
    }
}

/// What a direction holds, sorted by offset. Nearly always nothing, which takes no memory.
#[derive(Debug, Default)]
struct Queue(#[expect(clippy::box_collection, reason = "nearly always there is none")] Option<Box<VecDeque<Held>>>);

impl Queue {
    fn get(&self) -> &VecDeque<Held> {
        static NOTHING: VecDeque<Held> = VecDeque::new();
        self.0.as_deref().unwrap_or(&NOTHING)
    }

    fn front(&self) -> Option<&Held> {
        self.get().front()
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn insert(&mut self, index: usize, held: Held) {
        self.0.get_or_insert_default().insert(index, held);
    }

    fn pop(&mut self) -> Option<Held> {
        let held = self.0.as_mut()?.pop_front();
        self.0.take_if(|queue| queue.is_empty());
        held
    }
}

#[derive(Debug)]
struct Held {
    piece: Piece,
    bytes: Vec<u8>,
    since: KernelTime,
}

impl Order {
    /// Both directions begin at 0 (counters kept by the hooks).
    pub(super) fn from_zero() -> Self {
        let side = || Side { next: Place(0), wide: Place(0), announced: true, ..Side::default() };
        Self { sides: [side(), side()], held_bytes: 0 }
    }

    /// The 64-bit position of a 32-bit sequence number: the one nearest to the last.
    pub(super) fn widen(&mut self, dir: Direction, seq: u64) -> u64 {
        let side = self.side_mut(dir);
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers count modulo 2^32")]
        let seq = seq as u32;
        let wide = match side.wide.get() {
            None => (1 << 32) + u64::from(seq),
            #[expect(clippy::cast_possible_truncation, reason = "distance modulo 2^32")]
            Some(last) => last.saturating_add_signed(i64::from(seq.wrapping_sub(last as u32).cast_signed())),
        };
        side.wide = Place(wide);
        wide
    }

    /// The connection's position when it was announced. Moves a position back only while nothing was delivered.
    pub(super) fn begins(&mut self, dir: Direction, position: u64) {
        let side = self.side_mut(dir);
        if !side.begun && side.next.get().is_none_or(|next| position <= next) {
            (side.next, side.announced) = (Place(position), true);
        }
    }

    /// Whether a direction's next byte is its first, at a place that was not announced.
    pub(super) fn unannounced(&self, dir: Direction) -> bool {
        let side = self.side(dir);
        !side.begun && !side.announced
    }

    /// Whether nothing is held.
    pub(super) fn holds_nothing(&self) -> bool {
        self.sides.iter().all(|side| side.held.is_empty())
    }

    /// The position at which a direction ends.
    pub(super) fn ends(&mut self, dir: Direction, position: u64) {
        self.side_mut(dir).end = Place(position);
    }

    /// Whether everything up to the known end was delivered. One byte of tolerance: a FIN takes a sequence number, and
    /// whether a position counts it depends on the moment it was read.
    pub(super) fn ended(&self, dir: Direction) -> bool {
        let side = self.side(dir);
        let (Some(next), Some(end)) = (side.next.get(), side.end.get()) else { return false };
        side.held.is_empty() && next.saturating_add(1) >= end
    }

    /// Bytes before the known end that were never seen: from and to.
    pub(super) fn missing_at_end(&self, dir: Direction) -> Option<(u64, u64)> {
        let side = self.side(dir);
        let (next, end) = (side.next.get()?, side.end.get()?);
        (end > next.saturating_add(1)).then_some((next, end))
    }

    /// Judges a piece that just came, and trims from it what was delivered before (returned as a byte count).
    pub(super) fn arrive(&mut self, piece: &mut Piece) -> (Arrival, u64) {
        let [ingress, egress] = &mut self.sides;
        let written = egress.next.get();
        let (side, waits) = match piece.dir {
            Direction::Ingress => (ingress, piece.other.is_some_and(|other| written.is_none_or(|at| at < other))),
            Direction::Egress => {
                // A read that waits knows how much was written before it.
                let known = ingress.held.front().and_then(|read| read.piece.other);
                if let Some(position) = known.filter(|position| written.is_none() && *position < piece.offset) {
                    egress.next = Place(position);
                }
                (egress, false)
            }
        };
        let mut trimmed = 0;
        if let Some(next) = side.next.get() {
            if piece.end() <= next {
                return (Arrival::Duplicate, piece.len);
            }
            trimmed = piece.trim(next);
        } else if !waits && side.held.is_empty() {
            side.next = Place(piece.offset);
        }
        let arrival = if waits || side.next != Place(piece.offset) { Arrival::Early } else { Arrival::Now };
        (arrival, trimmed)
    }

    /// Holds a piece. Returns false if another held piece covers it: then it was not kept.
    pub(super) fn hold(&mut self, piece: Piece, bytes: &[u8], since: KernelTime, buffers: &mut Buffers) -> bool {
        let side = self.side_mut(piece.dir);
        let held = side.held.get();
        let index = held.partition_point(|held| held.piece.offset <= piece.offset);
        if index.checked_sub(1).and_then(|i| held.get(i)).is_some_and(|held| held.piece.end() >= piece.end()) {
            return false;
        }
        // A piece inherits the age of those behind it, so that the front is always the oldest.
        let since = held.get(index).map_or(since, |behind| since.min(behind.since));
        side.held.insert(index, Held { piece, bytes: buffers.copy(bytes), since });
        buffers.resized(0, HELD);
        self.held_bytes += cost(bytes);
        true
    }

    /// What must be delivered before a piece that may be delivered now.
    pub(super) fn before(&mut self, piece: &Piece) -> Option<Step> {
        match piece.dir {
            Direction::Ingress => None,
            Direction::Egress => self.reads_before(piece.offset, piece),
        }
    }

    /// Notes that a piece, or a hole, was delivered up to `position`.
    pub(super) fn delivered(&mut self, dir: Direction, position: u64) {
        let side = self.side_mut(dir);
        side.begun = true;
        side.next = Place(position);
    }

    /// The next step among what is held; `None`: nothing, or it may wait.
    pub(super) fn next(&mut self, patience: Patience) -> Option<Step> {
        let [ingress, egress] = &self.sides;
        if let Some(front) = ingress.held.front()
            && ingress.next.get().is_none_or(|next| front.piece.offset <= next)
            && front.piece.other.is_none_or(|other| egress.next.get().is_some_and(|at| at >= other))
        {
            return self.pop(Direction::Ingress);
        }
        if let Some(front) = egress.held.front()
            && egress.next.get().is_none_or(|next| front.piece.offset <= next)
        {
            let piece = front.piece;
            let step = self.reads_before(piece.offset, &piece);
            return step.or_else(|| self.pop(Direction::Egress));
        }
        self.settle(patience)
    }

    /// When the oldest held piece came.
    pub(super) fn held_since(&self) -> Option<KernelTime> {
        self.sides.iter().filter_map(|side| side.held.front()).map(|held| held.since).min()
    }

    /// Drops everything held; returns how many bytes (true length) that was.
    pub(super) fn drop_held(&mut self, buffers: &mut Buffers) -> u64 {
        let mut dropped = 0;
        for held in self.sides.iter_mut().filter_map(|side| side.held.0.take()).flat_map(|queue| *queue) {
            dropped += held.piece.len;
            buffers.put(held.bytes);
            buffers.resized(HELD, 0);
        }
        self.held_bytes = 0;
        dropped
    }

    /// Forgets where the directions stand: the next piece of each defines it.
    pub(super) fn forget(&mut self) {
        self.sides = Default::default();
    }

    /// Bytes held, with what holding costs.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Held reads that came before a write at `position`, with the gap in front of them.
    fn reads_before(&mut self, position: u64, write: &Piece) -> Option<Step> {
        let [ingress, _] = &self.sides;
        let front = ingress.held.front()?.piece;
        let received = !write.packet || write.other.is_some_and(|acknowledged| front.offset < acknowledged);
        if front.other.is_some_and(|other| other > position) || !received {
            return None;
        }
        match ingress.next.get() {
            Some(next) if next < front.offset => Some(hole(&front, next, front.offset, Direction::Ingress)),
            _ => self.pop(Direction::Ingress),
        }
    }

    /// Declares what is missing in front of the oldest overdue piece lost.
    fn settle(&mut self, patience: Patience) -> Option<Step> {
        let full = self.held_bytes > patience.bytes;
        let [ingress, egress] = &mut self.sides;
        let overdue = |side: &Side| {
            let front = side.held.front()?;
            (full || patience.now.since(front.since) >= patience.hold_ns).then_some(front.piece)
        };
        let next_write = egress.held.front().map(|held| held.piece.offset);
        if let Some(read) = overdue(ingress) {
            let Some(other) = read.other.filter(|other| egress.next.get().is_none_or(|at| at < *other)) else {
                // It waits for a gap in its own direction.
                return Some(hole(&read, ingress.next.get()?, read.offset, Direction::Ingress));
            };
            let target = next_write.map_or(other, |write| write.min(other));
            return match egress.next.get() {
                Some(at) => Some(hole(&read, at, target, Direction::Egress)),
                None => {
                    egress.next = Place(target);
                    self.next(patience)
                }
            };
        }
        let write = overdue(egress)?;
        let at = egress.next.get()?;
        let read = ingress.held.front().and_then(|held| held.piece.other);
        match read {
            Some(other) if other <= at => {
                let step = self.reads_before(at, &write);
                Some(step.unwrap_or_else(|| hole(&write, at, write.offset, Direction::Egress)))
            }
            Some(other) => Some(hole(&write, at, write.offset.min(other), Direction::Egress)),
            None => Some(hole(&write, at, write.offset, Direction::Egress)),
        }
    }

    /// Takes the first held piece of a direction, trimmed to what is new in it.
    fn pop(&mut self, dir: Direction) -> Option<Step> {
        let side = self.side_mut(dir);
        let mut held = side.held.pop()?;
        let overlap = side.next.get().map_or(0, |next| held.piece.trim(next));
        self.held_bytes = self.held_bytes.saturating_sub(cost(&held.bytes));
        Some(Step::Data { piece: held.piece, bytes: held.bytes, overlap })
    }

    fn side(&self, dir: Direction) -> &Side {
        let [ingress, egress] = &self.sides;
        match dir {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }

    fn side_mut(&mut self, dir: Direction) -> &mut Side {
        let [ingress, egress] = &mut self.sides;
        match dir {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }
}

fn hole(seen_next: &Piece, from: u64, to: u64, dir: Direction) -> Step {
    let mark = Mark { offset: from, ..seen_next.mark(0) };
    Step::Hole { dir, from, to, mark }
}

fn cost(bytes: &[u8]) -> usize {
    bytes.len() + HELD
}

/// What holding a piece costs besides its bytes.
pub(super) const HELD: usize = size_of::<Held>();
