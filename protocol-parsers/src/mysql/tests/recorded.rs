//! Connections of real clients with MariaDB 10.11, recorded by `sessions/record.py`: the mariadb CLI, PyMySQL,
//! mysql-connector-python with prepared statements, the same compressed.

use proptest::prelude::*;

use crate::fuzzing;
use crate::mysql::PROTOCOL;
use crate::proof::{Facts, Heals, Proof, Session};

/// Passwords, literals, binds, rows and files of the recorded sessions.
const SECRETS: &[&str] = &["secret", "apple", "pear", "plum"];

fn proof(session: &Session) -> Proof<'_> {
    Proof {
        protocol: &PROTOCOL,
        session,
        joined: Heals::Quiet(1),
        lost: Heals::Quiet(1),
        needed: &["outcome", "status", "rows"],
        secrets: SECRETS,
    }
}

/// Without places: the two sides' bytes, then the values but role and shape.
fn line(facts: &Facts) -> String {
    let mut line = format!("{} {}", facts.request.counted, facts.response.map_or(0, |response| response.counted));
    for (name, value) in facts.values.iter().filter(|(name, _)| !matches!(*name, "role" | "shape" | "system")) {
        line += &format!(" {name}={value}");
    }
    facts.incomplete.iter().for_each(|why| line += &format!(" [{why}]"));
    line
}

fn lines(name: &str) -> String {
    let session = Session::load(name);
    let truth = proof(&session).truth();
    assert!(truth.iter().all(|facts| facts.value("system") == Some("mariadb")));
    truth.iter().map(|facts| line(facts) + "\n").collect()
}

#[test]
fn the_sessions_are_what_was_done() {
    for name in ["mysql-cli", "mysql-pymysql", "mysql-connector", "mysql-compressed"] {
        insta::assert_snapshot!(name, lines(name));
    }
}

#[test]
fn what_the_cli_says_survives_everything() {
    proof(&Session::load("mysql-cli")).hold();
}

#[test]
fn what_pymysql_says_survives_everything() {
    proof(&Session::load("mysql-pymysql")).hold();
}

#[test]
fn what_the_connector_says_survives_everything() {
    proof(&Session::load("mysql-connector")).hold();
}

#[test]
fn what_is_said_in_frames_survives_everything() {
    let session = Session::load("mysql-compressed");
    // What stands behind a stored frame's header looks like a packet of its own.
    Proof { joined: Heals::Quiet(2), ..proof(&session) }.hold();
}

#[test]
fn the_fuzz_corpus_is_survived_and_so_is_its_every_prefix() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/mysql");
    let mut replayed = 0;
    for file in std::fs::read_dir(&folder).expect("the corpus is committed") {
        let bytes = std::fs::read(file.expect("readable").path()).expect("readable");
        (0..=bytes.len()).for_each(|end| fuzzing::script(&PROTOCOL, &bytes[..end]));
        replayed += 1;
    }
    assert!(replayed >= 5, "{replayed} files in {}", folder.display());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(data: Vec<u8>) {
        fuzzing::script(&PROTOCOL, &data);
    }
}
