//! One claim a test.

use super::rig::{MS, conn, rig};

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
