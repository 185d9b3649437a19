//! A recorded scene, `recordings/scene.rec`, made by `recordings/record.sh`: in whatever order the ring might have given it, the
//! exchanges are nginx's list; whatever of it is lost, none is wrong.

#![expect(clippy::unwrap_used, reason = "tests panic")]

use std::{collections::BTreeSet, path::Path, sync::Arc};

use proptest::{collection::vec, prelude::*};
use sidelight::{
    model::Connection,
    source::{FileSource, Item, Side},
    tracker::{Counts, Limits, Sink, Tracker},
};
use sidelight_events::{Close, ConnKey, DataHeader, Event, Mark, Open, Process, TlsBind, TlsFree, flags};
use sidelight_protocol_parsers::{Details, Emitted, Exchange, KernelTime};

/// An owned record.
#[derive(Clone)]
enum Record {
    Data(DataHeader, Vec<u8>),
    Open(Open),
    Close(Close),
    Process(Process),
    Bind(TlsBind),
    Free(TlsFree),
    Mark(Mark),
}

impl Record {
    fn of(event: &Event<'_>) -> Self {
        match *event {
            Event::Data(header, bytes) => Self::Data(*header, bytes.to_vec()),
            Event::Open(record) => Self::Open(*record),
            Event::Close(record) => Self::Close(*record),
            Event::Process(record) => Self::Process(*record),
            Event::TlsBind(record) => Self::Bind(*record),
            Event::TlsFree(record) => Self::Free(*record),
            Event::Mark(record) => Self::Mark(*record),
        }
    }

    fn event(&self) -> Event<'_> {
        match self {
            Self::Data(header, bytes) => Event::Data(header, bytes),
            Self::Open(record) => Event::Open(record),
            Self::Close(record) => Event::Close(record),
            Self::Process(record) => Event::Process(record),
            Self::Bind(record) => Event::TlsBind(record),
            Self::Free(record) => Event::TlsFree(record),
            Self::Mark(record) => Event::Mark(record),
        }
    }
}

fn recorded() -> Vec<Record> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/scene.rec");
    let mut source = FileSource::open(&file, Side::Both).unwrap();
    let mut records = Vec::new();
    let mut take = |item: Item<'_>| {
        if let Item::Event(event) = item {
            records.push(Record::of(&event));
        }
    };
    while source.read(&mut take).unwrap() {}
    records
}

/// nginx's list; every exchange has two sides, and both were watched.
fn golden() -> Vec<String> {
    let mut lines: Vec<_> =
        include_str!("recordings/scene.golden").lines().flat_map(|line| [line.to_owned(), line.to_owned()]).collect();
    lines.sort();
    lines
}

#[derive(Default)]
struct Seen(Vec<Exchange>);

impl Sink for Seen {
    fn emitted(&mut self, _: &Arc<Connection>, what: Emitted) {
        if let Emitted::Done(exchange) = what {
            self.0.push(*exchange);
        }
    }

    fn policy(&mut self, _: ConnKey, _: u32) {}
}

/// `METHOD PATH STATUS BODY` of what is whole, sorted.
fn run(records: &[Record]) -> (Vec<String>, Counts) {
    let (mut tracker, mut seen, mut now) = (Tracker::new(Limits::default()), Seen::default(), KernelTime::default());
    for record in records {
        let event = record.event();
        now = now.max(KernelTime(event.time_ns()));
        tracker.handle(event, now, &mut seen);
        assert!(tracker.counts().bytes.balanced(), "{:?}", tracker.counts());
    }
    let end = KernelTime(now.0 + 10_000_000_000);
    tracker.tick(end, &mut seen);
    tracker.shutdown(end, &mut seen);
    let mut lines: Vec<_> = seen.0.iter().filter(|exchange| exchange.incomplete.is_empty()).map(line).collect();
    lines.sort();
    (lines, tracker.counts().clone())
}

