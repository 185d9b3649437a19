//! One claim a test.

use sidelight_events::{Close, Open, TlsBind, how};
use sidelight_protocol_parsers::{Details, Exchange};

use super::rig::{Conn, MS, Record, Rig, conn, conn_at, real_rig, rig, rig_of_toyd, rig_with};
use crate::tracker::Limits;

#[test]
fn request_and_answer_make_an_exchange_with_their_own_times() {
    let mut c = conn(1);
    let mut rig = rig();
    let records = [c.open(5), c.read("Q1\n", 10), c.write("A1\n", 20), c.close(30)];
    rig.feed(records).shutdown();
    assert_eq!(rig.seen.lines(), ["Q1A1"]);
    let exchange = rig.seen.exchanges()[0];
    assert_eq!((exchange.request.first.time.0, exchange.response.unwrap().last.time.0), (10, 20));
    assert_eq!(rig.tracker.counts().connections.closed, 1);
    assert_eq!(rig.seen.all[0].0.local, crate::model::Endpoint::Inet([127, 0, 0, 1].into(), 80));
}

#[test]
fn detection_is_told_the_port_and_the_program_of_the_process_that_moved_the_bytes() {
    for (pid, expected) in [(7, 1), (8, 0)] {
        let mut c = conn(1);
        let mut records = [c.open(5), c.read("Q1\n", 10), c.write("A1\n", 20), c.close(30)];
        records[1].header().tgid = pid;
        records[2].header().tgid = pid;
        let mut rig = rig_of_toyd();
        rig.feed(records).shutdown();
        assert_eq!(rig.seen.lines().len(), expected, "process {pid}");
    }
}

#[test]
fn an_answer_read_before_its_request_is_seen_waits_for_it() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, q1, a1, q2, a2) =
        (c.open(1), c.write("Q1\n", 10), c.read("A1\n", 20), c.write("Q2\n", 30), c.read("A2\n", 40));
    rig.feed([open, a1, q1, a2]);
    assert_eq!(rig.seen.lines(), ["Q1A1"]);
    rig.feed([q2]);
    assert_eq!(rig.seen.lines(), ["Q1A1", "Q2A2"]);
    assert_eq!(rig.tracker.counts().gaps, 0);
}

#[test]
fn a_missing_write_becomes_a_hole_after_the_hold_time() {
    let mut c = conn(1);
    let mut rig = rig();
    let open = c.open(1);
    let _lost = c.write("Q1\n", MS);
    let records = [open, c.read("A1\n", 2 * MS), c.write("Q2\n", 3 * MS), c.read("A2\n", 4 * MS)];
    rig.feed(records);
    assert_eq!(rig.tracker.counts().gaps, 0);
    rig.tick(102 * MS);
    assert_eq!(rig.tracker.counts().gaps, 1);
    assert_eq!(rig.tracker.counts().bytes.gap, 3);
    assert!(rig.seen.lines().iter().all(|line| line == "Q2A2"), "{:?}", rig.seen.lines());
    rig.feed([c.write("Q3\n", 200 * MS), c.read("A3\n", 201 * MS)]);
    assert_eq!(rig.seen.lines().last().unwrap(), "Q3A3");
    rig.shutdown();
}

#[test]
fn repeats_and_overlaps_are_dropped_and_counted() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, q1, a1) = (c.open(1), c.read("Q1\n", 10), c.write("A1\n", 20));
    let Record::Data(header, bytes) = &c.read("Q2\n", 30) else { panic!() };
    let mut wider = *header;
    (wider.offset, wider.true_len, wider.cap_len) = (header.offset - 3, 6, 6);
    let wider = Record::Data(wider, [b"Q1\n", &bytes[..]].concat());
    rig.feed([open.clone(), q1.clone(), q1, a1.clone(), open, a1, wider, c.write("A2\n", 40)]);
    assert_eq!(rig.seen.lines(), ["Q1A1", "Q2A2"]);
    let bytes = &rig.tracker.counts().bytes;
    assert_eq!((bytes.duplicate, bytes.contended), (6, 3));
}

#[test]
fn sequence_numbers_wrap_around() {
    let mut c = conn_at(1, u32::MAX - 20);
    let mut rig = rig();
    rig.feed([c.open(1)]);
    for n in 0..30 {
        let (q, a) = (c.read(format!("Q{n}\n"), 10 + n), c.write(format!("A{n}\n"), 10 + n));
        rig.feed([q, a]);
    }
    let expected: Vec<_> = (0..30).map(|n| format!("Q{n}A{n}")).collect();
    assert_eq!(rig.seen.lines(), expected);
    assert_eq!(rig.tracker.counts().gaps, 0);
    assert_eq!(rig.seen.exchanges()[0].request.first.offset, (1 << 32) + u64::from(u32::MAX - 20));
}

