//! Tracker and HTTP/1 parser together: keep-alive connections as a server sees them, one read and one write an exchange.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidelight::{
    model::Connection,
    tracker::{Limits, Sink, Tracker},
};
use sidelight_events::{ConnKey, DataHeader, Event, Open, direction, family, flags, kind, open_flags, role};
use sidelight_protocol_parsers::{Emitted, KernelTime};

const REQUEST: &[u8] = b"GET /index.html?id=1234567 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench/1.0\r\n\
    Accept: */*\r\nConnection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: text/html\r\nContent-Length: 612\r\nConnection: keep-alive\r\nAccept-Ranges: bytes\r\n\r\n";

#[derive(Default)]
struct Counted {
    done: u64,
}

impl Sink for Counted {
    fn emitted(&mut self, _: &Arc<Connection>, what: Emitted) {
        if let Emitted::Done(exchange) = what {
            self.done += u64::from(exchange.incomplete.is_empty());
        }
    }

    fn policy(&mut self, key: ConnKey, _: u32) {
        panic!("{key:?} was given up");
    }
}

/// One connection's positions.
struct Peer {
    key: ConnKey,
    ingress: u32,
    egress: u32,
}

impl Peer {
    fn call(&mut self, dir: u8, bytes: &[u8], true_len: u32, at: u64, tracker: &mut Tracker, sink: &mut Counted) {
        let position = if dir == direction::EGRESS { &mut self.egress } else { &mut self.ingress };
        let offset = u64::from(*position);
        *position = position.wrapping_add(true_len);
        let header = DataHeader {
            kind: kind::DATA,
            direction: dir,
            flags: flags::SEQ32 | if bytes.len() < true_len as usize { flags::CUT } else { 0 },
            cap_len: bytes.len() as u32,
            true_len,
            conn: self.key,
            tgid: 100,
            tid: 100,
            end_ns: at,
            offset,
            other: if dir == direction::INGRESS { u64::from(self.egress) } else { 0 },
            ..DataHeader::default()
        };
        tracker.handle(Event::Data(&header, bytes), KernelTime(at), sink);
    }
}

fn keep_alive(c: &mut Criterion) {
    let mut group = c.benchmark_group("tracker and http1");
    for connections in [1_u64, 1000] {
        let mut tracker = Tracker::new(Limits::default());
        let mut sink = Counted::default();
        let mut peers: Vec<Peer> = (0..connections)
            .map(|n| Peer { key: ConnKey { sock: 0xffff_8880_0000_0000 + n * 2496, ino: n }, ingress: 1, egress: 1 })
            .collect();
        for peer in &peers {
            let open = Open {
                kind: kind::OPEN,
                family: family::INET,
                role: role::SERVER,
                flags: open_flags::SEQ32 | open_flags::FROM_START,
                local_port: 8080,
                remote_port: 4000,
                conn: peer.key,
                egress: 1,
                ingress: 1,
                ..Open::default()
            };
            tracker.handle(Event::Open(&open), KernelTime(1), &mut sink);
        }
        let whole = [RESPONSE, &[b'x'; 612]].concat();
        let (mut at, mut turn, mut expected) = (1_000, 0, 0);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{connections} connections"), |b| {
            b.iter(|| {
                let peer = &mut peers[turn];
                turn = (turn + 1) % connections as usize;
                at += 20_000;
                peer.call(direction::INGRESS, REQUEST, REQUEST.len() as u32, at, &mut tracker, &mut sink);
                peer.call(direction::EGRESS, &whole, whole.len() as u32, at + 10_000, &mut tracker, &mut sink);
                expected += 1;
            });
        });
        assert_eq!(sink.done, expected);
        assert!(tracker.counts().bytes.balanced());
    }
    group.finish();
}

criterion_group!(benches, keep_alive);
criterion_main!(benches);
