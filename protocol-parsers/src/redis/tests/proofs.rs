//! What must hold for all traffic.

use proptest::prelude::*;

use super::rules::array;
use crate::fuzzing;
use crate::proof::{Heals, Proof, Random, Session, list};
use crate::redis::PROTOCOL;

fn proof(session: &Session) -> Proof<'_> {
    Proof {
        protocol: &PROTOCOL,
        session,
        joined: Heals::Quiet(1),
        lost: Heals::Quiet(1),
        needed: &["operation", "query", "outcome", "status", "procedure", "batch"],
        secrets: &["secret"],
    }
}

/// Bursts of commands, each answered before the next begins. Every command names its place, and so does its reply.
fn generated(random: &mut Random, bursts: usize, depth: usize) -> Session {
    let mut said = Vec::new();
    for burst in 0..bursts {
        let mut replies = Vec::new();
        for id in 0..1 + random.below(depth) {
            let value = "secret".repeat(1 + random.below(20));
            let (command, reply) = match random.below(9) {
                0 => (format!("SET key:{burst}:{id} {value}"), "+OK\r\n".to_owned()),
                1 => (format!("GET key:{burst}:{id}"), format!("${}\r\n{value}\r\n", value.len())),
                2 => (format!("INCR {burst}{id}"), format!(":{burst}{id}\r\n")),
                3 => (
                    format!("LRANGE {burst}:{id} 0 -1"),
                    format!("*2\r\n$6\r\nsecret\r\n*1\r\n${}\r\n{value}\r\n", value.len()),
                ),
                4 => (format!("HGET {burst} {id}"), format!("-E{burst}X{id} secret\r\n")),
                5 => (format!("EVALSHA {burst}{id} 1 a {value}"), "%1\r\n+secret\r\n:1\r\n".to_owned()),
                6 => (format!("EXPIRE {burst}:{id} 10"), ":1\r\n".to_owned()),
                7 => (format!("MGET {burst}:{id} b"), "|1\r\n+secret\r\n:1\r\n*2\r\n$-1\r\n_\r\n".to_owned()),
                _ => (format!("client setname {value}"), "+OK\r\n".to_owned()),
            };
            said.push((true, array(&command)));
            replies.push((false, reply.into_bytes()));
        }
        said.extend(replies);
    }
    // Some calls move several messages, some a part of one.
    let mut calls: Vec<(bool, Vec<u8>)> = Vec::new();
    for (client, bytes) in said {
        match calls.last_mut().filter(|(last, _)| *last == client && random.chance(40)) {
            Some((_, last)) => last.extend(bytes),
            None if bytes.len() > 1 && random.chance(30) => {
                let (a, b) = bytes.split_at(1 + random.below(bytes.len() - 1));
                calls.extend([(client, a.to_vec()), (client, b.to_vec())]);
            }
            None => calls.push((client, bytes)),
        }
    }
    Session::new(calls)
}

#[test]
fn sequential_commands_hold() {
    for seed in 0..3 {
        proof(&generated(&mut Random(seed), 12, 1)).hold();
    }
}

#[test]
fn pipelines_hold() {
    for seed in 3..6 {
        proof(&generated(&mut Random(seed), 6, 4)).hold();
    }
}

#[test]
fn a_short_connection_joined_anywhere_holds() {
    proof(&generated(&mut Random(9), 5, 2)).joins_anywhere();
}

/// Connections of redis-py, redis-cli and a socket with Redis 7.0.15.
#[test]
fn recorded_sessions_hold() {
    for (name, exchanges) in [("redis-py", 32), ("pubsub", 5), ("redis-cli-resp3", 20), ("types", 21)] {
        let session = Session::load(&format!("redis/{name}.session"));
        // A command that the table does not have is not looked for behind a loss; the next one is.
        // How often `UNSUBSCRIBE` is answered is not known of subscriptions that nobody saw begin.
        let heals = if name == "pubsub" { Heals::Unpromised } else { Heals::Quiet(2) };
        let proof = Proof { joined: heals, lost: heals, ..proof(&session) };
        let truth = proof.truth();
        assert_eq!(truth.len(), exchanges, "{name}:\n{}", list(&truth));
        assert!(truth.iter().all(|facts| facts.response.is_some() && facts.incomplete.is_empty()), "{}", list(&truth));
        assert!(truth.iter().all(|facts| facts.value("namespace").is_some()), "{}", list(&truth));
        proof.hold();
    }
}

/// Lines are not looked for behind a loss.
#[test]
fn inline_commands_hold() {
    let session = Session::load("redis/inline.session");
    let proof = Proof { joined: Heals::Unpromised, lost: Heals::Unpromised, ..proof(&session) };
    assert_eq!(proof.truth().len(), 3, "{}", list(&proof.truth()));
    proof.hold();
}

#[test]
fn the_fuzz_corpus_is_survived_and_so_is_its_every_prefix() {
    fuzzing::corpus("redis", |data| fuzzing::script(&PROTOCOL, data));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(data: Vec<u8>) {
        fuzzing::script(&PROTOCOL, &data);
    }

    #[test]
    fn damaged_traffic_is_survived(seed: u64) {
        let mut random = Random(seed);
        let mut session = generated(&mut random, 6, 4);
        for call in &mut session.calls {
            if random.chance(20) {
                let at = random.below(call.bytes.len());
                call.bytes[at] = random.number() as u8;
            }
        }
        let mut feed = fuzzing::Feed::new(&PROTOCOL, Some(session.role));
        session.calls.iter().for_each(|call| feed.data(call.dir, &call.bytes));
        feed.close(None, crate::Close::Fin);
        feed.assert_all_done();
    }
}