#[test]
fn what_was_not_copied_of_a_body_is_skipped_and_of_a_line_truncated() {
    let mut c = conn(1);
    let mut rig = rig();
    let body = format!("Q1+1000\n{}", "x".repeat(1000));
    rig.feed([c.open(1), c.read(body, 10).cut(50), c.write("A1\n", 20)]);
    assert_eq!(rig.seen.lines(), ["Q1A1"]);
    assert_eq!((rig.tracker.counts().bytes.skipped, rig.tracker.counts().bytes.truncated), (1008 - 50, 0));
    rig.feed([c.read("Q-long\n", 30).cut(3), c.write("A-long\n", 40)]);
    assert_eq!(rig.seen.lines(), ["Q1A1"]);
    // The three captured bytes were kept for the parser, and lost with the line.
    assert_eq!(rig.tracker.counts().bytes.truncated, 7);
}

#[test]
fn a_kept_rest_keeps_the_mark_of_its_first_byte() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, q, q1, a) = (c.open(1), c.read("Q", 10), c.read("1", 20), c.write("A", 40));
    rig.feed([open, q, q1, c.read("\nQ2", 30), a, c.write("1\nA2", 50), c.read("\n", 60), c.write("\n", 70)]);
    assert_eq!(rig.seen.lines(), ["Q1A1", "Q2A2"]);
    let times = |exchange: &Exchange| {
        let response = exchange.response.unwrap();
        [exchange.request.first, exchange.request.last, response.first, response.last].map(|mark| mark.time.0)
    };
    assert_eq!(times(rig.seen.exchanges()[0]), [10, 30, 40, 50]);
    assert_eq!(times(rig.seen.exchanges()[1]), [30, 60, 50, 70]);
    assert_eq!(rig.seen.exchanges()[1].request.first.wire_seq, 1003);
}

#[test]
fn data_behind_the_close_record_still_belongs_to_the_connection() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, q1, a1) = (c.open(1), c.read("Q1\n", 10), c.write("A1\n", 20));
    rig.feed([open, q1, c.close(30), a1]);
    assert_eq!(rig.seen.lines(), ["Q1A1"]);
    assert_eq!((rig.tracker.counts().connections.closed, rig.tracker.counts().gaps), (1, 0));
}

#[test]
fn what_is_never_answered_ends_when_its_connection_does() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, q1, a1, q2) = (c.open(1), c.read("Q1\n", 10), c.write("A1\n", 20), c.read("Q2\n", 30));
    rig.feed([open, q1, a1, q2, c.close(5000)]);
    assert_eq!(rig.seen.lines(), ["Q1A1", "Q2!"]);
    let ends: Vec<u64> = rig.seen.exchanges().iter().map(|exchange| exchange.cut_off.0).collect();
    assert_eq!(ends, [0, 5000]);
}

#[test]
fn bytes_that_never_come_before_a_close_are_a_hole() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, q1, _lost) = (c.open(1), c.read("Q1\n", 10), c.write("A1\n", 20));
    rig.feed([open, q1, c.close(30)]);
    assert_eq!(rig.tracker.counts().connections.closed, 0);
    rig.tick(30 + 100 * MS);
    assert_eq!(rig.seen.lines(), ["Q1!"]);
    assert_eq!((rig.tracker.counts().connections.closed, rig.tracker.counts().bytes.gap), (1, 3));
}

#[test]
fn a_write_settles_the_gap_in_front_of_reads_that_came_before_it() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, _lost, a1) = (c.open(1), c.read("Q1\n", 10), c.write("A1\n", 20));
    rig.feed([open, a1, c.read("Q2\n", 30)]);
    // Held: the gap may still be filled.
    assert_eq!(rig.tracker.counts().gaps, 0);
    rig.feed([c.write("A2\n", 40), c.read("Q3\n", 50), c.write("A3\n", 60)]);
    assert_eq!(rig.tracker.counts().gaps, 1);
    assert_eq!(rig.seen.lines().last().unwrap(), "Q3A3");
}

