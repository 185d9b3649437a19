//! HTTP/2 (RFC 9113) and gRPC over it.
//!
//! In: chunks, holes and closes of one connection, seen from either end. Out: one exchange for each stream a client opened
//! whose request was seen: HTTP, or RPC where it is a call. Bodies are counted by the lengths of DATA frames; of RPC bodies
//! the prefixes of messages are read. Header blocks are decoded by [`hpack`], which never gives a wrong value.
//!
//! # What is lost, and when it is right again
//!
//! Streams have ids, so no answer is ever given to the wrong request, and there is no quiet point to wait for. A hole of known
//! length inside a DATA frame loses nothing but, perhaps, the count of messages. Any other hole costs the place in that
//! direction: frames are found again by [`resync`], mostly at the start of the next call. Streams that may have had frames in
//! the hole are marked; one whose answer begins behind it was not touched, and is whole. Those that are never heard of again
//! end after some seconds. Requests whose head lay in the hole are not known of, nor are their answers.
//!
//! Entries of the header tables from before a join or a loss are unknown until the peers have replaced them; until then a
//! method, path or status may be missing. It never recovers where a peer indexes the same fields for ever. A request whose
//! content type is unknown is taken for gRPC only if its body and its answer are framed as gRPC's are, and is
//! [`Details::Generic`](crate::Details::Generic) if it cannot be told.
//!
//! Pushed streams are no requests of the client: their header blocks are decoded for the table's sake, and give no exchange.

mod frame;
mod frames;
mod head;
mod hpack;
mod outcome;
mod resync;
mod score;
mod search;
mod stream;
#[cfg(test)]
mod tests;
mod way;

use frame::PREFACE;
use head::Block;
use stream::{Place, Streams};
use way::{Data, Gathered, Phase, Way};

use crate::contract::{
    Chunk, Close, Direction, Hole, KernelTime, Malformed, Parser, Priors, Protocol, Role, Used, Wants,
};
use crate::exchange::{Exchange, Incomplete, Output};
use crate::resting::{Resting, Rests};
use crate::rpc;

/// The table's entry.
pub static PROTOCOL: Protocol = Protocol {
    name: "http2",
    side: Role::Server,
    priors: Priors { ports: &[50051], programs: &["envoy", "grpcurl", "h2load", "h2o"] },
    score: score::score,
    parser: |role| Box::new(Resting::<Http2>::new(Lasting { role, ..Lasting::default() })),
};

/// The longest header block that is decoded: twice what servers accept.
const MAX_BLOCK: usize = 32 * 1024;

/// How long a stream that may have ended in a hole is waited for, ns.
const PATIENCE: u64 = 10_000_000_000;

/// One connection's parser.
#[derive(Debug)]
pub(crate) struct Http2 {
    role: Option<Role>,
    /// The role is known from the bytes, not only supposed.
    settled: bool,
    ways: [Way; 2],
    streams: Streams,
    /// The newest stream the client opened.
    newest: u32,
}

/// What of it stays while nothing is under way.
#[derive(Default)]
pub(crate) struct Lasting {
    role: Option<Role>,
    settled: bool,
    newest: u32,
    ways: [way::Lasting; 2],
    streams: stream::Lasting,
}

impl Rests for Http2 {
    type Lasting = Lasting;

    fn rest(&mut self) -> Option<Lasting> {
        let Self { role, settled, newest, .. } = *self;
        let streams = self.streams.rest()?;
        let [ingress, egress] = &self.ways;
        Some(Lasting { role, settled, newest, ways: [ingress.rest()?, egress.rest()?], streams })
    }

    fn wake(Lasting { role, settled, newest, ways, streams }: Lasting) -> Self {
        Self { role, settled, ways: ways.each_ref().map(Way::wake), streams: Streams::new(streams), newest }
    }

    fn heap_of(lasting: &Lasting) -> usize {
        lasting.ways.iter().map(way::Lasting::heap).sum()
    }
}

impl Http2 {
    /// A connection that left HTTP/1 with a request that is answered here, on stream 1 (RFC 7540 section 3.2). `next`: the id of
    /// the next exchange.
    pub(crate) fn upgraded(exchange: Box<Exchange>, next: u64) -> Self {
        let streams = stream::Lasting::new(next);
        let mut parser = Self::wake(Lasting { role: Some(exchange.role), newest: 1, streams, ..Lasting::default() });
        parser.streams.adopt(exchange);
        parser
    }

