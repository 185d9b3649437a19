//! One test per rule of the handshake and of answers.

use super::script::*;
use crate::contract::{Close, Role, Wants};
use crate::exchange::{Details, Next};

#[test]
fn a_command_and_its_answer_are_one_exchange_for_either_side() {
    for side in [Role::Server, Role::Client] {
        let mut c = Script::new(side);
        c.server(greeting("8.0.44", MYSQL)).client(response(1, MYSQL, "shop")).server(packet(2, OK));
        c.client(query("DELETE FROM t WHERE id = 7")).answers(&[OK]);
        assert_eq!(
            c.log(),
            ["begun 0 at 4", "answered 0 at 5", "done 0 [shop] DELETE FROM t WHERE id = ? -> ok"],
            "{:?}",
            c.feed.refused
        );
        let done = c.feed.done().next().expect("done");
        let Details::Db(db) = done.details else { panic!() };
        assert_eq!(db.system.name(), "mysql");
        assert_eq!(db.summary.map(|summary| done.text.str(summary)), Some("DELETE t"));
        assert_eq!((done.request.bytes, done.response.map(|side| side.bytes)), (31, Some(11)));
    }
}

#[test]
fn the_greeting_tells_mariadb_apart() {
    for (version, name) in [("5.5.5-10.11.6-MariaDB-0", "mariadb"), ("11.4.2-MariaDB", "mariadb"), ("8.4.3", "mysql")] {
        let mut c = Script::new(Role::Client);
        c.server(greeting(version, MYSQL)).client(response(1, MYSQL, "")).server(packet(2, OK));
        c.client(query("SELECT 1")).answers(&[b"\x01", COLUMN, EOF, b"\x011", EOF]);
        let Details::Db(db) = c.feed.done().next().expect("done").details else { panic!() };
        assert_eq!((db.system.name(), db.namespace), (name, None));
    }
}

#[test]
fn rounds_of_authentication_are_stepped_over_and_kept_nowhere() {
    let mut c = Script::new(Role::Server);
    c.server(greeting("8.0.44", MYSQL)).client(response(1, MYSQL, "shop"));
    c.server(packet(2, b"\xfecaching_sha2_password\0scramble-three-of-20\0")).client(packet(3, b"secret-hash"));
    c.server(packet(4, b"\x01\x04")).client(packet(5, b"\x02")).server(packet(6, b"\x01-----BEGIN PUBLIC KEY-----"));
    c.client(packet(7, b"secret-encrypted")).server(packet(8, OK));
    c.client(query("SELECT 1")).answers(&[&error(1064)]);
    c.expect(&["[shop] SELECT ? -> 1064"]);
    assert!(!format!("{:?}", c.feed.said).contains("secret"));
}

#[test]
fn a_refused_connection_is_no_exchange() {
    let mut c = Script::new(Role::Client);
    c.server(packet(0, error(1040))).ends(Close::Fin).expect(&[]);
    let mut c = Script::new(Role::Client);
    c.server(greeting("8.0.44", MYSQL)).client(response(1, MYSQL, "shop")).server(packet(2, error(1045)));
    c.ends(Close::Fin).expect(&[]);
    assert!(c.feed.refused.is_empty());
}

#[test]
fn behind_tls_a_connection_is_known_from_its_handshake_on() {
    for mut c in [Script::joined(), Script::new(Role::Client)] {
        c.client(response(2, MYSQL | SSL, "shop")).server(&packet(3, b"\x01\x04")[..4]).server(b"\x01\x04");
        c.client(packet(4, b"app-secret\0")).server(packet(5, OK));
        c.client(query("SET NAMES 'x'")).server(packet(1, OK));
        c.client(query("SELECT 1")).server(packet(1, OK));
        c.expect(&["[shop] SET NAMES ? -> ok", "[shop] SELECT ? -> ok"]);
    }
}

#[test]
fn tls_ends_it_and_its_plaintext_begins_in_the_middle_of_the_handshake() {
    let mut c = Script::new(Role::Client);
    let mut request = response(1, MYSQL | SSL, "")[..36].to_vec();
    request[0] = 32;
    c.server(greeting("8.0.44", MYSQL | SSL)).client(request);
    assert_eq!(c.feed.next, Some(Next::Opaque("tls")));
    let mut c = Script::new(Role::Client);
    c.client(response(2, MYSQL | SSL | DEPRECATE_EOF, "shop")).server(packet(3, OK));
    c.client(query("SELECT 1")).answers(&[b"\x01", COLUMN, b"\x011", END]);
    c.expect(&["[shop] SELECT ? -> ok 1 rows"]);
}

