//! The tracker: events of all connections in ring order in, exchanges out.
//!
//! In: [`Event`]s and the time. Out: through a [`Sink`], what the connections' parsers say and which connections need not be
//! captured any more; [`Counts`], in which every byte and exchange is accounted for. No I/O, no clock.
//!
//! * `piece`, `order`: each direction by offset, reads behind the writes they followed.
//! * `stream`, `waiting`: detection, then the connection's own parser.
//! * `entry`, `table`: one connection's life; all of them, by last use.
//! * `tls`: plaintext of TLS objects, tied to connections.

mod buffers;
mod counts;
mod entry;
mod order;
mod piece;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod waiting;

use std::{cmp::Reverse, collections::BinaryHeap, net::Ipv6Addr, sync::Arc};

use rustc_hash::FxHashMap;
use sidelight_events::{
    Close as CloseRecord, ConnKey, DataHeader, Event, Open, close_flags, ended, family, flags, how, layer, open_flags,
    role,
};
use sidelight_protocol_parsers::{
    Close, Direction, Emitted, KernelTime, Output, Role,
    detect::{Candidates, Detection, Sample, detect},
};

pub use counts::{Bytes, Connections, Counts, Exchanges};
use entry::{Entry, Object};
use stream::{Context, Ignored, Start};
use table::Table;

use crate::model::{Connection, Endpoint, Side};

/// What the tracker may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections tracked at once; the one quiet for longest is dropped.
    pub connections: usize,
    /// Bytes that wait, all connections together, parsers' heaps included; quiet connections that hold some are dropped.
    pub buffers: usize,
    /// Bytes held of one connection until what precedes them comes; then what is missing is a hole.
    pub hold_bytes: usize,
    /// Nanoseconds of event time for the same.
    pub hold_ns: u64,
    /// Nanoseconds after which a quiet connection is dropped.
    pub idle_ns: u64,
    /// Plaintext bytes of one TLS object that wait for its connection.
    pub tls_wait_bytes: usize,
    /// Nanoseconds for the same.
    pub tls_wait_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            buffers: 8 << 20,
            hold_bytes: 64 << 10,
            hold_ns: 100_000_000,
            idle_ns: 300_000_000_000,
            tls_wait_bytes: 64 << 10,
            tls_wait_ns: 5_000_000_000,
        }
    }
}

/// The stage behind the tracker.
pub trait Sink {
    /// A parser said something about an exchange of this connection (never `Emitted::Switch`).
    fn emitted(&mut self, connection: &Arc<Connection>, what: Emitted);

    /// From now on this connection needs another capture policy (`sidelight_events::maps::policy`).
    fn policy(&mut self, key: ConnKey, policy: u32);

    /// Name of the program that a process runs, empty where it is not known. Asked for while a protocol is sought.
    fn program(&self, _pid: u32) -> &str {
        ""
    }
}

/// All connections of one shard.
pub struct Tracker {
    limits: Limits,
    detect: Detect,
    /// The side to keep of connections given from both ends.
    side: Side,
    now: KernelTime,
    table: Table,
    sockets: FxHashMap<ConnKey, u32>,
    /// TLS objects by process and address.
    objects: FxHashMap<Object, u32>,
    /// TLS objects by the connection they are tied to.
    bound: FxHashMap<ConnKey, u32>,
    /// When which entry (index and generation) is to be woken; entries that were woken meanwhile are skipped.
    timers: BinaryHeap<Reverse<(KernelTime, u32, u32)>>,
    counts: Counts,
    buffers: buffers::Buffers,
    out: Output,
}

