//! One test per rule of losses; `recorded` proves them in general.

use super::script::*;
use crate::contract::{Close, Direction, Lost};

#[test]
fn an_answer_of_which_only_lengths_are_known_ends_where_the_next_command_begins() {
    let mut c = Script::with(MYSQL);
    let rows = packets(1, &[b"\x01", COLUMN, EOF, b"\x011"]);
    c.client(query("SELECT a FROM t")).server(&rows).server_hole(5000, Lost::Cut).server(b"\x05\0\0\x55x").expect(&[]);
    c.client(query("SELECT 2")).answers(&[&error(1064)]);
    c.expect(&["[shop] SELECT a FROM t -> ? (gap)", "[shop] SELECT ? -> 1064"]);
    let response = c.feed.done().next().and_then(|done| done.response).expect("answered");
    assert_eq!(response.bytes as usize, rows.len() + 5005);
}

#[test]
fn an_answer_without_an_end_is_not_claimed_when_the_connection_ends() {
    let mut c = Script::with(MYSQL);
    c.client(query("SELECT a FROM t")).server(packets(1, &[b"\x01", COLUMN, EOF])).ends(Close::Fin);
    c.expect(&["[shop] SELECT a FROM t -> ? (closed)"]);
    let mut c = Script::with(MYSQL);
    c.client(query("SELECT a FROM t")).ends(Close::Reset).expect(&["[shop] SELECT a FROM t -> ? (closed)"]);
}

#[test]
fn behind_a_hole_nothing_learnt_before_is_believed() {
    let mut c = Script::with(MYSQL | DEPRECATE_EOF);
    let execute = command(0x17, b"\x03\0\0\0\0\x01\0\0\0");
    c.client(command(0x16, "SELECT 1")).answers(&[b"\0\x03\0\0\0\0\0\0\0\0\0\0"]).client(&execute).answers(&[OK]);
    c.client_hole(40, Lost::Gap).server_hole(40, Lost::Gap);
    c.client(&execute).answers(&[OK]).client(command(0x02, "other")).answers(&[OK]).client(&execute).answers(&[OK]);
    c.ends(Close::Fin);
    assert_eq!(
        c.lines()[1..],
        ["[shop] EXECUTE SELECT ? -> ok", "EXECUTE -> ok", "[other] INIT_DB -> ok", "[other] EXECUTE -> ok"]
    );
}

#[test]
fn an_answer_too_many_takes_back_what_was_paired_on_trial() {
    let mut c = Script::joined();
    // `USE other` is answered by an answer to something that nobody saw.
    c.client(query("USE other")).answers(&[OK]).client(query("SELECT 1")).answers(&[OK]).expect(&[]);
    c.answers(&[&error(1049)]).ends(Close::Fin);
    c.expect(&["USE other -> ? (gap)", "SELECT ? -> ? (gap)"]);
}

#[test]
fn a_trial_ends_when_nothing_happens_for_a_second() {
    let mut c = Script::joined();
    c.client(query("SELECT 1")).answers(&[OK]);
    c.feed.tick();
    c.expect(&[]);
    c.feed.tick();
    c.expect(&["SELECT ? -> ok"]);
}

#[test]
fn a_hole_in_the_handshake_costs_what_it_would_have_told() {
    for hole in [Direction::Ingress, Direction::Egress] {
        let mut c = Script::new(crate::Role::Server);
        c.server(greeting("5.5.5-10.11.6-MariaDB", QUERY_ATTRIBUTES));
        c.feed.hole(hole, Some(100), Lost::Gap);
        if hole == Direction::Egress {
            c.client(response(1, 0, "shop")).server(packet(2, OK));
        }
        c.client(query("SELECT 1")).answers(&[b"\x01", COLUMN, EOF, EOF]).ends(Close::Fin);
        assert!(c.lines()[0].ends_with("SELECT ? -> ok 0 rows"), "{:?}", c.lines());
    }
}

#[test]
fn what_is_not_the_protocol_is_given_up() {
    let mut c = Script::with(MYSQL);
    for _ in 0..4 {
        c.client(b"\x05\0\0\0\x77what");
    }
    assert_eq!(c.feed.refused, ["an unknown command"]);
    c.client(query("SELECT 1")).answers(&[OK]).ends(Close::Fin).expect(&["SELECT ? -> ok"]);
}
