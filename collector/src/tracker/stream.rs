//! One connection's bytes in order, from detection to its parser.
//!
//! In: ordered chunks, holes and ends. Out: what the parser says, and where every byte went. Bytes are parsed in place;
//! what the parser leaves is kept and offered again in front of the next ones.
//!
//! What is not known from its first byte on ([`Start::Middle`]) may owe answers to requests nobody saw. No position tells:
//! those of the sockets say what was moved, not what was asked. So its parser begins with a hole in both directions, and
//! pairs as carefully as after a loss.

use std::sync::Arc;

use sidelight_events::maps::policy;
use sidelight_protocol_parsers::{
    Chunk, Close, Direction, Emitted, Hole, Incomplete, Kept, KernelTime, Lost, MAX_REST, Mark, Next, Output,
    PROTOCOLS, Parser, Role, Wants, detect::Detection,
};

use super::{Detect, Sink, buffers::Buffers, counts::Counts, waiting::Waiting};
use crate::model::{Connection, Side};

/// What a stream needs of the tracker while it handles bytes.
pub(super) struct Context<'a, S> {
    pub(super) detect: Detect,
    /// The side to keep.
    pub(super) side: Side,
    pub(super) out: &'a mut Output,
    pub(super) counts: &'a mut Counts,
    pub(super) buffers: &'a mut Buffers,
    pub(super) sink: &'a mut S,
}

/// A connection's place between detection and parser.
pub(super) struct Stream {
    pub(super) connection: Arc<Connection>,
    phase: Phase,
    /// Unread rests, in front of the next bytes of each direction.
    rests: [Option<Box<Rest>>; 2],
    /// The watched side's role in the protocol, as far as known.
    role: Option<Role>,
    switches: u8,
    /// How often a parser lost its place for good.
    desyncs: u8,
    /// Heap of the parser, as last counted.
    heap: u32,
    /// The kernel was told to copy long calls whole.
    deep: bool,
}

enum Phase {
    Detecting(Option<Box<Waiting>>, Start),
    Parsing { parser: Box<dyn Parser>, malformed: u8 },
    Ignored(Ignored),
}

/// Where in the connection its first known byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It is the connection's first.
    First,
    /// Others came before, or may have.
    Middle,
    /// The kernel cannot tell (Unix sockets, Multipath TCP). Most are seen from the start: taken for it where pairing is
    /// concerned.
    Untold,
}

/// Why a stream is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ignored {
    /// Unknown, not ours, or given up.
    Unclassified,
    /// Its plaintext is read instead.
    Ciphertext,
    /// Its TLS object belongs to several connections.
    Conflict,
    /// The other end of the connection is looked at.
    OtherSide,
}

/// Bytes that were offered and not consumed; not empty.
struct Rest {
    bytes: Vec<u8>,
    /// Of its first byte.
    first: Mark,
}

