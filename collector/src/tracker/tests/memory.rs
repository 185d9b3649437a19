//! What a quiet connection costs, whatever it spoke.
//!
//! In: the sessions recorded with real peers (`protocol-parsers/sessions`), each on many connections at once. Out: bytes a
//! connection as the allocator counts them: tracker, parser, rests and all.

use std::{fs, path::Path, sync::Arc};

use allocation_counter::measure;
use sidelight_events::ConnKey;
use sidelight_protocol_parsers::{Direction, Emitted, KernelTime, proof::Session};

use super::rig::conn;
use crate::{
    model::Connection,
    tracker::{Limits, Sink, Tracker},
};

struct Nobody;

impl Sink for Nobody {
    fn emitted(&mut self, _: &Arc<Connection>, _: Emitted) {}

    fn policy(&mut self, _: ConnKey, _: u32) {}
}

const CONNECTIONS: u64 = 1024;

/// Bytes a connection when it was quiet for two seconds behind the session.
fn cost(session: &Session) -> u64 {
    let mut tracker = Tracker::new(Limits { connections: 1 << 20, buffers: 1 << 30, ..Limits::default() });
    let mut now = 0;
    let mut play = |number: u64| {
        let mut c = conn(number);
        let mut records = vec![c.open(now)];
        for call in &session.calls {
            now += 1000;
            records.push(match call.dir {
                Direction::Ingress => c.read(&call.bytes, now),
                Direction::Egress => c.write(&call.bytes, now),
            });
        }
        for record in records {
            tracker.handle(record.event(), KernelTime(now), &mut Nobody);
        }
    };
    // Tables and pools have their size by then.
    (1..=CONNECTIONS).for_each(&mut play);
    let used = measure(|| (CONNECTIONS + 1..=2 * CONNECTIONS).for_each(&mut play));
    let mut second = |n: u64| measure(|| tracker.tick(KernelTime(now + n * 1_000_000_000), &mut Nobody)).bytes_current;
    // Half of what the ticks give back belongs to the first half of the connections.
    let given_back: i64 = second(1) + second(2);
    let each = (used.bytes_current + given_back / 2) / CONNECTIONS as i64;
    let limit = tracker.buffered() as u64 / (2 * CONNECTIONS);
    assert!(limit <= 64 << 10, "{limit} bytes");
    u64::try_from(each).unwrap()
}

#[test]
fn a_quiet_connection_is_small_whatever_it_spoke() {
    let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut sessions =
        vec![("http1".to_owned(), Session::new([(true, get), (false, "HTTP/1.1 204 No Content\r\n\r\n")]))];
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol-parsers/sessions");
    let mut add = |name: String| {
        let session = Session::load(&name);
        sessions.push((name, session));
    };
    for entry in fs::read_dir(&recorded).unwrap().map(Result::unwrap) {
        let name = entry.file_name().display().to_string();
        if entry.path().is_dir() {
            for file in fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
                add(format!("{name}/{}", file.file_name().display()));
            }
        } else if entry.path().extension().is_none() {
            add(name);
        }
    }
    let costs: Vec<(String, u64)> = sessions
        .into_iter()
        .map(|(name, session)| {
            let cost = cost(&session);
            (name, cost)
        })
        .collect();
    let large: Vec<_> = costs.iter().filter(|(name, cost)| *cost > limit(name)).collect();
    assert!(large.is_empty(), "{large:?} of {costs:?}");
}

/// Bytes: of the tracker about 370, the rest the parser's. The texts of prepared statements must stay, and those of indexed
/// header fields.
fn limit(name: &str) -> u64 {
    if name.starts_with("http2") || name == "postgresql/prepared.session" { 768 } else { 576 }
}
