//! One tracked connection, or one TLS object: its order, its stream, and how it ends.
//!
//! In: pieces, ends and the time. Out: ordered bytes into its [`Stream`].

use std::sync::Arc;

use sidelight_protocol_parsers::{Close, Direction, Hole, KernelTime, Lost, Mark};

use super::{
    Inside, Limits, Sink,
    counts::Counts,
    order::{Arrival, HELD, Order, Patience, Step},
    piece::Piece,
    stream::{Context, Ignored, Stream, ignore},
};
use crate::model::{Connection, Side};

/// A TLS object: its process and its address.
pub(super) type Object = (u32, u64);

/// One tracked connection. There are thousands, nearly all of them quiet: what few need is boxed.
pub(super) struct Entry {
    /// The TLS object it stands for; `None`: a socket.
    pub(super) object: Option<Box<Object>>,
    pub(super) order: Order,
    pub(super) stream: Stream,
    /// When something last happened.
    pub(super) seen: KernelTime,
    /// When its place in the table was last renewed.
    pub(super) touched: KernelTime,
    /// When it is to be woken; [`NEVER`]: by nothing that is known of yet.
    pub(super) due: KernelTime,
    /// It is a TLS object that is not tied to a connection yet.
    pub(super) unbound: bool,
    /// It comes from packets.
    packet: bool,
    ends: Option<Box<Ends>>,
}

/// How a connection ends, once it does.
#[derive(Default)]
struct Ends {
    halves: [Half; 2],
    closing: Option<Closing>,
}

#[derive(Clone, Copy, Default)]
enum Half {
    #[default]
    Open,
    Ending(Close, KernelTime),
    Ended,
}

/// The connection is gone; what was submitted before may still come.
#[derive(Clone, Copy)]
struct Closing {
    how: Close,
    at: KernelTime,
    until: KernelTime,
}

impl Entry {
    /// A connection seen for the first time.
    pub(super) fn new(object: Option<Object>, connection: Arc<Connection>, now: KernelTime) -> Self {
        let tls = object.is_some();
        Self {
            object: object.map(Box::new),
            order: if tls { Order::from_zero() } else { Order::default() },
            stream: Stream::new(connection),
            seen: now,
            touched: now,
            due: NEVER,
            unbound: tls,
            packet: false,
            ends: None,
        }
    }

    /// Takes a piece as it came.
    pub(super) fn piece(
        &mut self,
        mut piece: Piece,
        bytes: &[u8],
        now: KernelTime,
        limits: &Limits,
        context: &mut Context<'_, impl Sink>,
    ) {
        self.packet |= piece.packet;
        if let Some(why) = self.stream.ignored() {
            return ignore(why, piece.len, context.counts);
        }
        let (mut arrival, overlap) = self.order.arrive(&mut piece);
        if overlap > 0 {
            count_overlap(piece.packet || arrival == Arrival::Duplicate, overlap, context.counts);
        }
        if arrival == Arrival::Duplicate {
            return;
        }
        let bytes = bytes.get(usize::try_from(overlap).unwrap_or(usize::MAX)..).unwrap_or_default();
        if self.unbound {
            arrival = Arrival::Early;
        }
        if arrival == Arrival::Now {
            while let Some(step) = self.order.before(&piece) {
                self.step(step, context);
            }
            self.deliver(&piece, bytes, context);
        } else if self.order.hold(piece, bytes, now, context.buffers) {
            context.counts.bytes.buffered += piece.len;
        } else {
            count_overlap(true, piece.len, context.counts);
        }
        self.advance(self.patience(now, limits), context);
    }

    /// Delivers what may be delivered now.
    pub(super) fn advance(&mut self, patience: Patience, context: &mut Context<'_, impl Sink>) {
        if self.unbound {
            return;
        }
        while let Some(step) = self.order.next(patience) {
            self.step(step, context);
        }
        for dir in [Direction::Ingress, Direction::Egress] {
            if let Some(ends) = self.ends.as_deref_mut()
                && let half = ends.half_mut(dir)
                && let Half::Ending(how, at) = *half
                && self.order.ended(dir)
            {
                *half = Half::Ended;
                self.stream.half_close(dir, how, at, context);
            }
        }
        if let Some(why) = self.stream.ignored() {
            self.drop_held(why, context);
        }
    }

