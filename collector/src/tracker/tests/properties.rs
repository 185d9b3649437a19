//! Whatever the ring does to the records of several connections, no exchange is wrong; if it loses nothing, all are right.
//!
//! Every request has its own id, and its answer carries it too, so that a wrong pairing is visible.

use proptest::{collection::vec, prelude::*};
use sidelight_events::flags;
use sidelight_protocol_parsers::{Details, Exchange};

use super::{
    rig::{Conn, MS, Record, Rig, conn_at, line, real_rig, rig},
    toy,
};

/// How a connection behaves.
#[derive(Clone, Debug)]
struct Plan {
    begin: u32,
    client: bool,
    tls: bool,
    /// Requests sent before their answers come, by round.
    rounds: Vec<usize>,
    /// Where messages are split into calls; taken in turn.
    splits: Vec<usize>,
    closes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Wire {
    Toy,
    Http,
}

impl Wire {
    fn request(self, id: usize) -> String {
        match self {
            Self::Toy if id.is_multiple_of(3) => format!("Q{id}+40\n{}", "x".repeat(40)),
            Self::Toy => format!("Q{id}\n"),
            Self::Http if id.is_multiple_of(3) => {
                format!("POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n{}", "x".repeat(40))
            }
            Self::Http => format!("GET /{id} HTTP/1.1\r\nHost: h\r\n\r\n"),
        }
    }

    fn answer(self, id: usize) -> String {
        match self {
            Self::Toy if id.is_multiple_of(2) => format!("A{id}+30\n{}", "y".repeat(30)),
            Self::Toy => format!("A{id}\n"),
            // Its length is its id.
            Self::Http => format!("HTTP/1.1 200 OK\r\nContent-Length: {id}\r\n\r\n{}", "y".repeat(id)),
        }
    }

    fn rig(self) -> Rig {
        match self {
            Self::Toy => rig(),
            Self::Http => real_rig(),
        }
    }

    /// The ids of request and answer.
    fn ids(self, exchange: &Exchange) -> (String, String) {
        match (self, exchange.details) {
            (Self::Toy, _) => {
                let text = line(exchange);
                let (request, answer) = text.split_once('A').unwrap_or((&text, ""));
                (request.trim_start_matches('Q').into(), answer.into())
            }
            (Self::Http, Details::Http(http)) => {
                let target = http.target.map_or("", |span| exchange.text.str(span));
                let body = http.response_body.map_or(String::new(), |bytes| bytes.to_string());
                (target.trim_start_matches('/').into(), body)
            }
            (Self::Http, other) => panic!("{other:?}"),
        }
    }
}

fn plan(pipelined: bool) -> impl Strategy<Value = Plan> {
    let depth = if pipelined { 1..4_usize } else { 1..2 };
    (any::<u32>(), any::<bool>(), any::<bool>(), vec(depth, 1..6), vec(1..60_usize, 1..12), any::<bool>())
        .prop_map(|(begin, client, tls, rounds, splits, closes)| Plan { begin, client, tls, rounds, splits, closes })
}

/// The records of a plan in the order of their calls, and the ids of its exchanges.
fn records(number: u64, plan: &Plan, wire: Wire) -> (Vec<Record>, Vec<usize>) {
    let socket = conn_at(number, plan.begin);
    let mut c = if plan.tls { socket.tls() } else { conn_at(number, plan.begin) };
    let mut at = 1000 + number;
    let mut splits = plan.splits.iter().cycle().copied();
    let mut records = vec![socket.open(at)];
    if plan.tls {
        records.push(c.bind(at));
    }
    let mut moves = |c: &mut Conn, write: bool, message: String, records: &mut Vec<Record>| {
        let mut rest = message.as_bytes();
        while !rest.is_empty() {
            let (call, more) = rest.split_at(splits.next().unwrap_or(1).min(rest.len()));
            at += 100_000;
            records.push(if write { c.write(call, at) } else { c.read(call, at) });
            rest = more;
        }
    };
    let mut ids = Vec::new();
    for round in &plan.rounds {
        let first = number as usize * 100 + ids.len();
        let new = first..first + round;
        new.clone().for_each(|id| moves(&mut c, plan.client, wire.request(id), &mut records));
        new.clone().for_each(|id| moves(&mut c, !plan.client, wire.answer(id), &mut records));
        ids.extend(new);
    }
    if plan.closes {
        records.push(if plan.tls { c.free(at + 1000) } else { c.close(at + 1000) });
    }
    (records, ids)
}

/// Exchanges neighbours as the ring may: a write's record may come after those of later calls; a read's comes before those of
/// all calls behind the next write, because its hook ran before the caller had the bytes.
fn permute(records: Vec<Record>, swaps: &[usize]) -> Vec<Record> {
    let is =
        |record: &Record, direction: u8| matches!(record, Record::Data(header, _) if header.direction == direction);
    let mut writes = 0;
    let mut numbered: Vec<(usize, Record)> = Vec::new();
    for record in records {
        writes += usize::from(is(&record, 1));
        numbered.push((writes, record));
    }
    for swap in swaps {
        let index = swap % numbered.len();
        let Some([first, second]) = numbered.get_mut(index..index + 2) else { continue };
        let data = matches!((&first.1, &second.1), (Record::Data(..), Record::Data(..)));
        let free = is(&first.1, 1) || is(&second.1, 0) && first.0 == second.0;
        if data && free {
            std::mem::swap(first, second);
        }
    }
    numbered.into_iter().map(|(_, record)| record).collect()
}

/// Mixes the connections, each in its own order.
fn mix(mut all: Vec<Vec<Record>>, choices: &[usize]) -> Vec<Record> {
    all.iter_mut().for_each(|records| records.reverse());
    let mut choices = choices.iter().cycle();
    let mut mixed = Vec::new();
    while !all.is_empty() {
        let index = choices.next().unwrap() % all.len();
        mixed.extend(all[index].pop());
        all.retain(|records| !records.is_empty());
    }
    mixed
}

/// What the ring and the hooks do to one record.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Dropped,
    Cut(usize),
    LengthOnly,
    Contended,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Kept),
        2 => Just(Fate::Dropped),
        1 => (0..40_usize).prop_map(Fate::Cut),
        1 => Just(Fate::LengthOnly),
        1 => Just(Fate::Contended),
    ]
}

