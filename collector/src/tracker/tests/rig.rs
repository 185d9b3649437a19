//! Verbs for tests: connections that make records, a tracker, and what came out of it.

use std::sync::Arc;

use sidelight_events::{
    Close, ConnKey, DataHeader, Event, Open, TlsBind, TlsFree, close_flags, ended, family, flags, how, kind, layer,
    maps::policy, open_flags, role,
};
use sidelight_protocol_parsers::{Emitted, Exchange, KernelTime, detect::Detection};

use super::toy;
use crate::{
    model::Connection,
    tracker::{Detect, Limits, Sink, Tracker},
};

pub(super) const MS: u64 = 1_000_000;

/// An owned record.
#[derive(Clone, Debug)]
pub(super) enum Record {
    Data(DataHeader, Vec<u8>),
    Open(Open),
    Close(Close),
    Bind(TlsBind),
    Free(TlsFree),
}

impl Record {
    pub(super) fn event(&self) -> Event<'_> {
        match self {
            Self::Data(header, bytes) => Event::Data(header, bytes),
            Self::Open(open) => Event::Open(open),
            Self::Close(close) => Event::Close(close),
            Self::Bind(bind) => Event::TlsBind(bind),
            Self::Free(free) => Event::TlsFree(free),
        }
    }

    pub(super) fn header(&mut self) -> &mut DataHeader {
        let Self::Data(header, _) = self else { panic!("no data: {self:?}") };
        header
    }

    /// Only the first bytes were captured.
    pub(super) fn cut(mut self, captured: usize) -> Self {
        let Self::Data(header, bytes) = &mut self else { panic!("no data") };
        bytes.truncate(captured);
        header.cap_len = bytes.len() as u32;
        header.flags |= flags::CUT;
        self
    }
}

/// One connection as the hooks see it; `begin` is the sequence number of the first byte in both directions.
pub(super) struct Conn {
    pub(super) key: ConnKey,
    begin: u64,
    moved: [u64; 2],
    tls: u64,
}

pub(super) fn conn(number: u64) -> Conn {
    conn_at(number, 1000)
}

pub(super) fn conn_at(number: u64, begin: u32) -> Conn {
    Conn { key: ConnKey { sock: number, ino: number }, begin: u64::from(begin), moved: [0; 2], tls: 0 }
}

impl Conn {
    /// Plaintext of a TLS object on this connection.
    pub(super) fn tls(&self) -> Self {
        Self { key: self.key, begin: 0, moved: [0; 2], tls: 0xff00 + self.key.sock }
    }

    fn position(&self, dir: usize) -> u64 {
        let wide = self.begin + self.moved[dir];
        if self.tls == 0 { u64::from(wide as u32) } else { wide }
    }

    fn moves(&mut self, dir: usize, bytes: &[u8], at: u64) -> Record {
        let (offset, egress) = (self.position(dir), self.position(1));
        self.moved[dir] += bytes.len() as u64;
        let header = DataHeader {
            kind: kind::DATA,
            direction: dir as u8,
            layer: if self.tls == 0 { layer::SOCKET } else { layer::TLS },
            flags: if self.tls == 0 { flags::SEQ32 } else { 0 },
            cap_len: bytes.len() as u32,
            true_len: bytes.len() as u32,
            conn: if self.tls == 0 { self.key } else { ConnKey::default() },
            tgid: 7,
            tid: 8,
            tls: self.tls,
            begin_ns: at,
            end_ns: at,
            offset,
            other: if dir == 0 { egress } else { 0 },
            wire_seq: offset as u32,
            ..DataHeader::default()
        };
        Record::Data(header, bytes.to_vec())
    }

    pub(super) fn read(&mut self, bytes: impl AsRef<[u8]>, at: u64) -> Record {
        self.moves(0, bytes.as_ref(), at)
    }

    pub(super) fn write(&mut self, bytes: impl AsRef<[u8]>, at: u64) -> Record {
        self.moves(1, bytes.as_ref(), at)
    }