type Detect = fn(&Sample<'_>, &mut Candidates) -> Detection;

impl Tracker {
    /// A tracker without connections.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_detection(limits, detect)
    }

    /// Of the connections of a capture file both ends are given, unless the SYN tells which is which and one is asked for: keeps
    /// the exchanges of one.
    #[must_use]
    pub fn looking_at(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    fn with_detection(limits: Limits, detect: Detect) -> Self {
        Self {
            limits,
            detect,
            side: Side::Both,
            now: KernelTime::default(),
            table: Table::default(),
            sockets: FxHashMap::default(),
            objects: FxHashMap::default(),
            bound: FxHashMap::default(),
            timers: BinaryHeap::new(),
            counts: Counts::default(),
            buffers: buffers::Buffers::default(),
            out: Output::default(),
        }
    }

    /// Takes one event. `now` is the newest event time while there are more, else the clock.
    pub fn handle(&mut self, event: Event<'_>, now: KernelTime, sink: &mut impl Sink) {
        self.advance(now, sink);
        match event {
            Event::Data(header, bytes) if header.true_len > 0 => self.data(header, bytes, sink),
            Event::Open(open) => self.open(open, sink),
            Event::Close(close) => self.close(close, sink),
            Event::TlsBind(bind) => self.tls_bind(bind, sink),
            Event::TlsFree(free) => self.tls_free(free, sink),
            Event::Data(..) | Event::Process(_) | Event::Mark(_) => {}
        }
        self.make_room(sink);
    }

    /// Lets time pass: about once a second, and whenever nothing came for a while.
    pub fn tick(&mut self, now: KernelTime, sink: &mut impl Sink) {
        self.advance(now, sink);
        let all: Vec<u32> = self.table.oldest().collect();
        for index in all {
            let Some(idle) = self.table.get(index).map(|entry| self.now.since(entry.seen) >= self.limits.idle_ns)
            else {
                continue;
            };
            self.with(index, sink, |entry, _, context| entry.stream.tick(now, context));
            if idle {
                self.end(index, Close::Evicted, self.now, sink);
                self.counts.connections.idle += 1;
            }
        }
        self.make_room(sink);
    }

    /// Ends everything that is open.
    pub fn shutdown(&mut self, now: KernelTime, sink: &mut impl Sink) {
        self.advance(now, sink);
        let all: Vec<u32> = self.table.oldest().collect();
        for index in all {
            self.end(index, Close::Shutdown, self.now, sink);
            self.counts.connections.shutdown += 1;
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Bytes that wait now, parsers' heaps included: what [`Limits::buffers`] bounds.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffers.used()
    }

    fn data(&mut self, header: &DataHeader, bytes: &[u8], sink: &mut impl Sink) {
        self.counts.bytes.presented += u64::from(header.true_len);
        let index = match header.layer {
            layer::TLS => self.tls_object(header, sink),
            _ => self.socket(header.conn, sink),
        };
        self.with(index, sink, |entry, inside, context| {
            entry.seen = inside.now;
            let mut piece = piece::Piece::of(header);
            if header.flags & flags::SEQ32 != 0 {
                piece.offset = entry.order.widen(piece.dir, piece.offset);
                piece.other = piece.other.map(|other| entry.order.widen(piece.dir.opposite(), other));
            }
            entry.piece(piece, bytes, inside.now, &inside.limits, context);
        });
        if header.layer == layer::TLS {
            self.limit_unbound(index, sink);
        }
    }

    fn open(&mut self, open: &Open, sink: &mut impl Sink) {
        let index = self.socket(open.conn, sink);
        let connection = Arc::new(announced(open));
        if let Some(tls) = self.bound.get(&open.conn).copied() {
            self.with(tls, sink, |entry, _, _| tls::learn(entry, &connection, Start::Middle));
        }
        self.with(index, sink, |entry, inside, _| {
            entry.seen = inside.now;
            for (dir, position) in [(Direction::Ingress, open.ingress), (Direction::Egress, open.egress)] {
                let seq32 = open.flags & open_flags::SEQ32 != 0;
                let position = if seq32 { entry.order.widen(dir, position) } else { position };
                entry.order.begins(dir, position);
            }
            entry.stream.begins(start(open), connection.role);
            if entry.stream.connection.remote == Endpoint::Unknown {
                entry.stream.connection = connection;
            }
        });
    }

    fn close(&mut self, close: &CloseRecord, sink: &mut impl Sink) {
        let reason = match close.how {
            how::FIN => Close::Fin,
            how::RESET => Close::Reset,
            _ => Close::Unknown,
        };
        let at = KernelTime(close.time_ns);
        let until = KernelTime(self.now.0.saturating_add(self.limits.hold_ns));
        let both = close.ended & ended::BOTH == ended::BOTH;
        let sides =
            [(Direction::Ingress, ended::INGRESS, close.ingress), (Direction::Egress, ended::EGRESS, close.egress)];
        if let Some(tls) = self.bound.get(&close.conn).copied() {
            self.with(tls, sink, |entry, _, _| {
                for (dir, _, _) in sides.into_iter().filter(|(_, bit, _)| close.ended & bit != 0) {
                    entry.socket_ended(dir, reason, at);
                }
                if both {
                    entry.closes(reason, at, until);
                }
            });
        }
        let Some(index) = self.sockets.get(&close.conn).copied() else { return };
        self.with(index, sink, |entry, inside, context| {
            for (dir, _, position) in sides.into_iter().filter(|(_, bit, _)| close.ended & bit != 0) {
                if close.flags & close_flags::POSITIONS != 0 {
                    let seq32 = close.flags & close_flags::SEQ32 != 0;
                    let position = if seq32 { entry.order.widen(dir, position) } else { position };
                    entry.order.ends(dir, position);
                }
                if !both {
                    entry.half_closes(dir, reason, at);
                }
            }
            if both {
                entry.closes(reason, at, until);
            }
            entry.advance(entry.patience(inside.now, &inside.limits), context);
        });
    }

    /// The entry of a socket, a new one if need be.
    fn socket(&mut self, key: ConnKey, sink: &mut impl Sink) -> u32 {
        if let Some(index) = self.sockets.get(&key) {
            return *index;
        }
        let unknown = Connection { key, local: Endpoint::Unknown, remote: Endpoint::Unknown, tls: false, role: None };
        let index = self.insert(None, unknown, sink);
        self.sockets.insert(key, index);
        if self.bound.contains_key(&key) {
            self.with(index, sink, |entry, inside, context| entry.stop(Ignored::Ciphertext, inside.now, context));
        }
        index
    }

    fn insert(&mut self, object: Option<Object>, connection: Connection, sink: &mut impl Sink) -> u32 {
        while self.table.len() >= self.limits.connections.max(1) {
            let Some(oldest) = self.table.oldest().next() else { break };
            self.end(oldest, Close::Evicted, self.now, sink);
            self.counts.connections.limit += 1;
        }
        self.counts.connections.opened += 1;
        self.counts.connections.live += 1;
        self.table.insert(Box::new(Entry::new(object, Arc::new(connection), self.now)))
    }

    /// Works with one entry; afterwards it is woken, or gone, when it says so.
    fn with<S: Sink>(&mut self, index: u32, sink: &mut S, work: impl FnOnce(&mut Entry, Inside, &mut Context<'_, S>)) {
        let Some(mut entry) = self.table.take(index) else { return };
        work(&mut entry, Inside { now: self.now, limits: self.limits }, &mut self.context(sink));
        let over = entry.over(self.now);
        if let Some(at) = entry.wake_at(&self.limits)
            && at < entry.due
            && let Some(generation) = self.table.generation(index)
        {
            entry.due = at;
            self.timers.push(Reverse((at, index, generation)));
        }
        if entry.seen.since(entry.touched) >= TOUCH_NS {
            entry.touched = entry.seen;
            self.table.touch(index);
        }
        self.table.put(index, entry);
        if let Some((how, at)) = over {
            self.end(index, how, at, sink);
            self.counts.connections.closed += 1;
        }
    }

    fn context<'a, S>(&'a mut self, sink: &'a mut S) -> Context<'a, S> {
        let Self { detect, side, out, counts, buffers, .. } = self;
        Context { detect: *detect, side: *side, out, counts, buffers, sink }
    }

    /// Ends an entry and forgets it.
    fn end(&mut self, index: u32, how: Close, at: KernelTime, sink: &mut impl Sink) {
        let Some(mut entry) = self.table.take(index) else { return };
        entry.finish(how, at, &mut self.context(sink));
        let key = entry.stream.connection.key;
        match &entry.object {
            None => remove_if(&mut self.sockets, &key, index),
            Some(object) => {
                remove_if(&mut self.objects, object, index);
                remove_if(&mut self.bound, &key, index);
            }
        }
        self.table.remove(index);
        self.counts.connections.live -= 1;
    }

    /// Moves the time on and wakes what is due.
    fn advance(&mut self, now: KernelTime, sink: &mut impl Sink) {
        self.now = self.now.max(now);
        while let Some(Reverse((at, index, generation))) = self.timers.peek().copied()
            && at <= self.now
        {
            self.timers.pop();
            let due = self.table.get(index).is_some_and(|entry| entry.due == at);
            if due && self.table.generation(index) == Some(generation) {
                self.with(index, sink, |entry, inside, context| entry.wake(inside, context));
            }
        }
    }

    /// Drops quiet connections that hold memory while there is too much of it.
    fn make_room(&mut self, sink: &mut impl Sink) {
        while self.buffers.used() > self.limits.buffers {
            let holds = |index: &u32| self.table.get(*index).is_some_and(|entry| entry.memory() > 0);
            let Some(index) = self.table.oldest().find(holds) else { break };
            self.end(index, Close::Evicted, self.now, sink);
            self.counts.connections.memory += 1;
        }
    }
}

/// What an entry may know of the tracker.
#[derive(Clone, Copy)]
struct Inside {
    now: KernelTime,
    limits: Limits,
}

fn remove_if<K: std::hash::Hash + Eq>(map: &mut FxHashMap<K, u32>, key: &K, index: u32) {
    if map.get(key) == Some(&index) {
        map.remove(key);
    }
}

fn announced(open: &Open) -> Connection {
    let inet = |address: [u8; 16], port| Endpoint::Inet(Ipv6Addr::from(address).to_canonical(), port);
    let (local, remote) = if open.family == family::UNIX {
        (Endpoint::Unix(unix_path(&open.unix_path).into()), Endpoint::Unix(Box::default()))
    } else {
        (inet(open.local_addr, open.local_port), inet(open.remote_addr, open.remote_port))
    };
    let role = match open.role {
        role::CLIENT => Some(Role::Client),
        role::SERVER => Some(Role::Server),
        _ => None,
    };
    Connection { key: open.conn, local, remote, tls: false, role }
}

/// Only TCP itself counts what was moved before the hooks looked.
fn start(open: &Open) -> Start {
    match open.flags {
        flags if flags & open_flags::FROM_START != 0 => Start::First,
        flags if flags & open_flags::SEQ32 != 0 => Start::Middle,
        _ => Start::Untold,
    }
}

/// The path up to its NUL; an abstract name begins with NUL and is shown with `@`.
fn unix_path(path: &[u8; 32]) -> String {
    let (prefix, name) = match path {
        [0, name @ ..] if name.first().is_some_and(|byte| *byte != 0) => ("@", name.as_slice()),
        path => ("", path.as_slice()),
    };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    format!("{prefix}{}", String::from_utf8_lossy(name.get(..end).unwrap_or_default()))
}

/// A connection's place in the order of last use is renewed at most once in this time.
const TOUCH_NS: u64 = 1_000_000_000;