fn suffer(record: Record, fate: Fate) -> Option<Record> {
    match (record, fate) {
        (_, Fate::Dropped) => None,
        (record @ Record::Data(..), Fate::Cut(len)) => Some(record.cut(len)),
        (record @ Record::Data(..), Fate::LengthOnly) => {
            let mut record = record.cut(0);
            record.header().flags |= flags::LENGTH_ONLY;
            Some(record)
        }
        (mut record @ Record::Data(..), Fate::Contended) => {
            record.header().flags |= flags::CONTENDED;
            Some(record)
        }
        (record, _) => Some(record),
    }
}

/// Every whole exchange's ids agree.
fn assert_none_is_wrong(wire: Wire, rig: &Rig) {
    for exchange in rig.seen.exchanges().into_iter().filter(|exchange| exchange.incomplete.is_empty()) {
        let (request, answer) = wire.ids(exchange);
        assert_eq!(request, answer, "{exchange:?}");
    }
}

fn run_whole(wire: Wire, plans: &[Plan], swaps: &[usize], choices: &[usize]) {
    let mut expected = Vec::new();
    let all = plans.iter().enumerate().map(|(number, plan)| {
        let (records, ids) = records(number as u64 + 1, plan, wire);
        expected.extend(ids.into_iter().map(|id| id.to_string()));
        permute(records, swaps)
    });
    let mixed = mix(all.collect(), choices);
    let mut rig = wire.rig();
    rig.feed(mixed).tick(10_000 * MS).shutdown();
    let mut seen: Vec<_> = rig.seen.exchanges().into_iter().map(|exchange| wire.ids(exchange).0).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    assert_none_is_wrong(wire, &rig);
    let counts = rig.tracker.counts();
    assert_eq!((counts.gaps, counts.malformed, counts.exchanges.incomplete), (0, 0, [0; 6]), "{counts:?}");
    for exchange in rig.seen.exchanges() {
        assert!(exchange.request.first.time < exchange.response.unwrap().last.time);
        assert!(exchange.request.first.time <= exchange.request.last.time);
    }
}

fn run_lossy(wire: Wire, plans: &[Plan], swaps: &[usize], choices: &[usize], fates: &[Fate]) {
    let all = plans.iter().enumerate().map(|(number, plan)| {
        let (records, _) = records(number as u64 + 1, plan, wire);
        permute(records, swaps)
    });
    let mixed = mix(all.collect(), choices);
    let mut rig = wire.rig();
    let suffered = mixed.into_iter().zip(fates.iter().cycle()).filter_map(|(record, fate)| suffer(record, *fate));
    rig.feed(suffered).tick(10_000 * MS).shutdown();
    assert_none_is_wrong(wire, &rig);
}

/// The toy's parser, which these properties rely on, says what it is.
#[test]
fn the_toy_shows_wrong_pairings() {
    assert_eq!(toy::TOY.name, "toy");
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    ProptestConfig { cases: config.cases.max(400), ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_ring_order_gives_all_exchanges(
        plans in vec(plan(true), 1..4), swaps in vec(0..1000_usize, 0..60), choices in vec(0..100_usize, 1..50),
    ) {
        run_whole(Wire::Toy, &plans, &swaps, &choices);
    }

    #[test]
    fn any_ring_order_gives_all_http_exchanges(
        plans in vec(plan(true), 1..4), swaps in vec(0..1000_usize, 0..60), choices in vec(0..100_usize, 1..50),
    ) {
        run_whole(Wire::Http, &plans, &swaps, &choices);
    }

    #[test]
    fn lost_and_cut_records_never_give_a_wrong_exchange(
        plans in vec(plan(false), 1..4), swaps in vec(0..1000_usize, 0..60), choices in vec(0..100_usize, 1..50),
        fates in vec(fate(), 1..80),
    ) {
        run_lossy(Wire::Toy, &plans, &swaps, &choices, &fates);
    }

    #[test]
    fn lost_and_cut_records_never_give_a_wrong_http_exchange(
        plans in vec(plan(true), 1..4), swaps in vec(0..1000_usize, 0..60), choices in vec(0..100_usize, 1..50),
        fates in vec(fate(), 1..80),
    ) {
        run_lossy(Wire::Http, &plans, &swaps, &choices, &fates);
    }
}