impl Stream {
    /// A stream whose protocol is not known yet.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            role: connection.role,
            connection,
            phase: Phase::Detecting(None, Start::Middle),
            rests: Default::default(),
            switches: 0,
            desyncs: 0,
            heap: 0,
            deep: false,
        }
    }

    /// Where the connection is known from, and who began it.
    pub(super) fn begins(&mut self, at: Start, role: Option<Role>) {
        self.role = self.role.or(role);
        if let Phase::Detecting(None, start) = &mut self.phase {
            *start = at;
        }
    }

    /// Whether the next byte is the first of the connection, or of what it turned into.
    pub(super) fn is_at_start(&self) -> bool {
        matches!(self.phase, Phase::Detecting(None, Start::First))
    }

    /// A direction begins at a position that nobody announced: something may be missing in front, its length unknown.
    pub(super) fn unannounced(&mut self, dir: Direction, mark: Mark, context: &mut Context<'_, impl Sink>) {
        match &mut self.phase {
            Phase::Detecting(_, start) => *start = Start::Middle,
            Phase::Parsing { parser, .. } => {
                parser.hole(Hole { dir, offset: mark.offset, len: None, why: Lost::Gap, mark }, context.out);
                self.said(context);
            }
            Phase::Ignored(_) => {}
        }
    }

    /// Why it is not read, if it is not.
    pub(super) fn ignored(&self) -> Option<Ignored> {
        match self.phase {
            Phase::Ignored(why) => Some(why),
            Phase::Detecting(..) | Phase::Parsing { .. } => None,
        }
    }

    /// Takes the next bytes of a direction.
    pub(super) fn data(&mut self, chunk: Chunk<'_>, context: &mut Context<'_, impl Sink>) {
        match self.phase {
            _ if chunk.bytes.is_empty() => {}
            Phase::Parsing { .. } => self.parse(chunk, context),
            Phase::Detecting(..) => self.detect(chunk, context),
            Phase::Ignored(why) => ignore(why, chunk.bytes.len() as u64, context.counts),
        }
    }

    /// Bytes are missing; a known length is in the ledger as presented already.
    pub(super) fn hole(&mut self, mut hole: Hole, context: &mut Context<'_, impl Sink>) {
        let counts = &mut *context.counts;
        let missing = hole.len.unwrap_or_default();
        let skips = match &self.phase {
            Phase::Parsing { parser, .. } => match parser.wants(hole.dir) {
                Wants::Skip(bytes) => bytes.min(missing),
                Wants::Bytes | Wants::Turn => 0,
            },
            Phase::Detecting(..) => 0,
            Phase::Ignored(why) if hole.why != Lost::Gap => return ignore(*why, missing, counts),
            Phase::Ignored(_) => 0,
        };
        let rest = self.rest_mut(hole.dir).take();
        let dropped = rest.as_ref().map_or(0, |rest| rest.bytes.len() as u64);
        counts.bytes.buffered -= dropped;
        match hole.why {
            Lost::Gap => counts.bytes.gap = counts.bytes.gap.wrapping_add(missing + dropped),
            Lost::Contended => {
                counts.bytes.ignored += missing + dropped;
                counts.bytes.contended += missing + dropped;
            }
            Lost::Cut | Lost::Fault | Lost::Malformed => {
                counts.bytes.skipped += skips;
                counts.bytes.truncated += missing - skips + dropped;
            }
        }
        if let Some(rest) = rest {
            hole.offset = rest.first.offset;
            hole.len = hole.len.map(|len| len.saturating_add(dropped));
            context.buffers.put(rest.bytes);
        }
        match &mut self.phase {
            Phase::Parsing { parser, .. } => {
                parser.hole(hole, context.out);
                self.said(context);
            }
            Phase::Detecting(waiting, start) => {
                *start = Start::Middle;
                if let Some(waiting) = waiting {
                    let dropped = waiting.clear(context.counts, context.buffers);
                    ignore(Ignored::Unclassified, dropped, context.counts);
                }
            }
            Phase::Ignored(_) => {}
        }
    }

    /// A direction ended.
    pub(super) fn half_close(
        &mut self,
        dir: Direction,
        how: Close,
        at: KernelTime,
        context: &mut Context<'_, impl Sink>,
    ) {
        if let Phase::Parsing { parser, .. } = &mut self.phase {
            parser.close(Some(dir), how, at, context.out);
            cut_off(context.out, Some(dir), at);
            self.said(context);
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now: KernelTime, context: &mut Context<'_, impl Sink>) {
        if let Phase::Parsing { parser, .. } = &mut self.phase {
            parser.tick(now, context.out);
            self.said(context);
        }
    }

    /// Nothing will come any more, or nothing more is to be read; gives all memory back.
    pub(super) fn finish(&mut self, how: Close, at: KernelTime, why: Ignored, context: &mut Context<'_, impl Sink>) {
        self.end(how, at, context);
        self.phase = Phase::Ignored(why);
    }

    /// Ends the parser, or detection, and gives all memory back.
    fn end(&mut self, how: Close, at: KernelTime, context: &mut Context<'_, impl Sink>) {
        if let Phase::Parsing { parser, .. } = &mut self.phase {
            parser.close(None, how, at, context.out);
            cut_off(context.out, None, at);
            self.emit(context);
        }
        for rest in self.rests.iter_mut().filter_map(Option::take) {
            context.counts.bytes.buffered -= rest.bytes.len() as u64;
            ignore(Ignored::Unclassified, rest.bytes.len() as u64, context.counts);
            context.buffers.put(rest.bytes);
        }
        if let Phase::Detecting(Some(waiting), _) = &mut self.phase {
            let dropped = waiting.clear(context.counts, context.buffers);
            ignore(Ignored::Unclassified, dropped, context.counts);
        }
        context.buffers.resized(std::mem::take(&mut self.heap) as usize, 0);
    }

    /// Bytes of memory it keeps beyond itself.
    pub(super) fn memory(&self) -> usize {
        let waiting = match &self.phase {
            Phase::Detecting(Some(waiting), _) => waiting.memory(),
            _ => 0,
        };
        self.heap as usize
            + waiting
            + self.rests.iter().flatten().map(|rest| size_of::<Rest>() + rest.bytes.capacity()).sum::<usize>()
    }

    /// Offers a chunk behind what was kept, and keeps what is left.
    fn parse(&mut self, chunk: Chunk<'_>, context: &mut Context<'_, impl Sink>) {
        let dir = chunk.dir;
        let Some(mut rest) = self.rest_mut(dir).take() else { return self.offer(chunk, context) };
        let kept = rest.bytes.len();
        context.counts.bytes.buffered -= kept as u64;
        context.buffers.append(&mut rest.bytes, chunk.bytes);
        let kept = Kept { len: kept, first: rest.first };
        self.offer(Chunk { kept, offset: rest.first.offset, bytes: &rest.bytes, ..chunk }, context);
        context.buffers.put(rest.bytes);
    }

    fn offer(&mut self, mut chunk: Chunk<'_>, context: &mut Context<'_, impl Sink>) {
        loop {
            let Phase::Parsing { parser, malformed } = &mut self.phase else { return self.data(chunk, context) };
            let used = match parser.data(chunk, context.out) {
                Ok(used) if used.0 > 0 || chunk.bytes.len() < MAX_REST => used.0.min(chunk.bytes.len()),
                Ok(_) | Err(_) => return self.malformed(&chunk, context),
            };
            if used > 0 {
                *malformed = 0;
            }
            context.counts.bytes.parsed += used as u64;
            chunk = chunk.behind(used);
            if self.said(context) || chunk.bytes.len() >= MAX_REST {
                // Another parser's bytes, or more than may be kept.
                continue;
            }
            return self.keep(&chunk, context);
        }
    }

    fn keep(&mut self, chunk: &Chunk<'_>, context: &mut Context<'_, impl Sink>) {
        if !chunk.bytes.is_empty() {
            context.counts.bytes.buffered += chunk.bytes.len() as u64;
            let rest = Rest { bytes: context.buffers.copy(chunk.bytes), first: chunk.mark(0) };
            *self.rest_mut(chunk.dir) = Some(Box::new(rest));
        }
    }

    /// The parser did not understand a chunk: it is dropped. After three in a row the connection is judged anew, and in the
    /// end given up.
    fn malformed(&mut self, chunk: &Chunk<'_>, context: &mut Context<'_, impl Sink>) {
        context.counts.malformed += 1;
        ignore(Ignored::Unclassified, chunk.bytes.len() as u64, context.counts);
        let Phase::Parsing { parser, malformed } = &mut self.phase else { return };
        *malformed += 1;
        let gives_up = *malformed >= MALFORMED_IN_A_ROW;
        let (dir, offset, mark) = (chunk.dir, chunk.offset, chunk.mark(0));
        parser.hole(Hole { dir, offset, len: None, why: Lost::Malformed, mark }, context.out);
        self.said(context);
        if gives_up {
            context.counts.connections.desync += 1;
            self.desyncs += 1;
            if self.desyncs > JUDGED_ANEW {
                return self.give_up(mark.time, context);
            }
            self.end(Close::Evicted, mark.time, context);
            self.role = self.connection.role;
            self.phase = Phase::Detecting(None, Start::Middle);
        }
    }

    /// Passes on what the parser said. Returns true if the connection speaks something else from here on.
    fn said(&mut self, context: &mut Context<'_, impl Sink>) -> bool {
        if let Phase::Parsing { parser, .. } = &self.phase {
            let heap = u32::try_from(parser.heap()).unwrap_or(u32::MAX);
            context.buffers.resized(std::mem::replace(&mut self.heap, heap) as usize, heap as usize);
            if self.deep != parser.deep() {
                self.deep = !self.deep;
                let policy = if self.deep { policy::DEEP } else { policy::FULL };
                context.sink.policy(self.connection.key, policy);
            }
        }
        let Some((next, at)) = self.emit(context) else { return false };
        self.switches = self.switches.saturating_add(1);
        let protocol = match next {
            Next::Protocol(name) => PROTOCOLS.iter().find(|protocol| protocol.name == name),
            Next::Detect | Next::Opaque(_) => None,
        };
        if self.switches > SWITCHES || protocol.is_none() && next != Next::Detect {
            context.counts.connections.opaque += 1;
            self.phase = Phase::Detecting(None, Start::Middle);
            self.give_up(at, context);
            return true;
        }
        self.phase = match protocol {
            Some(protocol) => Phase::Parsing { parser: (protocol.parser)(self.role), malformed: 0 },
            None => Phase::Detecting(None, Start::First),
        };
        // What the old parser left unread belongs to the new one.
        for (dir, rest) in [Direction::Ingress, Direction::Egress].into_iter().zip(std::mem::take(&mut self.rests)) {
            let Some(rest) = rest else { continue };
            context.counts.bytes.buffered -= rest.bytes.len() as u64;
            let (kept, bytes) = (Kept { len: rest.bytes.len(), first: rest.first }, &rest.bytes);
            let Mark { time, pid, tid, task, offset, wire_seq } = rest.first;
            self.data(Chunk { dir, kept, offset, bytes, begin: None, end: time, pid, tid, task, wire_seq }, context);
            context.buffers.put(rest.bytes);
        }
        true
    }

    fn emit(&mut self, context: &mut Context<'_, impl Sink>) -> Option<(Next, KernelTime)> {
        let mut switch = None;
        let mut at = KernelTime::default();
        for what in context.out.emitted.drain(..) {
            context.counts.exchanges.count(&what);
            match what {
                Emitted::Switch(next) => switch = Some(next),
                Emitted::Done(ref exchange) => at = exchange.response.unwrap_or(exchange.request).last.time,
                Emitted::Answered { .. } | Emitted::Begun { .. } => {}
            }
            if !matches!(what, Emitted::Switch(_)) {
                context.sink.emitted(&self.connection, what);
            }
        }
        switch.map(|next| (next, at))
    }

    fn detect(&mut self, chunk: Chunk<'_>, context: &mut Context<'_, impl Sink>) {
        let Phase::Detecting(slot, start) = &mut self.phase else { return };
        let alone = slot.as_ref().is_none_or(|waiting| waiting.is_empty());
        let waiting = slot.get_or_insert_default();
        if !alone {
            waiting.push(&chunk, context.counts, context.buffers);
        }
        let mut candidates = waiting.candidates;
        let mut sample = waiting.sample();
        if alone {
            let bytes = chunk.bytes.get(..MAX_REST).unwrap_or(chunk.bytes);
            match chunk.dir {
                Direction::Ingress => sample.ingress = bytes,
                Direction::Egress => sample.egress = bytes,
            }
        }
        (sample.from_start, sample.role, sample.tls) =
            (*start == Start::First, self.connection.role, self.connection.tls);
        (sample.port, sample.program) = (self.connection.listening_port(), context.sink.program(chunk.mark(0).pid));
        let detection = (context.detect)(&sample, &mut candidates);
        if alone && !matches!(detection, Detection::Is(..)) {
            waiting.push(&chunk, context.counts, context.buffers);
        }
        waiting.candidates = candidates;
        let at = chunk.time();
        match detection {
            Detection::Is(protocol, Some(role)) if !context.side.is(role, protocol) => {
                let dropped = waiting.clear(context.counts, context.buffers);
                let now = if alone { chunk.bytes.len() as u64 } else { 0 };
                ignore(Ignored::OtherSide, dropped + now, context.counts);
                self.phase = Phase::Ignored(Ignored::OtherSide);
            }
            Detection::Is(protocol, role) => {
                self.role = role.or(self.role);
                let mut waiting = std::mem::take(waiting);
                let mut parser = (protocol.parser)(self.role);
                if *start == Start::Middle {
                    let mark = if alone { chunk.mark(0) } else { waiting.first().unwrap_or_default() };
                    for dir in [Direction::Ingress, Direction::Egress] {
                        let hole = Hole { dir, offset: mark.offset, len: None, why: Lost::Gap, mark };
                        parser.hole(hole, context.out);
                    }
                }
                self.phase = Phase::Parsing { parser, malformed: 0 };
                waiting.replay(|chunk| {
                    let len = chunk.bytes.len() as u64;
                    context.counts.bytes.buffered -= len;
                    self.data(chunk, context);
                    // `clear` below takes them all off.
                    context.counts.bytes.buffered += len;
                });
                waiting.clear(context.counts, context.buffers);
                if alone {
                    self.data(chunk, context);
                }
            }
            Detection::Undecided if !waiting.is_full() => {}
            // Joined in the middle of a message: it may become readable at the next one.
            Detection::Undecided | Detection::Unknown if *start != Start::First && waiting.dropped < UNREADABLE => {
                *start = Start::Middle;
                // The newest bytes may be the beginning of something, if not together with older ones.
                let newest = if alone { 0 } else { chunk.bytes.len() as u64 };
                let dropped = waiting.clear(context.counts, context.buffers) - newest;
                waiting.dropped += dropped;
                ignore(Ignored::Unclassified, dropped, context.counts);
                if !alone {
                    self.detect(chunk, context);
                }
            }
            Detection::Undecided | Detection::Unknown => {
                context.counts.connections.unknown += 1;
                self.give_up(at, context);
            }
            Detection::Opaque(_) => {
                context.counts.connections.opaque += 1;
                self.give_up(at, context);
            }
        }
    }

    fn give_up(&mut self, at: KernelTime, context: &mut Context<'_, impl Sink>) {
        self.finish(Close::Evicted, at, Ignored::Unclassified, context);
        context.sink.policy(self.connection.key, policy::IGNORE);
    }

    fn rest_mut(&mut self, dir: Direction) -> &mut Option<Box<Rest>> {
        let [ingress, egress] = &mut self.rests;
        match dir {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }
}

/// The connection, or a direction of it, ended: that is when the exchanges ended which it left unfinished. A server's do not
/// wait for the rest of their requests.
fn cut_off(out: &mut Output, dir: Option<Direction>, at: KernelTime) {
    for what in &mut out.emitted {
        if let Emitted::Done(exchange) = what
            && exchange.incomplete.contains(Incomplete::Closed)
            && dir != Some(exchange.role.requests())
        {
            exchange.cut_off = at;
        }
    }
}

/// Counts bytes that are not read.
pub(super) fn ignore(why: Ignored, len: u64, counts: &mut Counts) {
    let bytes = &mut counts.bytes;
    match why {
        Ignored::Unclassified => return bytes.unclassified += len,
        Ignored::Ciphertext => bytes.ciphertext += len,
        Ignored::Conflict => bytes.tls_conflict += len,
        Ignored::OtherSide => bytes.other_side += len,
    }
    bytes.ignored += len;
}

/// Chunks in a row that a parser may refuse before the connection is judged anew.
const MALFORMED_IN_A_ROW: u8 = 3;

/// How often a connection is judged anew because its parser lost its place; then it is given up.
const JUDGED_ANEW: u8 = 2;

/// Bytes of a connection joined in the middle that are judged in vain before it is given up: the rest of a long message.
const UNREADABLE: u64 = 16 << 20;

/// How often one connection may change its protocol; more is a parser and a peer playing ping-pong.
const SWITCHES: u8 = 8;