    fn way(&mut self, dir: Direction) -> &mut Way {
        let [ingress, egress] = &mut self.ways;
        match dir {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }

    /// Whether requests travel in this direction, as far as known.
    fn asks(&self, dir: Direction) -> Option<bool> {
        self.role.map(|role| role.requests() == dir)
    }

    /// Who asks is known from what was said.
    fn settle(&mut self, requests: Direction, out: &mut Output) -> Role {
        let role = Role::of_requests(requests);
        if self.role != Some(role) {
            self.streams.end_where(out, |_| true, Some(Incomplete::Desync));
            self.role = Some(role);
            self.newest = 0;
        }
        self.settled = true;
        role
    }

    /// Takes what is next from `at` on: how many bytes, `None` if more are needed.
    fn step(&mut self, chunk: &Chunk<'_>, at: usize, out: &mut Output) -> Result<Option<usize>, Malformed> {
        let rest = chunk.bytes.get(at..).unwrap_or_default();
        if at == 0 && self.way(chunk.dir).unproven {
            self.doubt(chunk.dir, rest);
        }
        match self.way(chunk.dir).phase {
            Phase::Start => {
                if !PREFACE.iter().zip(rest).all(|(a, b)| a == b) {
                    self.way(chunk.dir).phase = Phase::Frame;
                    return self.frame(chunk, at, out);
                }
                if rest.len() < PREFACE.len() {
                    return Ok(None);
                }
                self.settle(chunk.dir, out);
                self.way(chunk.dir).phase = Phase::Frame;
                Ok(Some(PREFACE.len()))
            }
            Phase::Frame => self.frame(chunk, at, out),
            Phase::Data(data) => Ok(Some(self.data_bytes(data, chunk, at, out))),
            Phase::Block(left) => self.block_bytes(left, chunk, at, out).map(Some),
            Phase::Skip(left) => {
                let used = shorter(left, rest.len());
                self.way(chunk.dir).phase = match left - used {
                    0 => Phase::Frame,
                    left => Phase::Skip(left),
                };
                Ok(Some(used as usize))
            }
            Phase::Lost => Ok(self.search(chunk, at)),
            Phase::Trial(data) => Ok(self.trial(data, chunk, at, out)),
        }
    }

    /// A header block is whole.
    fn headers(
        &mut self,
        dir: Direction,
        stream: u32,
        ends: bool,
        block: Block,
        place: &Place,
        out: &mut Output,
    ) -> Result<(), Malformed> {
        if stream.is_multiple_of(2) {
            // Pushed.
            return Ok(());
        }
        if !self.settled {
            if block.asks {
                self.settle(dir, out);
            } else if block.http.status.is_some() {
                self.settle(dir.opposite(), out);
            }
        }
        match self.role {
            Some(role) if role.requests() == dir => self.request(role, stream, ends, block, place, out),
            Some(_) if block.asks => Err(Malformed("a request from the server")),
            Some(_) => {
                self.response(stream, ends, &block, place, out);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn request(
        &mut self,
        role: Role,
        id: u32,
        ends: bool,
        block: Block,
        place: &Place,
        out: &mut Output,
    ) -> Result<(), Malformed> {
        if block.http.status.is_some() {
            return Err(Malformed("a status from the client"));
        }
        match self.streams.get(id) {
            Some(_) if block.asks => return Err(Malformed("a second request on a stream")),
            Some(stream) => stream.place(true, place),
            // "The identifier of a newly established stream MUST be numerically greater than all streams that the initiating
            // endpoint has opened" (section 5.1.1).
            None if block.asks && id <= self.newest => return Err(Malformed("a request on an old stream")),
            None if block.asks || block.too_long && id > self.newest => {
                self.newest = id;
                self.streams.open(id, block, role, place, out);
                // Answers may pass by unseen until frames are found again.
                let blind = matches!(self.way(role.requests().opposite()).phase, Phase::Lost | Phase::Trial(_));
                if let Some(stream) = self.streams.get(id).filter(|_| blind) {
                    stream.response.suspect = Some(Incomplete::Gap);
                }
            }
            // Trailers of a stream that is not known, or no longer.
            None => {}
        }
        if ends {
            self.end_stream(role.requests(), id, place, out);
        }
        Ok(())
    }

    fn response(&mut self, id: u32, ends: bool, block: &Block, place: &Place, out: &mut Output) {
        let Some(stream) = self.streams.get(id) else { return };
        stream.touched = place.last.time;
        // "A client MUST be able to parse one or more 1xx responses": they announce, the final one answers.
        if matches!(block.http.status, Some(100..=199)) {
            return;
        }
        if block.broken {
            stream.exchange.incomplete.insert(Incomplete::Truncated);
        }
        let first = stream.exchange.response.is_none();
        if first && block.http.status.is_some() {
            // An answer begins here, so nothing of it was lost before.
            stream.response = stream::Half::of(stream.kind, false);
        }
        stream.trailers |= !first && ends;
        stream.answered(place, out);
        stream.place(false, place);
        stream.unknown |= block.unknown;
        stream.answer = stream.answer.or(block.content);
        stream.grpc_status = stream.grpc_status.or(block.grpc_status);
        if let Some(http) = stream.http() {
            http.status = http.status.or(block.http.status);
        }
        if ends {
            self.end_stream(place_dir(self.role), id, place, out);
        }
    }

    /// END_STREAM.
    fn end_stream(&mut self, dir: Direction, id: u32, place: &Place, out: &mut Output) {
        let Some(requests) = self.asks(dir) else { return };
        let Some(stream) = self.streams.get(id) else { return };
        stream.touched = place.last.time;
        stream.half(requests).ended = true;
        self.streams.settle(id, out);
    }

    /// RST_STREAM.
    fn reset(&mut self, dir: Direction, id: u32, error: u32, place: &Place, out: &mut Output) {
        let (Some(requests), Some(stream)) = (self.asks(dir), self.streams.get(id)) else { return };
        if !requests {
            // Of a call that only waited, it is all there is of the answer, and the time it took.
            stream.answered(place, out);
        }
        stream.place(requests, place);
        if stream.response.ended {
            return self.streams.end(id, None, out);
        }
        stream.exchange.cut_off = place.last.time;
        let elapsed = place.last.time.since(stream.exchange.request.first.time);
        let by_deadline = stream.timeout.is_some_and(|timeout| elapsed >= timeout - timeout / ROUNDING);
        // Where frames of the answer were lost, the status may have been among them.
        if stream.response.suspect.is_none() {
            stream.failed = match (requests, error) {
                (true, error::CANCEL) if by_deadline => Some(rpc::code::DEADLINE_EXCEEDED),
                // The client has lost interest: it did not say how the call ended.
                (true, error::NO_ERROR) => None,
                (_, error) => rpc::of_reset(error),
            };
        }
        stream.half(requests).ended = true;
        let call = stream.kind == rpc::Kind::Grpc && stream.failed.is_some();
        self.streams.end(id, Some(Incomplete::Closed).filter(|_| !call), out);
    }

    /// GOAWAY: streams above the last id were not, and will not be, looked at by its sender (section 6.8).
    fn go_away(&mut self, dir: Direction, last: u32, at: KernelTime, out: &mut Output) {
        if self.asks(dir) != Some(false) {
            return;
        }
        for call in [true, false] {
            let refused = |stream: &mut stream::Stream| {
                let refused = stream.id > last && !stream.response.ended && (stream.kind == rpc::Kind::Grpc) == call;
                if refused {
                    stream.exchange.cut_off = at;
                }
                if refused && stream.response.suspect.is_none() {
                    stream.failed = Some(rpc::code::UNAVAILABLE);
                }
                refused
            };
            self.streams.end_where(out, refused, Some(Incomplete::Closed).filter(|_| !call));
        }
    }

    /// The place in a direction is lost.
    fn lose(&mut self, dir: Direction, why: Incomplete, out: &mut Output) {
        let way = self.way(dir);
        way.phase = Phase::Lost;
        way.block = None;
        way.decoder.forget();
        if let Some(requests) = self.asks(dir) {
            self.streams.suspect(requests, why, out);
        }
    }

    /// Bytes of a DATA frame, seen or not.
    fn data_counted(&mut self, dir: Direction, data: &mut Data, counted: Counted<'_>, out: &mut Output) {
        let used = counted.place.bytes;
        let content = used.min(u64::from(data.content));
        let padding = used - content;
        if let (Some(requests), Some(stream)) = (self.asks(dir), self.streams.get(data.stream)) {
            stream.place(requests, &counted.place);
            let framed = stream.framed();
            let half = stream.half(requests);
            half.body += content;
            match counted.bytes {
                _ if !framed => {}
                Some(bytes) => half.messages.take(bytes.get(..shorter_usize(content, bytes.len())).unwrap_or_default()),
                None => half.messages.skip(content),
            }
        }
        data.content -= u32::try_from(content).unwrap_or(u32::MAX).min(data.content);
        data.padding -= u32::try_from(padding).unwrap_or(u32::MAX).min(data.padding);
        let over = data.content == 0 && data.padding == 0;
        self.way(dir).phase = if over { Phase::Frame } else { Phase::Data(*data) };
        if over && data.ends {
            self.end_stream(dir, data.stream, &counted.place, out);
        }
    }
}

/// A part of a DATA frame.
struct Counted<'a> {
    place: Place,
    /// `None`: they are not at hand.
    bytes: Option<&'a [u8]>,
}

/// Error codes (section 7).
mod error {
    pub(super) const NO_ERROR: u32 = 0;
    pub(super) const CANCEL: u32 = 8;
}

/// Clients round a deadline up by at most a hundredth when they send it, so it may seem to come so much too early.
const ROUNDING: u64 = 50;

/// The direction of answers.
fn place_dir(role: Option<Role>) -> Direction {
    role.map_or(Direction::Ingress, |role| role.requests().opposite())
}

fn shorter(left: u32, len: usize) -> u32 {
    u32::try_from(len).map_or(left, |len| len.min(left))
}

fn shorter_usize(left: u64, len: usize) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}

impl Parser for Http2 {
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let mut at = 0;
        while at < chunk.bytes.len() {
            match self.step(&chunk, at, out)? {
                None => return Ok(Used(at)),
                Some(used) => at += used,
            }
        }
        Ok(Used(at.min(chunk.bytes.len())))
    }

    fn hole(&mut self, hole: Hole, out: &mut Output) {
        let why = Incomplete::from(hole.why);
        let len = hole.len.unwrap_or(u64::MAX);
        match &mut self.way(hole.dir).phase {
            Phase::Data(data) if len <= u64::from(data.content) + u64::from(data.padding) => {
                let mut data = *data;
                let place = Place { first: hole.mark, last: hole.last_of(len), bytes: len };
                self.data_counted(hole.dir, &mut data, Counted { place, bytes: None }, out);
            }
            Phase::Skip(left) if len <= u64::from(*left) => {
                *left -= u32::try_from(len).unwrap_or(*left);
                if *left == 0 {
                    self.way(hole.dir).phase = Phase::Frame;
                }
            }
            Phase::Trial(data) if len <= u64::from(data.content) => {
                data.content -= u32::try_from(len).unwrap_or(data.content);
            }
            _ => self.lose(hole.dir, why, out),
        }
    }

    fn close(&mut self, dir: Option<Direction>, how: Close, _at: KernelTime, out: &mut Output) {
        let why = Incomplete::from(how);
        if let Some(dir) = dir {
            self.way(dir).phase = Phase::Lost;
            if self.asks(dir) == Some(true) {
                // Half closed: what was asked may still be answered.
                self.streams.end_where(out, |stream| stream.response.ended, None);
                return self.streams.suspect(true, why, out);
            }
        }
        self.streams.end_where(out, |_| true, Some(why));
    }

    fn tick(&mut self, now: KernelTime, out: &mut Output) {
        let waits = |stream: &stream::Stream| stream.request.suspect.or(stream.response.suspect).is_some();
        self.streams.end_where(out, |stream| waits(stream) && now.since(stream.touched) >= PATIENCE, None);
    }

    fn wants(&self, dir: Direction) -> Wants {
        let [ingress, egress] = &self.ways;
        let way = if dir == Direction::Ingress { ingress } else { egress };
        match &way.phase {
            Phase::Data(data) => match self.skippable(dir, data) {
                0 => Wants::Bytes,
                bytes => Wants::Skip(bytes),
            },
            Phase::Skip(left) | Phase::Trial(Data { content: left, .. }) if *left > 0 => Wants::Skip(u64::from(*left)),
            Phase::Block(_) | Phase::Frame | Phase::Lost | Phase::Skip(_) | Phase::Start | Phase::Trial(_) => {
                Wants::Bytes
            }
        }
    }

    fn heap(&self) -> usize {
        let ways = self.ways.iter().map(|way| {
            let block = way.block.as_ref().map_or(0, |block| size_of::<Gathered>() + block.bytes.capacity());
            way.decoder.heap() + block
        });
        size_of::<Self>() + self.streams.heap() + ways.sum::<usize>()
    }
}
