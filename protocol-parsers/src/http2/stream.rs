//! The open streams of a connection, and the exchange each of them carries.
//!
//! In: what frames say of a stream, already told apart by direction. Out: `Begun`, `Answered` and `Done`.

use std::collections::VecDeque;

use super::head::Block;
use super::outcome;
use crate::contract::{KernelTime, Mark, Role};
use crate::exchange::{Details, Exchange, ExchangeId, Http, Incomplete, IncompleteSet, Output, Shape, Side};
use crate::rpc::{Body, Content, Kind};

/// Streams that may be open at once: peers allow 100 to 1,000 (`SETTINGS_MAX_CONCURRENT_STREAMS`). Beyond, the one that was
/// quiet for the longest is given up as `evicted`.
const MAX_OPEN: usize = 1024;

/// Where a frame, or a part of one, lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) first: Mark,
    pub(super) last: Mark,
    pub(super) bytes: u64,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// END_STREAM was seen, or a reset by its sender.
    pub(super) ended: bool,
    /// Frames of it may be among bytes that were lost.
    pub(super) suspect: Option<Incomplete>,
    pub(super) body: u64,
    pub(super) messages: Body,
}

impl Half {
    pub(super) fn of(kind: Kind, request: bool) -> Self {
        Self { messages: Body::new(kind, request), ..Self::default() }
    }
}

/// One open stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) exchange: Box<Exchange>,
    /// When something of it was last seen.
    pub(super) touched: KernelTime,
    pub(super) request: Half,
    pub(super) response: Half,
    pub(super) kind: Kind,
    /// `grpc-timeout`, nanoseconds.
    pub(super) timeout: Option<u64>,
    pub(super) grpc_status: Option<u8>,
    /// The status that a reset, or a GOAWAY, stands for.
    pub(super) failed: Option<u8>,
    /// Content type of the response.
    pub(super) answer: Option<Content>,
    /// It had a trailer section behind a body.
    pub(super) trailers: bool,
    /// A field of the response's headers or trailers is not known.
    pub(super) unknown: bool,
}

impl Stream {
    /// Which half travels with the requests.
    pub(super) fn half(&mut self, requests: bool) -> &mut Half {
        if requests { &mut self.request } else { &mut self.response }
    }

    /// Whether its body must be looked at.
    pub(super) fn framed(&self) -> bool {
        self.kind != Kind::Plain
    }

    /// More bytes of it came.
    pub(super) fn place(&mut self, requests: bool, place: &Place) {
        self.touched = place.last.time;
        let side = if requests { Some(&mut self.exchange.request) } else { self.exchange.response.as_mut() };
        if let Some(side) = side {
            side.last = place.last;
            side.bytes += place.bytes;
        }
    }

    /// The response's first byte. It is whole if nothing of it can have been lost before.
    pub(super) fn answered(&mut self, place: &Place, out: &mut Output) {
        if self.exchange.response.is_none() {
            self.exchange.response = Some(Side { first: place.first, last: place.first, bytes: 0 });
            out.answered(self.exchange.id, place.first);
        }
    }

    /// Heap it may come to hold. Its text does not grow.
    fn held(&self) -> usize {
        size_of::<Exchange>() + self.exchange.text.capacity() + Body::most_heap(self.kind)
    }

    pub(super) fn http(&mut self) -> Option<&mut Http> {
        match &mut self.exchange.details {
            Details::Http(http) => Some(http),
            Details::Db(_) | Details::Generic | Details::Rpc(_) => None,
        }
    }
}

/// The open streams of one connection, by their ids.
#[derive(Debug)]
pub(super) struct Streams {
    open: VecDeque<Stream>,
    next: u64,
    /// The last request's text: the next one's is likely to be as long.
    room: usize,
    /// A call on it was gRPC for certain.
    grpc: bool,
    /// Heap of the open streams.
    held: usize,
}

/// What stays of them while none is open.
#[derive(Default)]
pub(super) struct Lasting {
    next: u64,
    grpc: bool,
}

impl Lasting {
    /// `next`: the id of the next exchange.
    pub(super) fn new(next: u64) -> Self {
        Self { next, grpc: false }
    }
}

impl Streams {
    pub(super) fn new(Lasting { next, grpc }: Lasting) -> Self {
        Self { open: VecDeque::new(), next, room: 0, grpc, held: 0 }
    }