fn line(exchange: &Exchange) -> String {
    let Details::Http(http) = exchange.details else { panic!("{exchange:?}") };
    let text = |span: Option<_>| span.map_or("", |span| exchange.text.str(span));
    let (status, body) = (http.status.unwrap(), http.response_body.unwrap());
    format!("{} {} {status} {body}", text(http.method), text(http.target))
}

/// Nanoseconds of the scene by which a record may be late: half the time the tracker waits for it.
const LATE: u64 = 50_000_000;

/// Moves records back as the ring may. Of one connection a write's record may come after those of later calls; a read's comes
/// before those of all calls behind the next write, because its hook ran before the caller had the bytes. Records of different
/// connections know nothing of each other.
fn permute(records: Vec<Record>, moves: &[(usize, usize)]) -> Vec<Record> {
    let mut writes = std::collections::HashMap::new();
    let mut all = Vec::new();
    for record in records {
        let mut before = 0_usize;
        if let Record::Data(header, _) = &record {
            let count = writes.entry(key(header)).or_default();
            *count += usize::from(header.direction == 1);
            before = *count;
        }
        all.push((before, record));
    }
    for (from, by) in moves {
        let from = from % all.len();
        for at in from..from + by {
            let Some([first, second]) = all.get_mut(at..at + 2) else { break };
            let (Record::Data(a, _), Record::Data(b, _)) = (&first.1, &second.1) else { break };
            let free = key(a) != key(b) || a.direction == 1 || b.direction == 0 && first.0 == second.0;
            if !free || b.end_ns > a.end_ns + LATE {
                break;
            }
            std::mem::swap(first, second);
        }
    }
    all.into_iter().map(|(_, record)| record).collect()
}

/// What has an order of its own: a socket, or a TLS object of a process.
fn key(header: &DataHeader) -> (ConnKey, u32, u64) {
    if header.tls == 0 { (header.conn, 0, 0) } else { (ConnKey::default(), header.tgid, header.tls) }
}

/// What the ring and the hooks do to one record.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Dropped,
    Cut(usize),
    LengthOnly,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Kept),
        2 => Just(Fate::Dropped),
        1 => (0..300_usize).prop_map(Fate::Cut),
        1 => Just(Fate::LengthOnly),
    ]
}

fn suffer(mut record: Record, fate: Fate) -> Option<Record> {
    // An `Open` that finds no room is sent anew with the connection's next event, so no event comes without it.
    if matches!(record, Record::Open(_)) {
        return Some(record);
    }
    let (captured, flag) = match fate {
        Fate::Kept => return Some(record),
        Fate::Dropped => return None,
        Fate::Cut(len) => (len, flags::CUT),
        Fate::LengthOnly => (0, flags::CUT | flags::LENGTH_ONLY),
    };
    if let Record::Data(header, bytes) = &mut record
        && captured < bytes.len()
    {
        bytes.truncate(captured);
        header.cap_len = u32::try_from(captured).unwrap();
        header.flags |= flag;
    }
    Some(record)
}

#[test]
fn as_it_was_recorded_it_is_the_list_of_nginx() {
    let (lines, counts) = run(&recorded());
    assert_eq!(lines, golden());
    assert_eq!((counts.gaps, counts.malformed, counts.exchanges.incomplete), (0, 0, [0; 6]), "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_ring_order_it_is_the_list_of_nginx(moves in vec((any::<usize>(), 1..40_usize), 1..200)) {
        let (lines, counts) = run(&permute(recorded(), &moves));
        assert_eq!(lines, golden());
        assert_eq!((counts.gaps, counts.malformed), (0, 0), "{counts:?}");
    }

    #[test]
    fn what_is_lost_makes_no_exchange_wrong(
        moves in vec((any::<usize>(), 1..40_usize), 0..200), fates in vec(fate(), 1..400),
    ) {
        let records = permute(recorded(), &moves).into_iter().zip(fates.iter().cycle());
        let (lines, _) = run(&records.filter_map(|(record, fate)| suffer(record, *fate)).collect::<Vec<_>>());
        let golden: BTreeSet<_> = golden().into_iter().collect();
        let wrong: Vec<_> = lines.iter().filter(|line| !golden.contains(*line)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