#[test]
fn the_hold_limit_in_bytes_makes_a_hole() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, _lost) = (c.open(1), c.write("Q0\n", 5));
    rig.feed([open]);
    for n in 0..100 {
        rig.feed([c.write(format!("Q{n}+1000\n{}", "x".repeat(1000)), 10 + n)]);
        assert!(rig.tracker.buffered() < 70_000);
    }
    assert_eq!(rig.tracker.counts().gaps, 1);
    assert!(rig.tracker.counts().bytes.parsed > 50_000);
}

#[test]
fn plaintext_waits_for_its_connection_and_takes_its_addresses() {
    let socket = conn(1);
    let mut c = socket.tls();
    let mut rig = rig();
    let q1 = c.read("Q1\n", 10);
    rig.feed([socket.open(1), q1, c.write("A1\n", 20)]);
    assert!(rig.seen.all.is_empty());
    rig.feed([c.bind(30)]);
    assert_eq!(rig.seen.lines(), ["Q1A1"]);
    let connection = &rig.seen.all[0].0;
    assert_eq!(
        (connection.tls, connection.key, connection.local.clone()),
        (true, socket.key, rig.seen.all[0].0.local.clone())
    );
    assert_eq!(connection.remote, crate::model::Endpoint::Inet([127, 0, 0, 2].into(), 5000));
    rig.feed([c.free(40)]).tick(200 * MS).shutdown();
}

#[test]
fn ciphertext_of_a_tied_connection_is_not_read() {
    let mut socket = conn(1);
    let mut c = socket.tls();
    let mut rig = rig();
    rig.feed([socket.open(1), c.bind(2), socket.read("Q9\n", 3), c.read("Q1\n", 10), c.write("A1\n", 20)]);
    assert_eq!(rig.seen.lines(), ["Q1A1"]);
    assert_eq!(rig.tracker.counts().bytes.ciphertext, 3);
}

#[test]
fn plaintext_that_is_never_tied_is_dropped_and_counted() {
    let mut c = conn(1).tls();
    let mut rig = rig();
    rig.feed([c.read("Q1\n", 10)]).tick(10 + 5000 * MS);
    assert_eq!((rig.tracker.counts().bytes.tls_unbound, rig.tracker.counts().connections.tls_unbound), (3, 1));
    let q2 = c.read("Q2\n", 5002 * MS);
    rig.feed([c.bind(5001 * MS), q2, c.write("A2\n", 5003 * MS)]);
    // What A2 answers is not certain.
    rig.feed([c.read("Q3\n", 5004 * MS), c.write("A3\n", 5005 * MS)]);
    assert_eq!(rig.seen.lines(), ["Q3A3"]);
}

#[test]
fn an_object_tied_to_two_connections_is_not_exported() {
    let socket = conn(1);
    let mut c = socket.tls();
    let mut other = conn(2).tls();
    let Record::Bind(mut bind) = other.bind(30) else { panic!() };
    let Record::Bind(TlsBind { tls, .. }) = c.bind(1) else { panic!() };
    bind.tls = tls;
    let mut rig = rig();
    rig.feed([
        socket.open(1),
        c.bind(1),
        c.read("Q1\n", 10),
        Record::Bind(bind),
        c.write("A1\n", 40),
        other.read("Q5\n", 50),
    ]);
    assert_eq!(rig.seen.lines(), ["Q1!"]);
    assert_eq!((rig.tracker.counts().bytes.tls_conflict, rig.tracker.counts().connections.tls_conflict), (3, 1));
}

#[test]
fn a_connection_nobody_understands_is_ignored() {
    let (mut unknown, mut opaque) = (conn(1), conn(2));
    let mut rig = rig();
    rig.feed([unknown.open(1), unknown.read("?\n", 10), unknown.write("??\n", 20)]);
    rig.feed([opaque.open(1), opaque.read("X\n", 10)]);
    assert_eq!(rig.seen.ignored, [unknown.key, opaque.key]);
    let counts = rig.tracker.counts();
    assert_eq!((counts.bytes.unclassified, counts.connections.unknown, counts.connections.opaque), (7, 1, 1));
}

#[test]
fn after_three_malformed_chunks_in_a_row_the_connection_is_judged_anew() {
    let mut c = conn(1);
    let mut rig = rig();
    rig.feed([c.open(1), c.read("Q1\n", 10), c.write("?\n", 20), c.write("?\n", 30), c.read("Q2\n", 35)]);
    rig.feed([c.write("?\n", 40), c.write("?\n", 50)]);
    assert_eq!(rig.tracker.counts().connections.desync, 0);
    rig.feed([c.write("?\n", 60), c.read("Q3\n", 70), c.write("A3\n", 80), c.read("Q4\n", 90), c.write("A4\n", 95)]);
    assert_eq!(rig.seen.lines(), ["Q1!", "Q4A4"]);
    assert_eq!((rig.tracker.counts().malformed, rig.tracker.counts().connections.desync), (5, 1));
    assert!(rig.seen.ignored.is_empty());
    rig.shutdown();
}