    /// What stays, if none is open.
    pub(super) fn rest(&self) -> Option<Lasting> {
        self.open.is_empty().then_some(Lasting { next: self.next, grpc: self.grpc })
    }

    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.open.capacity() * size_of::<Stream>() + self.held
    }

    fn index(&self, id: u32) -> Result<usize, usize> {
        self.open.binary_search_by_key(&id, |stream| stream.id)
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let index = self.index(id).ok()?;
        self.open.get_mut(index)
    }

    pub(super) fn peek(&self, id: u32) -> Option<&Stream> {
        self.open.get(self.index(id).ok()?)
    }

    /// A request began.
    pub(super) fn open(&mut self, id: u32, block: Block, role: Role, place: &Place, out: &mut Output) {
        let Err(index) = self.index(id) else { return };
        if self.open.len() >= MAX_OPEN {
            self.evict(out);
        }
        let kind = kind_of(&block);
        let mut incomplete = IncompleteSet::default();
        if block.broken {
            incomplete.insert(Incomplete::Truncated);
        }
        let exchange = Box::new(Exchange {
            id: ExchangeId(self.next),
            protocol: super::PROTOCOL.name,
            role,
            shape: Shape::RequestReply,
            request: Side { first: place.first, last: place.last, bytes: place.bytes },
            response: None,
            cut_off: KernelTime::default(),
            outcome: None,
            details: Details::Http(block.http),
            context: block.context,
            incomplete,
            text: block.text,
        });
        self.next += 1;
        self.room = exchange.text.len().min(1024);
        self.grpc |= kind == Kind::Grpc;
        out.begun(exchange.id, role.requests(), place.first);
        self.insert(index, Stream::new(id, exchange, kind, block.timeout));
    }

    /// A request that came by HTTP/1 and is answered on stream 1 (h2c).
    pub(super) fn adopt(&mut self, exchange: Box<Exchange>) {
        let mut stream = Stream::new(1, exchange, Kind::Plain, None);
        stream.request.ended = true;
        if let Some(http) = stream.http() {
            stream.request.body = http.request_body.unwrap_or(0);
        }
        self.insert(0, stream);
    }

    fn insert(&mut self, index: usize, stream: Stream) {
        self.held += stream.held();
        if index == self.open.len() {
            self.open.push_back(stream);
        } else {
            self.open.insert(index.min(self.open.len()), stream);
        }
    }

    /// The one that was quiet for the longest is given up.
    #[cold]
    fn evict(&mut self, out: &mut Output) {
        let quietest = self.open.iter().enumerate().min_by_key(|(_, stream)| stream.touched);
        if let Some((index, _)) = quietest {
            self.remove(index, Some(Incomplete::Evicted), out);
        }
    }

    fn remove(&mut self, index: usize, why: Option<Incomplete>, out: &mut Output) {
        let Some(mut stream) = self.open.remove(index) else { return };
        self.held -= stream.held();
        if let Some(why) = why {
            stream.exchange.incomplete.insert(why);
        }
        let (exchange, grpc) = outcome::finish(stream, self.grpc);
        self.grpc |= grpc;
        out.emitted.push(crate::exchange::Emitted::Done(exchange));
    }

    /// A stream is over.
    pub(super) fn end(&mut self, id: u32, why: Option<Incomplete>, out: &mut Output) {
        if let Ok(index) = self.index(id) {
            self.remove(index, why, out);
        }
    }

    /// A stream is over if both sides are, as far as its role wants to see.
    pub(super) fn settle(&mut self, id: u32, out: &mut Output) {
        let Ok(index) = self.index(id) else { return };
        let over = self.open.get(index).is_some_and(|stream| {
            // A server has done its part when it has answered, and an RPC is over with its status; else the client may go on
            // sending.
            let server = stream.exchange.role == Role::Server || stream.kind != Kind::Plain;
            stream.response.ended && (stream.request.ended || stream.request.suspect.is_some() || server)
        });
        if over {
            self.remove(index, None, out);
        }
    }

    /// Ends those that `which` chooses.
    pub(super) fn end_where(
        &mut self,
        out: &mut Output,
        mut which: impl FnMut(&mut Stream) -> bool,
        why: Option<Incomplete>,
    ) {
        let mut index = 0;
        while let Some(stream) = self.open.get_mut(index) {
            // Answered in full, it only waited for the rest of its request.
            let why = why.filter(|_| !stream.response.ended);
            if which(stream) { self.remove(index, why, out) } else { index += 1 }
        }
    }

    /// Bytes of a direction were lost: any stream that was not over in it may have had frames there.
    pub(super) fn suspect(&mut self, requests: bool, why: Incomplete, out: &mut Output) {
        for stream in &mut self.open {
            let half = stream.half(requests);
            if !half.ended {
                half.suspect.get_or_insert(why);
                half.messages.lose();
            }
        }
        // Those that only waited for the rest of their request wait in vain.
        self.end_where(out, |stream| stream.response.ended && stream.request.suspect.is_some(), None);
    }
}

impl Stream {
    fn new(id: u32, exchange: Box<Exchange>, kind: Kind, timeout: Option<u64>) -> Self {
        let touched = exchange.request.last.time;
        Self {
            id,
            exchange,
            touched,
            request: Half::of(kind, true),
            response: Half::of(kind, false),
            kind,
            timeout,
            grpc_status: None,
            failed: None,
            answer: None,
            trailers: false,
            unknown: false,
        }
    }
}

/// Which RPC system a request is of.
fn kind_of(block: &Block) -> Kind {
    let target = block.http.target.map(|target| block.text.str(target)).unwrap_or_default();
    match Kind::of(block.content, block.connect, target) {
        Kind::Plain if block.content.is_none() && block.unknown && (block.posts || block.http.method.is_none()) => {
            Kind::Unknown
        }
        kind => kind,
    }
}
