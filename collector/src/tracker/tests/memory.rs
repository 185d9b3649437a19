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

/// Bytes a connection behind the session, and a second later.
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
    let later = measure(|| tracker.tick(KernelTime(now + 1_000_000_000), &mut Nobody));
    let each = (used.bytes_current + later.bytes_current) / CONNECTIONS as i64;
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
    for protocol in fs::read_dir(&recorded).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        for file in fs::read_dir(protocol.path()).unwrap().map(Result::unwrap) {
            let name = format!("{}/{}", protocol.file_name().display(), file.file_name().display());
            let session = Session::load(&name);
            sessions.push((name, session));
        }
    }
    let costs: Vec<(String, u64)> = sessions
        .into_iter()
        .map(|(name, session)| {
            let cost = cost(&session);
            (name, cost)
        })
        .collect();
    let large: Vec<_> = costs.iter().filter(|(_, cost)| *cost > LIMIT).collect();
    assert!(large.is_empty(), "{large:?} of {costs:?}");
}

/// Bytes.
const LIMIT: u64 = 1536;