#[test]
fn a_connection_that_is_judged_anew_in_vain_is_given_up() {
    let mut c = conn(1);
    let mut rig = rig();
    rig.feed([c.open(1)]);
    for round in 0..4 {
        let at = 10 + round * 10;
        rig.feed([c.read("Q1\n", at), c.write("?\n", at + 1), c.write("?\n", at + 2), c.write("?\n", at + 3)]);
    }
    assert_eq!(rig.seen.ignored, [c.key]);
    assert_eq!((rig.tracker.counts().malformed, rig.tracker.counts().connections.desync), (9, 3));
    rig.shutdown();
}

#[test]
fn the_rest_of_an_old_message_does_not_hide_the_next_one() {
    let mut c = conn(1);
    let mut rig = rig();
    // Not announced: joined in the middle. The rest of an answer, then a request: together they are nothing known.
    rig.feed([c.write("A rest", 10), c.write("?", 15), c.read("Q1\n", 20), c.write("A1\n", 30)]);
    rig.feed([c.read("Q2\n", 40), c.write("A2\n", 50)]);
    assert!(rig.seen.lines().contains(&"Q2A2".to_owned()), "{:?}", rig.seen.lines());
    rig.shutdown();
}

#[test]
fn a_tunnel_is_judged_anew_and_an_upgrade_is_left_alone() {
    let mut c = conn(1);
    let mut rig = rig();
    let (open, q1, a1) = (c.open(1), c.read("Q1\n", 10), c.write("A-detect\nQ2\n", 20));
    rig.feed([open, q1, a1, c.read("A2\n", 30), c.write("Q3\n", 40), c.read("A-opaque\nZZ\n", 50), c.write("ZZ", 60)]);
    assert_eq!(rig.seen.lines(), ["Q1A-detect", "Q2A2", "Q3A-opaque"]);
    assert_eq!(rig.seen.ignored, [c.key]);
    assert_eq!(rig.tracker.counts().bytes.unclassified, 5);
    rig.shutdown();
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n")
}

/// `/path status` of every HTTP exchange, `-` for what is not known.
fn answers(rig: &Rig) -> Vec<String> {
    let line = |exchange: &Exchange| {
        let Details::Http(http) = exchange.details else { panic!("{exchange:?}") };
        let path = http.target.map_or("-", |path| exchange.text.str(path));
        format!("{path} {}", http.status.map_or_else(|| "-".into(), |status| status.to_string()))
    };
    rig.seen.exchanges().into_iter().map(line).collect()
}

#[test]
fn a_connection_older_than_the_daemon_is_read_from_its_next_request_on() {
    let mut c = conn(1);
    let mut rig = real_rig();
    let joined = c.joined(4);
    rig.feed([joined, c.write("the rest of an answer", 5)]);
    for (number, status) in (1..=3_u64).zip(201..) {
        rig.feed([c.read(get(&format!("/{number}")), 10 * number), c.write(answer(status), 10 * number + 5)]);
    }
    // The connection was quiet twice: what was asked before it was joined would have been answered by now.
    assert_eq!(answers(&rig), ["/1 201", "/2 202", "/3 203"]);
    rig.feed([c.read(get("/4"), 50), c.write(answer(204), 60)]);
    assert_eq!(answers(&rig).last().map(String::as_str), Some("/4 204"));
}

#[test]
fn the_first_exchange_of_an_older_connection_waits_for_proof_and_without_it_keeps_its_request_alone() {
    type End = fn(&mut Rig, &Conn);
    fn closes(rig: &mut Rig, c: &Conn) {
        rig.feed([c.close(30)]);
    }
    fn resets(rig: &mut Rig, c: &Conn) {
        let Record::Close(close) = c.close(30) else { unreachable!() };
        rig.feed([Record::Close(Close { how: how::RESET, ..close })]);
    }
    fn idles(rig: &mut Rig, _: &Conn) {
        rig.tick(1000 * MS).tick(2000 * MS);
    }
    fn stops(rig: &mut Rig, _: &Conn) {
        rig.shutdown();
    }
    let ends: [(End, &str); 4] = [(closes, "/1 200"), (idles, "/1 200"), (resets, "/1 -"), (stops, "/1 -")];
    for (end, expected) in ends {
        let mut c = conn(1);
        let mut rig = real_rig();
        let joined = c.joined(4);
        rig.feed([joined, c.read(get("/1"), 10), c.write(answer(200), 20)]);
        assert!(answers(&rig).is_empty());
        end(&mut rig, &c);
        assert_eq!(answers(&rig), [expected]);
    }
}