#[test]
fn a_client_that_uses_mariadbs_capabilities_talks_to_mariadb() {
    let mut c = Script::new(Role::Client);
    c.client(response(2, SSL | CACHE_METADATA, "shop")).server(packet(3, OK)).client(query("SELECT 1")).answers(&[OK]);
    let Details::Db(db) = c.feed.done().next().expect("done").details else { panic!() };
    assert_eq!(db.system.name(), "mariadb");
}

#[test]
fn rows_are_counted_with_and_without_eof_packets_whether_that_is_known_or_not() {
    let with: &[&[u8]] = &[b"\x02", COLUMN, COLUMN, EOF, b"\x011\xfb", b"\x012\x01x", EOF];
    let without: &[&[u8]] = &[b"\x02", COLUMN, COLUMN, b"\x011\xfb", b"\x012\x01x", END];
    for (capabilities, answer) in [(MYSQL, with), (MYSQL | DEPRECATE_EOF, without)] {
        Script::with(capabilities)
            .client(query("SELECT a, b FROM t"))
            .answers(answer)
            .expect(&["[shop] SELECT a, b FROM t -> ok 2 rows"]);
    }
    for answer in [with, without] {
        let mut c = Script::joined();
        c.client(query("SELECT a, b FROM t")).answers(answer).ends(Close::Fin);
        c.expect(&["SELECT a, b FROM t -> ok 2 rows"]);
    }
    let none: &[&[u8]] = &[b"\x01", COLUMN, END];
    Script::with(MYSQL | DEPRECATE_EOF)
        .client(query("SELECT a FROM t"))
        .answers(none)
        .expect(&["[shop] SELECT a FROM t -> ok 0 rows"]);
}

#[test]
fn a_row_that_begins_like_the_end_is_a_row() {
    // A length of eight bytes: the first column is longer than 16 MiB.
    let mut c = Script::with(MYSQL | DEPRECATE_EOF);
    c.client(query("SELECT a FROM t")).answers(&[b"\x01", COLUMN]);
    c.server(b"\xff\xff\xff\x03\xfe\x00\x00\x00\x01\x00\x00\x00\x00xyz");
    let dir = c.requests().opposite();
    assert_eq!(c.feed.parser().wants(dir), Wants::Skip(0xff_ffff - 12));
    c.server_hole(0xff_ffff - 12, crate::Lost::Cut);
    c.server(packet(4, b"the rest")).server(packet(5, END)).expect(&["[shop] SELECT a FROM t -> ok 1 rows"]);
}

#[test]
fn several_results_are_one_exchange() {
    let more_eof = b"\xfe\0\0\x0a\0";
    let more_ok = b"\0\x01\0\x0a\0\0\0";
    let mut c = Script::with(MYSQL);
    c.client(query("SELECT 1; UPDATE t SET a = 2; SELECT 3"));
    c.answers(&[b"\x01", COLUMN, EOF, b"\x011", more_eof, more_ok, b"\x01", COLUMN, EOF, b"\x013", EOF]);
    c.expect(&["[shop] SELECT ?; UPDATE t SET a = ?; SELECT ? -> ok 2 rows"]);
    c.client(query("SELECT 1; SELEC 2")).answers(&[b"\x01", COLUMN, EOF, b"\x011", more_eof, &error(1064)]);
    assert!(c.lines()[1].ends_with("-> 1064"), "{:?}", c.lines());
}

#[test]
fn an_error_may_come_among_rows_and_progress_before_an_answer() {
    let mut c = Script::with(MYSQL);
    c.client(query("SELECT a FROM t")).answers(&[b"\x01", COLUMN, EOF, b"\x011", &error(1317)]);
    c.client(query("ALTER TABLE t ADD b INT"));
    c.answers(&[b"\xff\xff\xff\x01\x01\x02\x10\0\0\x04Copy", b"\xff\xff\xff\x01\x02\x02\0\0\0\x04Copy", OK]);
    c.expect(&["[shop] SELECT a FROM t -> 1317", "[shop] ALTER TABLE t ADD b INT -> ok"]);
}

