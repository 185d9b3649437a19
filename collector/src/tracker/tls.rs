//! Plaintext of TLS objects: which connection it belongs to.
//!
//! In: plaintext pieces, `TlsBind`, `TlsFree`. Out: entries of their own, that wait until their connection is known, take
//! its addresses, and end with it. An object tied to two connections is not read at all. Its first byte is known to be one if
//! no call moved bytes of the connection outside of the object before it was tied: then the handshake was seen.

use std::sync::Arc;

use sidelight_events::{ConnKey, DataHeader, TlsBind, TlsFree};
use sidelight_protocol_parsers::{Close, KernelTime};

use super::{
    Sink, Tracker,
    entry::Entry,
    stream::{Ignored, Start},
};
use crate::model::{Connection, Endpoint};

impl Tracker {
    /// The entry of a plaintext record's TLS object, a new one if need be; tied if the record says to what.
    pub(super) fn tls_object(&mut self, header: &DataHeader, sink: &mut impl Sink) -> u32 {
        let index = self.object(header.tgid, header.tls, sink);
        if header.conn != ConnKey::default() {
            self.tie(index, header.conn, false, sink);
        }
        index
    }

    /// A TLS object used a connection.
    pub(super) fn tls_bind(&mut self, bind: &TlsBind, sink: &mut impl Sink) {
        if bind.conn != ConnKey::default() {
            let index = self.object(bind.tgid, bind.tls, sink);
            self.tie(index, bind.conn, bind.conflict != 0, sink);
        }
    }

    /// A TLS object was freed: it ends as its socket did, or does within the hold time.
    pub(super) fn tls_free(&mut self, free: &TlsFree, sink: &mut impl Sink) {
        let Some(index) = self.objects.remove(&(free.tgid, free.tls)) else { return };
        self.with(index, sink, |entry, inside, _| {
            let until = KernelTime(inside.now.0.saturating_add(inside.limits.hold_ns));
            entry.closes(entry.known_end().unwrap_or(Close::Unknown), KernelTime(free.time_ns), until);
        });
    }

    /// Drops plaintext that waits for its connection when it is too much.
    pub(super) fn limit_unbound(&mut self, index: u32, sink: &mut impl Sink) {
        self.with(index, sink, |entry, inside, context| {
            if entry.unbound && entry.order.held_bytes() > inside.limits.tls_wait_bytes {
                entry.drop_unbound(context);
            }
        });
    }

    fn object(&mut self, process: u32, object: u64, sink: &mut impl Sink) -> u32 {
        if let Some(index) = self.objects.get(&(process, object)) {
            return *index;
        }
        let key = ConnKey::default();
        let unknown = Connection { key, local: Endpoint::Unknown, remote: Endpoint::Unknown, tls: true, role: None };
        let index = self.insert(Some((process, object)), unknown, sink);
        self.objects.insert((process, object), index);
        index
    }

    /// Ties an object to a connection.
    fn tie(&mut self, index: u32, key: ConnKey, conflict: bool, sink: &mut impl Sink) {
        let Some(entry) = self.table.get(index) else { return };
        let tied = entry.stream.connection.key;
        if conflict || !entry.unbound && tied != key {
            return self.conflict(index, sink);
        }
        if !entry.unbound {
            return;
        }
        // Another object may not have been seen to end.
        if let Some(older) = self.bound.insert(key, index) {
            self.end(older, Close::Unknown, self.now, sink);
            self.counts.connections.closed += 1;
        }
        let socket = self.sockets.get(&key).copied();
        let below = socket.and_then(|socket| self.table.get(socket));
        let known = below.map(|entry| entry.stream.connection.clone());
        let start = match below {
            Some(entry) if entry.stream.is_at_start() && entry.order.holds_nothing() => Start::First,
            _ => Start::Middle,
        };
        if let Some(socket) = socket {
            self.with(socket, sink, |entry, inside, context| entry.stop(Ignored::Ciphertext, inside.now, context));
        }
        self.with(index, sink, |entry, inside, context| {
            let unknown = || Connection { key, ..Connection::clone(&entry.stream.connection) };
            let known = known.unwrap_or_else(|| Arc::new(unknown()));
            learn(entry, &known, start);
            entry.unbound = false;
            entry.advance(entry.patience(inside.now, &inside.limits), context);
        });
    }

    fn conflict(&mut self, index: u32, sink: &mut impl Sink) {
        let mut first = false;
        self.with(index, sink, |entry, inside, context| {
            first = entry.stream.ignored() != Some(Ignored::Conflict);
            entry.unbound = false;
            entry.stop(Ignored::Conflict, inside.now, context);
        });
        self.counts.connections.tls_conflict += u64::from(first);
    }
}

/// Takes the facts of the connection below, where they are not known yet.
pub(super) fn learn(entry: &mut Entry, below: &Connection, start: Start) {
    if entry.stream.connection.remote == Endpoint::Unknown {
        entry.stream.begins(start, below.role);
        entry.stream.connection = Arc::new(Connection { tls: true, ..below.clone() });
    }
}
