//! Capture files of curl against nginx, made by `captures/record.sh`, and of HTTP/2 and gRPC, by `captures/record-http2.sh`: what
//! comes out is what tshark lists.

#![expect(clippy::unwrap_used, reason = "tests panic")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sidelight::{
    model::{Connection, Endpoint},
    source::{FileSource, Item, Side},
    tracker::{Counts, Limits, Sink, Tracker},
};
use sidelight_events::{ConnKey, maps::policy::DEEP};
use sidelight_protocol_parsers::{Details, Emitted, Exchange, KernelTime, Role};

#[derive(Default)]
struct Seen {
    exchanges: Vec<(Arc<Connection>, Box<Exchange>)>,
}

impl Sink for Seen {
    fn emitted(&mut self, connection: &Arc<Connection>, what: Emitted) {
        if let Emitted::Done(exchange) = what {
            self.exchanges.push((connection.clone(), exchange));
        }
    }

    fn policy(&mut self, key: ConnKey, policy: u32) {
        assert_eq!(policy, DEEP, "{key:?} is given up");
    }
}

fn replay(file: &Path, side: Side) -> (Seen, Counts) {
    let mut source = FileSource::open(file, side).unwrap();
    let mut tracker = Tracker::new(Limits::default()).looking_at(side);
    let (mut seen, mut now) = (Seen::default(), KernelTime::default());
    let mut take = |item: Item<'_>| {
        if let Item::Event(event) = item {
            now = now.max(KernelTime(event.time_ns()));
            tracker.handle(event, now, &mut seen);
            assert!(tracker.counts().bytes.balanced(), "{:?}", tracker.counts());
        }
    };
    while source.read(&mut take).unwrap() {}
    tracker.shutdown(now, &mut seen);
    assert!(tracker.counts().bytes.balanced() && tracker.counts().exchanges.open() == 0);
    let counts = tracker.counts().clone();
    (seen, counts)
}

/// As tshark's list: a line for the request, one for the answer, with the ports they came from and went to.
fn lines(seen: &Seen, role: Role) -> Vec<String> {
    let mut lines = Vec::new();
    for (connection, exchange) in seen.exchanges.iter().filter(|(_, exchange)| exchange.role == role) {
        assert!(exchange.incomplete.is_empty(), "{exchange:?}");
        let Details::Http(http) = exchange.details else { panic!("{exchange:?}") };
        let text = |span: Option<_>| span.map_or("", |span| exchange.text.str(span));
        let port = |end: &Endpoint| if let Endpoint::Inet(_, port) = end { *port } else { panic!("{end:?}") };
        let (local, remote) = (port(&connection.local), port(&connection.remote));
        let (client, server) = if role == Role::Client { (local, remote) } else { (remote, local) };
        lines.push(format!("{} {}  {client} {server}", text(http.method), text(http.target)));
        lines.push(format!("{} {server} {client}", http.status.unwrap()));
        assert!(exchange.request.first.time <= exchange.response.unwrap().last.time);
    }
    lines.sort();
    lines
}

fn golden(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(format!("{}.golden", file.display())).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn files() -> Vec<PathBuf> {
    let names =
        ["ethernet.pcap", "ethernet.pcapng", "nanoseconds.pcap", "cooked-any.pcap", "cooked2-any.pcap", "cut.pcap"];
    names.map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name)).to_vec()
}

#[test]
fn either_side_gives_what_tshark_lists() {
    for file in files() {
        for role in [Role::Server, Role::Client] {
            let (seen, counts) = replay(&file, Side::Only(role));
            assert_eq!(lines(&seen, role), golden(&file), "{} {role:?}", file.display());
            assert_eq!(lines(&seen, role).len(), 2 * seen.exchanges.len());
            assert_eq!(counts.gaps, 0, "{}", file.display());
        }
    }
}

#[test]
fn both_sides_give_every_exchange_twice() {
    for file in files() {
        let (seen, _) = replay(&file, Side::Both);
        assert_eq!(lines(&seen, Role::Server), golden(&file));
        assert_eq!(lines(&seen, Role::Client), golden(&file));
    }
}

#[test]
fn a_connection_whose_syn_was_not_captured_is_seen_from_the_side_asked_for() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/joined.pcapng");
    for role in [Role::Server, Role::Client] {
        let (seen, counts) = replay(&file, Side::Only(role));
        assert_eq!(lines(&seen, role), golden(&file), "{role:?}");
        assert_eq!(lines(&seen, role).len(), 2 * seen.exchanges.len());
        assert!(counts.bytes.other_side > 0);
    }
}

#[test]
fn times_are_the_packets_times() {
    let (micros, _) = replay(&files()[0], Side::Only(Role::Server));
    let (blocks, _) = replay(&files()[1], Side::Only(Role::Server));
    let times = |seen: &Seen| seen.exchanges.iter().map(|(_, e)| e.request.first.time).collect::<Vec<_>>();
    assert_eq!(times(&micros), times(&blocks));
    let year_2026 = 1_767_225_600_000_000_000..1_798_761_600_000_000_000;
    assert!(times(&micros).iter().all(|time| year_2026.contains(&time.0)));
    let (nanos, _) = replay(&files()[2], Side::Only(Role::Server));
    assert!(times(&nanos).iter().all(|time| year_2026.contains(&time.0)));
    assert!(times(&nanos).iter().any(|time| time.0 % 1000 != 0));
}

/// As `golden-http2.py`.
fn streams(seen: &Seen) -> Vec<String> {
    let mut lines = Vec::new();
    for (connection, exchange) in &seen.exchanges {
        let text = |span: Option<_>| span.map_or("", |span| exchange.text.str(span));
        let client = if exchange.role == Role::Client { &connection.local } else { &connection.remote };
        let Endpoint::Inet(_, port) = client else { panic!("{client:?}") };
        lines.push(match exchange.details {
            Details::Http(http) => {
                let sizes = format!(">{} <{}", http.request_body.unwrap(), http.response_body.unwrap());
                format!("{port} {} {} {} {sizes}", text(http.method), text(http.target), http.status.unwrap())
            }
            Details::Rpc(rpc) => format!("{port} grpc {} {}", text(rpc.method), rpc.status.unwrap()),
            other @ (Details::Db(_) | Details::Generic) => panic!("{other:?}"),
        });
    }
    lines.sort();
    lines
}

#[test]
fn http2_and_grpc_give_what_tshark_lists() {
    for name in ["http2.pcap", "grpc.pcap"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name);
        for role in [Role::Server, Role::Client] {
            let (seen, counts) = replay(&file, Side::Only(role));
            assert_eq!(streams(&seen), golden(&file), "{name} {role:?}");
            assert_eq!(counts.gaps, 0, "{name}");
        }
    }
}