#[test]
fn a_file_is_part_of_the_command_that_asks_for_it() {
    let mut c = Script::with(MYSQL);
    let sql = "LOAD DATA LOCAL INFILE 'secret.csv' INTO TABLE t";
    c.client(query(sql)).answers(&[b"\xfbsecret.csv"]);
    c.client(packets(2, &[b"1,secret\n2,secret\n", b"3,secret\n", b""])).server(packet(5, OK));
    c.expect(&["[shop] LOAD DATA LOCAL INFILE ? INTO TABLE t -> ok"]);
    let done = c.feed.done().next().expect("done");
    assert_eq!(done.request.bytes, 5 + sql.len() as u64 + 12 + 18 + 9);
    assert!(!format!("{:?}", c.feed.said).contains("secret"));
    c.client(query("SELECT 1")).answers(&[OK]);
    assert_eq!(c.lines().len(), 2);
}

#[test]
fn definitions_may_be_left_out() {
    let mut c = Script::with(CACHE_METADATA | DEPRECATE_EOF);
    c.client(query("SELECT a FROM t")).answers(&[b"\x01\x01", COLUMN, b"\x011", END]);
    c.client(query("SELECT a FROM t")).answers(&[b"\x01\x00", b"\x011", b"\x012", END]);
    c.expect(&["[shop] SELECT a FROM t -> ok 1 rows", "[shop] SELECT a FROM t -> ok 2 rows"]);
    let mut c = Script::with(MYSQL | OPTIONAL_METADATA);
    c.client(query("SELECT a, b FROM t")).answers(&[b"\x00\x02", EOF, b"\x011\x012", EOF]);
    c.client(query("SELECT a FROM t")).answers(&[b"\x01\x01", COLUMN, EOF, b"\x011", EOF]);
    c.expect(&["[shop] SELECT a, b FROM t -> ok 1 rows", "[shop] SELECT a FROM t -> ok 1 rows"]);
}

#[test]
fn what_only_keeps_the_session_is_no_exchange() {
    let mut c = Script::with(MYSQL);
    c.client(command(0x0e, "")).answers(&[OK]);
    c.client(command(0x09, "")).answers(&[b"Uptime: 5  Threads: 1"]);
    c.client(command(0x1b, "\0\0")).answers(&[EOF]);
    c.client(command(0x0d, "")).answers(&[EOF]);
    c.client(command(0x1a, [1, 0, 0, 0])).answers(&[OK]);
    c.expect(&[]);
    c.client(command(0x0c, [9, 0, 0, 0])).answers(&[&error(1094)]);
    c.client(command(0x04, "t\0%")).answers(&[COLUMN, COLUMN, EOF]);
    c.client(command(0x01, "")).ends(Close::Fin);
    c.expect(&["[shop] PROCESS_KILL -> 1094", "[shop] FIELD_LIST -> ok"]);
}

#[test]
fn replication_is_left_alone() {
    let mut c = Script::with(MYSQL);
    c.client(query("SELECT 1")).answers(&[OK]).client(command(0x12, b"\x04\0\0\0\0\0\x01\0\0\0binlog.000001"));
    assert_eq!(c.feed.next, Some(Next::Opaque("mysql-replication")));
    c.expect(&["[shop] SELECT ? -> ok"]);
}

#[test]
fn pipelined_commands_are_answered_in_their_order() {
    let mut c = Script::with(0);
    c.client([query("SELECT 1"), command(0x0e, ""), query("SELECT a")].concat());
    c.server([packet(1, error(1064)), packet(1, OK), packets(1, &[b"\x01", COLUMN, EOF, b"\x01a", EOF])].concat());
    c.expect(&["[shop] SELECT ? -> 1064", "[shop] SELECT a -> ok 1 rows"]);
}

#[test]
fn a_quiet_connection_is_small() {
    let mut c = Script::with(MYSQL);
    for _ in 0..100 {
        c.client(query("SELECT a FROM t WHERE b = 'c'")).answers(&[b"\x01", COLUMN, EOF, b"\x011", EOF]);
    }
    (0..2).for_each(|_| c.feed.tick());
    assert!(c.feed.parser().heap() <= 256, "{}", c.feed.parser().heap());
}