    /// How patient to be.
    pub(super) fn patience(&self, now: KernelTime, limits: &Limits) -> Patience {
        if self.packet {
            Patience { now, hold_ns: PACKET_HOLD_NS, bytes: PACKET_WINDOW }
        } else {
            Patience { now, hold_ns: limits.hold_ns, bytes: limits.hold_bytes }
        }
    }

    /// A direction will end where the order says.
    pub(super) fn half_closes(&mut self, dir: Direction, how: Close, at: KernelTime) {
        if let half @ Half::Open = self.ends.get_or_insert_default().half_mut(dir) {
            *half = Half::Ending(how, at);
        }
    }

    /// The connection is gone: the rest may come until `until`.
    pub(super) fn closes(&mut self, how: Close, at: KernelTime, until: KernelTime) {
        self.ends.get_or_insert_default().closing.get_or_insert(Closing { how, at, until });
    }

    /// How the socket below a TLS object ended, learnt after the object itself was freed or before.
    pub(super) fn socket_ended(&mut self, dir: Direction, how: Close, at: KernelTime) {
        let ends = self.ends.get_or_insert_default();
        match &mut ends.closing {
            Some(closing) if closing.how == Close::Unknown => closing.how = how,
            Some(_) => {}
            None => *ends.half_mut(dir) = Half::Ending(how, at),
        }
    }

    /// How the ingress direction of the socket below ended, if it did.
    pub(super) fn known_end(&self) -> Option<Close> {
        self.ends.as_ref()?.halves.iter().find_map(|half| match half {
            Half::Ending(how, _) => Some(*how),
            Half::Open | Half::Ended => None,
        })
    }

    /// How and when it ended, if everything that belongs to it was delivered or is not worth waiting for.
    pub(super) fn over(&self, now: KernelTime) -> Option<(Close, KernelTime)> {
        let Closing { how, at, until } = self.ends.as_ref()?.closing?;
        let complete = self.order.ended(Direction::Ingress) && self.order.ended(Direction::Egress);
        (complete || now >= until).then_some((how, at))
    }

    /// When it has to be woken next.
    pub(super) fn wake_at(&self, limits: &Limits) -> Option<KernelTime> {
        let hold_ns = match (self.unbound, self.packet) {
            (true, _) => limits.tls_wait_ns,
            (false, true) => PACKET_HOLD_NS,
            (false, false) => limits.hold_ns,
        };
        let held = self.order.held_since().map(|since| KernelTime(since.0.saturating_add(hold_ns)));
        let closing = self.ends.as_ref().and_then(|ends| ends.closing);
        held.into_iter().chain(closing.map(|closing| closing.until)).min()
    }

    /// Delivers everything that is left, with holes where something is missing, and ends the stream.
    pub(super) fn finish(&mut self, how: Close, at: KernelTime, context: &mut Context<'_, impl Sink>) {
        if self.unbound {
            let dropped = self.order.drop_held(context.buffers);
            count_unbound(dropped, context.counts);
        }
        self.advance(Patience { now: at, hold_ns: 0, bytes: 0 }, context);
        // What is not read (ciphertext of a bound connection, say) need not have come: nothing of it is missing.
        let proven = self.order.ended(Direction::Ingress) && self.order.ended(Direction::Egress);
        let how = if how == Close::Fin && !proven { Close::FinUnproven } else { how };
        let missing = |dir, order: &Order| self.stream.ignored().is_none().then(|| order.missing_at_end(dir)).flatten();
        let (egress, ingress) = (missing(Direction::Egress, &self.order), missing(Direction::Ingress, &self.order));
        if let Some((from, to)) = egress {
            let mark = Mark { time: at, offset: from, ..Mark::default() };
            self.step(Step::Hole { dir: Direction::Egress, from, to, mark }, context);
        }
        if let Some((offset, _)) = ingress {
            // It arrived; whether it was read is not known, so it is in no ledger.
            let mark = Mark { time: at, offset, ..Mark::default() };
            self.stream.hole(Hole { dir: Direction::Ingress, offset, len: None, why: Lost::Gap, mark }, context);
        }
        self.stream.finish(how, at, Ignored::Unclassified, context);
    }

    /// Ends the stream because its bytes are not to be read.
    pub(super) fn stop(&mut self, why: Ignored, at: KernelTime, context: &mut Context<'_, impl Sink>) {
        self.stream.finish(Close::Unknown, at, why, context);
        self.drop_held(why, context);
    }

