//! What must hold for all traffic: splits do not matter, nothing is paired wrongly, and losses heal.

use proptest::prelude::*;

use super::script::line;
use super::traffic::{From, Missing, Traffic};
use crate::contract::{Close, Direction, Lost, Role};
use crate::fuzzing::{self, Feed};
use crate::http1::PROTOCOL;
use crate::proof::Random;

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const LOSSES: [Lost; 4] = [Lost::Gap, Lost::Cut, Lost::Fault, Lost::Contended];

fn lines(feed: &Feed) -> Vec<String> {
    feed.done().map(line).collect()
}

/// Bytes to the next change of direction, together.
fn turns(traffic: &Traffic) -> Vec<(From, Vec<u8>)> {
    let mut turns: Vec<(From, Vec<u8>)> = Vec::new();
    for write in &traffic.writes {
        match turns.last_mut() {
            Some((from, bytes)) if *from == write.from => bytes.extend(&write.bytes),
            _ => turns.push((write.from, write.bytes.clone())),
        }
    }
    turns
}

fn say(feed: &mut Feed, role: Role, from: From, bytes: &[u8]) {
    feed.data(if from == From::Client { role.requests() } else { role.requests().opposite() }, bytes);
}

#[test]
fn every_split_in_two_gives_the_same_exchanges() {
    for seed in 0..12 {
        let traffic = Traffic::generate(&mut Random(seed), 3, 3);
        let turns = turns(&traffic);
        for (role, told) in [(Role::Client, Some(Role::Client)), (Role::Server, None)] {
            let whole = lines(&traffic.play(role, told, &Missing::nothing()));
            for (turn, (_, bytes)) in turns.iter().enumerate() {
                for cut in 1..bytes.len() {
                    let mut feed = Feed::new(&PROTOCOL, told);
                    for (at, (from, bytes)) in turns.iter().enumerate() {
                        let (a, b) = if at == turn { bytes.split_at(cut) } else { (&bytes[..], &[][..]) };
                        say(&mut feed, role, *from, a);
                        say(&mut feed, role, *from, b);
                    }
                    feed.close(None, Close::Fin);
                    assert_eq!(lines(&feed), whole, "turn {turn} cut at {cut}");
                }
            }
        }
    }
}

#[test]
fn byte_by_byte_gives_the_same_exchanges() {
    for seed in 0..20 {
        let traffic = Traffic::generate(&mut Random(seed), 4, 3);
        let mut feed = Feed::new(&PROTOCOL, None);
        for (from, bytes) in turns(&traffic) {
            bytes.iter().for_each(|byte| say(&mut feed, Role::Server, from, &[*byte]));
        }
        feed.close(None, Close::Fin);
        assert_eq!(lines(&feed), lines(&traffic.play(Role::Server, Some(Role::Server), &Missing::nothing())));
    }
}

/// Checks one loss: nothing wrong, and whole again behind it.
fn check_loss(traffic: &Traffic, role: Role, told: Option<Role>, missing: &Missing) {
    let feed = traffic.play(role, told, missing);
    let whole = traffic.check(&feed, &format!("{missing:?}"));
    let mut end = 0;
    let touched = traffic.writes.iter().filter(|write| write.from == missing.from).find_map(|write| {
        end += write.bytes.len();
        (missing.end <= end).then_some(write.burst)
    });
    let touched = touched.expect("the hole lies inside");
    // Noticed late, it is between requests and responses of the burst behind it.
    let right_from = touched + if missing.late { 2 } else { 1 };
    for (id, truth) in traffic.truth.iter().enumerate().filter(|(_, truth)| truth.burst >= right_from) {
        assert!(whole.contains(&id), "{id} {truth:?} is not right again behind {missing:?}: {:#?}", lines(&feed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_traffic_decodes_to_what_was_generated(seed: u64, told: bool, client: bool) {
        let traffic = Traffic::generate(&mut Random(seed), 12, 5);
        let role = ROLES[usize::from(client)];
        let feed = traffic.play(role, told.then_some(role), &Missing::nothing());
        let whole = traffic.check(&feed, "");
        prop_assert_eq!(whole, (0..traffic.truth.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_loss_of_any_size_at_any_place_pairs_nothing_wrongly_and_heals(
        seed: u64, client: bool, responses: bool, late: bool, unmeasured: bool, why in 0..4_usize, depth in 1..4_usize,
    ) {
        let mut random = Random(seed);
        let traffic = Traffic::generate(&mut random, 8, depth);
        let from = if responses { From::Server } else { From::Client };
        let role = ROLES[usize::from(client)];
        let len = traffic.len(from);
        for _ in 0..20 {
            let start = random.below(len);
            let size = [8, 60, 400, len][random.below(4)];
            let end = start + 1 + random.below(size.min(len - start));
            check_loss(&traffic, role, Some(role), &Missing { from, start, end, late, why: LOSSES[why], unmeasured });
        }
    }

    #[test]
    fn any_bytes_are_survived(data: Vec<u8>) {
        fuzzing::script(&PROTOCOL, &data);
    }

    #[test]
    fn damaged_traffic_is_survived(seed: u64) {
        let mut random = Random(seed);
        let mut traffic = Traffic::generate(&mut random, 6, 3);
        for write in &mut traffic.writes {
            if random.chance(20) {
                let at = random.below(write.bytes.len());
                write.bytes[at] = random.number() as u8;
            }
        }
        traffic.play(Role::Server, Some(Role::Server), &Missing::nothing());
    }
}

#[test]
fn every_loss_of_some_sizes_at_every_place_pairs_nothing_wrongly_and_heals() {
    for seed in 0..2 {
        let traffic = Traffic::generate(&mut Random(seed), 5, 1 + seed as usize);
        for from in [From::Client, From::Server] {
            for start in 0..traffic.len(from) {
                for size in [1, 2, 40, 200] {
                    for late in [false, true] {
                        let end = start + size;
                        if end <= traffic.len(from) {
                            let missing = Missing { from, start, end, late, why: Lost::Gap, unmeasured: false };
                            check_loss(&traffic, Role::Server, Some(Role::Server), &missing);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn losses_in_both_directions_pair_nothing_wrongly() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let traffic = Traffic::generate(&mut random, 8, 1);
        let mut feed = Feed::new(&PROTOCOL, Some(Role::Client));
        let mut unsaid = [0, 0];
        for write in &traffic.writes {
            let side = usize::from(write.from == From::Server);
            if random.chance(15) {
                unsaid[side] += write.bytes.len() as u64;
                continue;
            }
            let dir = if side == 0 { Direction::Egress } else { Direction::Ingress };
            if unsaid[side] > 0 {
                feed.hole(dir, Some(std::mem::take(&mut unsaid[side])), Lost::Gap);
            }
            feed.data(dir, &write.bytes);
        }
        feed.close(None, Close::Fin);
        feed.assert_all_done();
        traffic.check(&feed, "");
    }
}

#[test]
fn the_fuzz_corpus_is_survived_and_so_is_its_every_prefix() {
    fuzzing::corpus("http1", |data| fuzzing::script(&PROTOCOL, data));
    fuzzing::corpus("detect", fuzzing::detect);
}
