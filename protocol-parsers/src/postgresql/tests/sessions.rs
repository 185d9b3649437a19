//! Sessions of psql, psycopg and pgbench with a real server, recorded by `sessions/postgresql.py`.

use crate::postgresql::PROTOCOL;
use crate::proof::{Facts, Heals, Proof, Session};

fn proof(session: &Session) -> Proof<'_> {
    Proof {
        protocol: &PROTOCOL,
        session,
        joined: Heals::Quiet(2),
        lost: Heals::Quiet(2),
        needed: &["outcome", "status", "rows", "batch"],
        secrets: &["secret", "471147114", "471247124"],
    }
}

/// What is said of each exchange, without places.
fn lines(facts: &[Facts]) -> String {
    let line = |facts: &Facts| {
        let value = |name| facts.value(name).unwrap_or("-");
        let mut line = format!("{} | {} | {}", value("summary"), value("query"), value("outcome"));
        for name in ["status", "rows", "batch"] {
            facts.value(name).into_iter().for_each(|value| line += &format!(" {name}={value}"));
        }
        if facts.response.is_none() {
            line += " (no response)";
        }
        assert_eq!((value("namespace"), &facts.incomplete[..]), ("shop", &[][..]), "{facts}");
        line + "\n"
    };
    facts.iter().map(line).collect()
}

fn check(name: &str) {
    let session = Session::load(&format!("postgresql/{name}.session"));
    let proof = proof(&session);
    insta::assert_snapshot!(name, lines(&proof.truth()));
    proof.hold();
}

#[test]
fn psql_speaks_the_simple_protocol() {
    check("simple");
}

#[test]
fn psycopg_binds_copies_and_fails() {
    check("extended");
}

#[test]
fn psycopg_pipelines() {
    check("pipeline");
}

#[test]
fn pgbench_executes_what_it_prepared() {
    check("prepared");
}

#[test]
fn pgbench_runs_transactions() {
    check("tpcb");
}