#[test]
fn an_older_connection_that_owes_answers_gives_none_to_the_wrong_request() {
    let mut c = conn(1);
    let mut rig = real_rig();
    let joined = c.joined(4);
    rig.feed([joined, c.read(get("/2"), 10), c.write(answer(201), 20), c.write(answer(202), 30)]);
    rig.feed([c.close(40)]);
    assert_eq!(answers(&rig), ["/2 -"]);
}

#[test]
fn a_tls_object_whose_handshake_was_seen_is_known_from_its_start() {
    for (seen, expected) in [(true, "/1 200"), (false, "/1 -")] {
        let mut socket = conn(1);
        let mut c = socket.tls();
        let mut rig = real_rig();
        rig.feed([socket.open(1)]);
        if !seen {
            rig.feed([socket.read([22, 3, 1], 2)]);
        }
        rig.feed([c.bind(3), c.read(get("/1"), 10), c.write(answer(200), 20), c.free(30)]);
        rig.tick(500 * MS);
        assert_eq!(answers(&rig), [expected]);
    }
}

#[test]
fn where_the_kernel_counts_no_bytes_the_first_exchange_is_trusted() {
    let mut c = conn(1);
    let Record::Open(open) = c.open(1) else { unreachable!() };
    let mut records = [c.read(get("/1"), 10), c.write(answer(200), 20)];
    records.iter_mut().for_each(|record| record.header().flags = 0);
    let mut rig = real_rig();
    rig.feed([Record::Open(Open { flags: 0, ..open })]).feed(records);
    assert_eq!(answers(&rig), ["/1 200"]);
}

#[test]
fn quiet_and_surplus_connections_are_dropped_and_counted() {
    let mut rig = rig_with(Limits { connections: 2, ..Limits::default() });
    for number in 1..=3 {
        let mut c = conn(number);
        rig.feed([c.open(number), c.read("Q1\n", number)]);
    }
    assert_eq!((rig.tracker.counts().connections.limit, rig.tracker.counts().connections.live), (1, 2));
    assert_eq!(rig.seen.lines(), ["Q1!"]);
    rig.tick(400_000 * MS);
    assert_eq!((rig.tracker.counts().connections.idle, rig.tracker.counts().connections.live), (2, 0));
    assert_eq!(rig.tracker.counts().exchanges.incomplete, [0, 0, 3, 0, 0, 0]);
}

#[test]
fn buffers_over_their_limit_cost_the_connection_quiet_for_longest() {
    let mut rig = rig_with(Limits { buffers: 40_000, ..Limits::default() });
    let quiet = |number| {
        let mut c = conn(number);
        [c.open(number), c.read("Q1\n", number), c.write("A".repeat(15_000), number)]
    };
    for number in 1..=4 {
        rig.feed(quiet(number));
        assert!(rig.tracker.buffered() <= 40_000);
    }
    assert!(rig.tracker.counts().connections.memory >= 1);
    rig.shutdown();
}

#[test]
fn a_line_longer_than_a_rest_may_be_is_malformed() {
    let mut c = conn(1);
    let mut rig = rig();
    rig.feed([c.open(1), c.read("Q1\n", 10)]);
    for at in 20..30 {
        rig.feed([c.write("A".repeat(7000), at)]);
        assert!(rig.tracker.buffered() < 40_000);
    }
    assert_eq!(rig.tracker.counts().connections.desync, 1);
}

#[test]
fn long_calls_are_copied_whole_once_the_parser_says_so() {
    let mut c = conn(1);
    let mut rig = rig();
    rig.feed([c.open(1), c.read("Q", 10)]);
    assert!(rig.seen.deep.is_empty());
    rig.feed([c.read("1\n", 20), c.write("A1\n", 30)]);
    assert_eq!(rig.seen.deep, [c.key]);
    rig.shutdown();
    let mut c = conn(1);
    let mut http = real_rig();
    http.feed([c.open(1), c.read(get("/a"), 10), c.write("HTTP/1.1 204 No\r\n\r\n", 20)]);
    assert_eq!((http.seen.lines().len(), http.seen.deep.len()), (1, 0));
}