    /// Plaintext waited too long for its connection.
    pub(super) fn drop_unbound(&mut self, context: &mut Context<'_, impl Sink>) {
        let dropped = self.order.drop_held(context.buffers);
        self.order.forget();
        context.counts.connections.tls_unbound += 1;
        count_unbound(dropped, context.counts);
    }

    /// Its time has come.
    pub(super) fn wake(&mut self, inside: Inside, context: &mut Context<'_, impl Sink>) {
        self.due = NEVER;
        let waited = |since: KernelTime| inside.now.since(since) >= inside.limits.tls_wait_ns;
        if self.unbound && self.order.held_since().is_some_and(waited) {
            self.drop_unbound(context);
        }
        self.advance(self.patience(inside.now, &inside.limits), context);
    }

    /// Bytes of memory that dropping it frees.
    pub(super) fn memory(&self) -> usize {
        self.order.held_bytes() + self.stream.memory()
    }

    fn step(&mut self, step: Step, context: &mut Context<'_, impl Sink>) {
        match step {
            Step::Data { piece, bytes, overlap } => {
                context.counts.bytes.buffered -= piece.len + overlap;
                context.buffers.resized(HELD, 0);
                if overlap > 0 {
                    count_overlap(piece.packet || piece.len == 0, overlap, context.counts);
                }
                let new = bytes.get(usize::try_from(overlap).unwrap_or(usize::MAX)..).unwrap_or_default();
                self.deliver(&piece, new, context);
                context.buffers.put(bytes);
            }
            Step::Hole { dir, from, to, mark } => {
                self.order.delivered(dir, to);
                let len = Some(to.saturating_sub(from)).filter(|len| *len <= PLAUSIBLE_GAP);
                context.counts.gaps += 1;
                context.counts.bytes.presented += len.unwrap_or_default();
                self.stream.hole(Hole { dir, offset: from, len, why: Lost::Gap, mark }, context);
            }
        }
    }

    fn deliver(&mut self, piece: &Piece, bytes: &[u8], context: &mut Context<'_, impl Sink>) {
        let Piece { dir, offset, why, .. } = *piece;
        if piece.len == 0 {
            return;
        }
        if self.order.unannounced(dir) {
            self.stream.unannounced(dir, piece.mark(0), context);
        }
        self.order.delivered(dir, piece.end());
        // Only captures give both ends of a connection.
        if !self.packet {
            context.side = Side::Both;
        }
        let captured = if why == Lost::Contended { 0 } else { bytes.len() as u64 };
        if captured > 0 {
            self.stream.data(piece.chunk(bytes), context);
        }
        if captured < piece.len {
            let (mark, offset, len) = (piece.mark(captured), offset.saturating_add(captured), piece.len - captured);
            self.stream.hole(Hole { dir, offset, len: Some(len), why, mark }, context);
        }
    }

    fn drop_held(&mut self, why: Ignored, context: &mut Context<'_, impl Sink>) {
        let dropped = self.order.drop_held(context.buffers);
        context.counts.bytes.buffered -= dropped;
        ignore(why, dropped, context.counts);
    }
}

impl Ends {
    fn half_mut(&mut self, dir: Direction) -> &mut Half {
        let [ingress, egress] = &mut self.halves;
        match dir {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }
}

fn count_overlap(duplicate: bool, bytes: u64, counts: &mut Counts) {
    counts.bytes.ignored += bytes;
    if duplicate {
        counts.bytes.duplicate += bytes;
    } else {
        counts.bytes.contended += bytes;
    }
}

fn count_unbound(bytes: u64, counts: &mut Counts) {
    counts.bytes.buffered -= bytes;
    counts.bytes.ignored += bytes;
    counts.bytes.tls_unbound += bytes;
}

/// Later than any time.
const NEVER: KernelTime = KernelTime(u64::MAX);

/// A capture's window: packets may be this far apart in order, and a retransmission may take so long.
const PACKET_WINDOW: usize = 4 << 20;
const PACKET_HOLD_NS: u64 = 10_000_000_000;

/// Between positions that are farther apart nothing is counted as missing: one of them is wrong.
const PLAUSIBLE_GAP: u64 = 1 << 32;