    pub(super) fn open(&self, at: u64) -> Record {
        Record::Open(Open {
            kind: kind::OPEN,
            family: family::INET,
            role: role::SERVER,
            flags: open_flags::SEQ32 | open_flags::FROM_START,
            local_port: 80,
            remote_port: 5000,
            conn: self.key,
            time_ns: at,
            egress: self.position(1),
            ingress: self.position(0),
            local_addr: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1],
            remote_addr: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 2],
            ..Open::default()
        })
    }

    /// As [`Self::open`], of a connection older than the daemon.
    pub(super) fn joined(&self, at: u64) -> Record {
        let Record::Open(open) = self.open(at) else { unreachable!() };
        Record::Open(Open { flags: open.flags & !open_flags::FROM_START, ..open })
    }

    pub(super) fn close(&self, at: u64) -> Record {
        Record::Close(Close {
            kind: kind::CLOSE,
            ended: ended::BOTH,
            how: how::FIN,
            flags: close_flags::SEQ32 | close_flags::POSITIONS,
            conn: self.key,
            time_ns: at,
            egress: self.position(1),
            ingress: self.position(0),
            ..Close::default()
        })
    }

    pub(super) fn bind(&self, at: u64) -> Record {
        Record::Bind(TlsBind {
            kind: kind::TLS_BIND,
            tgid: 7,
            tls: self.tls,
            conn: self.key,
            time_ns: at,
            ..TlsBind::default()
        })
    }

    pub(super) fn free(&self, at: u64) -> Record {
        Record::Free(TlsFree { kind: kind::TLS_FREE, tgid: 7, tls: self.tls, time_ns: at, ..TlsFree::default() })
    }
}

/// What came out.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) all: Vec<(Arc<Connection>, Emitted)>,
    pub(super) ignored: Vec<ConnKey>,
    /// Connections whose long calls are worth copying whole.
    pub(super) deep: Vec<ConnKey>,
}

impl Sink for Seen {
    fn emitted(&mut self, connection: &Arc<Connection>, what: Emitted) {
        self.all.push((connection.clone(), what));
    }

    fn policy(&mut self, key: ConnKey, value: u32) {
        match value {
            policy::IGNORE => self.ignored.push(key),
            policy::DEEP => self.deep.push(key),
            other => panic!("policy {other}"),
        }
    }

    fn program(&self, pid: u32) -> &str {
        if pid == 7 { "toyd" } else { "" }
    }
}

impl Seen {
    pub(super) fn exchanges(&self) -> Vec<&Exchange> {
        let done = self.all.iter().filter_map(|(_, what)| match what {
            Emitted::Done(exchange) => Some(&**exchange),
            _ => None,
        });
        done.collect()
    }

    /// `Q1A1` of every whole exchange, `Q1!` of every other.
    pub(super) fn lines(&self) -> Vec<String> {
        self.exchanges().into_iter().map(line).collect()
    }
}

pub(super) fn line(exchange: &Exchange) -> String {
    let text = format!("{:?}", exchange.text);
    let text = text.split('"').nth(1).unwrap_or_default();
    format!("{text}{}", if exchange.incomplete.is_empty() { "" } else { "!" })
}

/// A tracker of the toy, whose byte ledger is checked after every event.
pub(super) struct Rig {
    pub(super) tracker: Tracker,
    pub(super) seen: Seen,
    pub(super) now: u64,
}

pub(super) fn rig() -> Rig {
    rig_with(Limits::default())
}

pub(super) fn rig_with(limits: Limits) -> Rig {
    Rig { tracker: Tracker::with_detection(limits, toy::detect), seen: Seen::default(), now: 0 }
}

/// A tracker of the toy where port and program speak for it.
pub(super) fn rig_of_toyd() -> Rig {
    let detect: Detect = |sample, candidates| match (sample.port, sample.program) {
        (Some(80), "toyd") => toy::detect(sample, candidates),
        _ => Detection::Unknown,
    };
    Rig { tracker: Tracker::with_detection(Limits::default(), detect), ..rig() }
}

/// A tracker of the real protocols.
pub(super) fn real_rig() -> Rig {
    Rig { tracker: Tracker::new(Limits::default()), ..rig() }
}

impl Rig {
    pub(super) fn feed(&mut self, records: impl IntoIterator<Item = Record>) -> &mut Self {
        for record in records {
            self.now = self.now.max(record.event().time_ns());
            self.tracker.handle(record.event(), KernelTime(self.now), &mut self.seen);
            self.check();
        }
        self
    }

    pub(super) fn tick(&mut self, at: u64) -> &mut Self {
        self.now = at;
        self.tracker.tick(KernelTime(at), &mut self.seen);
        self.check();
        self
    }

    pub(super) fn shutdown(&mut self) -> &mut Self {
        self.tracker.shutdown(KernelTime(self.now), &mut self.seen);
        self.check();
        let counts = self.tracker.counts();
        assert_eq!((counts.bytes.buffered, counts.exchanges.open(), self.tracker.buffered()), (0, 0, 0), "{counts:?}");
        assert_eq!(counts.connections.live, 0);
        self
    }

    fn check(&self) {
        let counts = self.tracker.counts();
        assert!(counts.bytes.balanced(), "{counts:?}");
        let begun = self.seen.all.iter().filter(|(_, what)| matches!(what, Emitted::Begun { .. })).count();
        assert_eq!(counts.exchanges.begun, begun as u64);
        let connections = &counts.connections;
        let ended = connections.closed + connections.idle + connections.limit + connections.memory;
        assert_eq!(connections.opened, ended + connections.shutdown + connections.live);
    }
}
