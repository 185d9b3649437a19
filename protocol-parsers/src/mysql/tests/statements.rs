//! One test per rule of texts, attributes, prepared statements and the database in use.

use super::script::*;
use crate::contract::{Close, Lost, Role};
use crate::exchange::Details;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Attributes: a number, NULL, `traceparent`, `tracestate`.
fn attributes() -> Vec<u8> {
    let mut bytes = b"\x04\x01\x02\x01".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.push(text.len() as u8);
        bytes.extend(text.as_bytes());
    };
    for (kind, name) in [(8_u16, "n"), (6, "null"), (0xfd, "traceparent"), (0xfd, "tracestate")] {
        bytes.extend(kind.to_le_bytes());
        text(&mut bytes, name);
    }
    bytes.extend(7_u64.to_le_bytes());
    text(&mut bytes, PARENT);
    text(&mut bytes, "a=1");
    bytes
}

fn parent(c: &Script) -> Option<(u8, Option<String>)> {
    let done = c.feed.done().last().expect("done");
    done.context.map(|context| {
        assert_eq!(context.trace_id[..2], [0x0a, 0xf7]);
        (context.flags, context.state.map(|state| done.text.str(state).to_owned()))
    })
}

#[test]
fn attributes_stand_in_front_of_the_text_and_may_name_the_parent() {
    for mut c in [Script::with(MYSQL | QUERY_ATTRIBUTES), Script::joined()] {
        c.client(command(0x03, [attributes(), b"SELECT a".to_vec()].concat())).answers(&[OK]);
        c.client(command(0x03, b"\0\x01SELECT b")).answers(&[OK]);
        c.ends(Close::Fin);
        assert!(
            c.lines()[0].ends_with("SELECT a -> ok") && c.lines()[1].ends_with("SELECT b -> ok"),
            "{:?}",
            c.lines()
        );
        let done = c.feed.done().next().expect("done");
        let context = done.context.expect("a parent");
        assert_eq!((context.flags, context.state.map(|state| done.text.str(state))), (1, Some("a=1")));
    }
}

#[test]
fn a_comment_may_name_the_parent_and_an_attribute_is_believed_first() {
    let mut c = Script::with(MYSQL);
    c.client(query(&format!("SELECT a /*traceparent='{PARENT}'*/"))).answers(&[OK]);
    assert_eq!(parent(&c), Some((1, None)));
}

#[test]
fn an_execution_may_carry_attributes_behind_its_parameters() {
    let mut c = Script::with(MYSQL | QUERY_ATTRIBUTES);
    c.client(command(0x16, "SELECT ?")).answers(&[b"\0\x05\0\0\0\0\0\x01\0\0\0\0", COLUMN, EOF]);
    let mut execute = b"\x05\0\0\0\x08\x01\0\0\0\x02\0\x01\x08\0\0\xfd\0\x0btraceparent".to_vec();
    execute.extend(9_u64.to_le_bytes());
    execute.push(PARENT.len() as u8);
    execute.extend(PARENT.as_bytes());
    c.client(command(0x17, execute)).answers(&[b"\x01", COLUMN, EOF, b"\0\0\x09", EOF]);
    assert_eq!(parent(&c), Some((1, None)));
    c.expect(&["[shop] PREPARE SELECT ? -> ok", "[shop] EXECUTE SELECT ? -> ok 1 rows"]);
}

#[test]
fn an_execution_has_the_text_that_was_prepared_until_it_is_closed() {
    let mut c = Script::with(MYSQL | DEPRECATE_EOF);
    let execute = command(0x17, b"\x03\0\0\0\0\x01\0\0\0");
    c.client(command(0x16, "SELECT a FROM t WHERE b = 'x' AND c = ?"));
    c.answers(&[b"\0\x03\0\0\0\x01\0\x01\0\0\0\0", COLUMN, COLUMN]);
    c.client(&execute).answers(&[b"\x01", COLUMN, b"\0\0\x01", b"\0\0\x02", END]);
    c.client([command(0x18, b"\x03\0\0\0\0\0secret"), command(0x1a, b"\x03\0\0\0")].concat()).answers(&[OK]);
    c.client(&execute).answers(&[&error(1205)]);
    c.client(command(0x19, b"\x03\0\0\0")).client(&execute).answers(&[&error(1243)]);
    c.expect(&[
        "[shop] PREPARE SELECT a FROM t WHERE b = ? AND c = ? -> ok",
        "[shop] EXECUTE SELECT a FROM t WHERE b = ? AND c = ? -> ok 2 rows",
        "[shop] EXECUTE SELECT a FROM t WHERE b = ? AND c = ? -> 1205",
        "[shop] EXECUTE -> 1243",
    ]);
    let summaries: Vec<_> = c
        .feed
        .done()
        .map(|done| {
            let Details::Db(db) = done.details else { panic!() };
            db.summary.map(|summary| done.text.str(summary).to_owned())
        })
        .collect();
    assert_eq!(summaries, [None, Some("SELECT t".to_owned()), Some("SELECT t".to_owned()), None]);
    assert!(!format!("{:?}", c.feed.said).contains("secret"));
}

#[test]
fn a_prepared_statements_end_is_seen_where_eof_packets_are_not_known() {
    let ok = b"\0\x03\0\0\0\0\0\x01\0\0\0\0";
    for (eof, next) in [(true, true), (true, false), (false, true), (false, false)] {
        let answer: [&[u8]; 3] = [ok, COLUMN, EOF];
        let mut c = Script::joined();
        c.client(command(0x16, "DELETE FROM t WHERE a = ?")).answers(&answer[..if eof { 3 } else { 2 }]);
        if next {
            c.client(command(0x17, b"\x03\0\0\0\0\x01\0\0\0")).answers(&[OK]);
        }
        c.ends(Close::Fin);
        assert_eq!(c.lines()[0], "PREPARE DELETE FROM t WHERE a = ? -> ok", "{eof} {next}");
        let response = c.feed.done().next().and_then(|done| done.response).expect("answered");
        assert_eq!(response.bytes as usize, 16 + 4 + COLUMN.len() + if eof { 9 } else { 0 });
        assert_eq!(next, c.lines().get(1).is_some_and(|line| line == "EXECUTE DELETE FROM t WHERE a = ? -> ok"));
    }
}

#[test]
fn the_statement_prepared_last_may_be_executed_without_its_number() {
    let mut c = Script::with(0);
    c.client([command(0x16, "INSERT INTO t VALUES (?)"), command(0x17, b"\xff\xff\xff\xff\0\x01\0\0\0")].concat());
    c.server([packets(1, &[b"\0\x09\0\0\0\0\0\x01\0\0\0\0", COLUMN, EOF]), packet(1, OK)].concat());
    c.client(command(0xfa, b"\x09\0\0\0\x80\0\x03\0")).answers(&[OK]);
    c.expect(&[
        "[shop] PREPARE INSERT INTO t VALUES (?) -> ok",
        "[shop] EXECUTE INSERT INTO t VALUES (?) -> ok",
        "[shop] BULK_EXECUTE INSERT INTO t VALUES (?) -> ok",
    ]);
}

#[test]
fn a_cursor_is_fetched_from() {
    let cursor = b"\xfe\0\0\x42\0";
    for capabilities in [MYSQL, MYSQL | DEPRECATE_EOF] {
        let end: &[u8] = if capabilities == MYSQL { EOF } else { END };
        let open: &[u8] = if capabilities == MYSQL { cursor } else { b"\xfe\0\0\x42\0\0\0" };
        let mut c = Script::with(capabilities);
        c.client(command(0x16, "SELECT a FROM t")).answers(&[b"\0\x01\0\0\0\0\0\0\0\0\0\0"]);
        c.client(command(0x17, b"\x01\0\0\0\x01\x01\0\0\0")).answers(&[b"\x01", COLUMN, open]);
        c.client(command(0x1c, b"\x01\0\0\0\x02\0\0\0")).answers(&[b"\0\0\x01", b"\0\0\x02", end]);
        c.client(command(0x1c, b"\x01\0\0\0\x02\0\0\0")).answers(&[end]);
        c.expect(&[
            "[shop] PREPARE SELECT a FROM t -> ok",
            "[shop] EXECUTE SELECT a FROM t -> ok 0 rows",
            "[shop] FETCH SELECT a FROM t -> ok 2 rows",
            "[shop] FETCH SELECT a FROM t -> ok 0 rows",
        ]);
    }
}

#[test]
fn another_user_begins_anew() {
    let mut c = Script::with(MYSQL);
    c.client(command(0x16, "SELECT 1")).answers(&[b"\0\x01\0\0\0\0\0\0\0\0\0\0"]);
    c.client(command(0x11, b"other\0\x06secretstaff\0\x2d\0plugin\0"));
    c.server(packet(1, b"\xfeplugin\0scramble")).client(packet(2, b"secret")).server(packet(3, OK));
    c.client(command(0x17, b"\x01\0\0\0\0\x01\0\0\0")).answers(&[&error(1243)]);
    c.expect(&["[shop] PREPARE SELECT ? -> ok", "[staff] EXECUTE -> 1243"]);
    assert!(!format!("{:?}", c.feed.said).contains("secret"));
    c.client(command(0x16, "SELECT 2")).answers(&[b"\0\x02\0\0\0\0\0\0\0\0\0\0"]);
    c.client(command(0x1f, "")).answers(&[OK]);
    c.client(command(0x17, b"\x02\0\0\0\0\x01\0\0\0")).answers(&[&error(1243)]);
    assert_eq!(c.lines()[3], "[staff] EXECUTE -> 1243");
}

#[test]
fn the_database_in_use_follows_commands_that_succeed() {
    let mut c = Script::with(MYSQL);
    c.client(query("USE staff")).answers(&[OK]).client(query("USE missing")).answers(&[&error(1049)]);
    c.client(command(0x02, "other")).answers(&[OK]).client(query("DROP DATABASE other")).answers(&[OK]);
    c.client(query("SELECT 1")).answers(&[OK]);
    c.expect(&[
        "[staff] USE staff -> ok",
        "[staff] USE missing -> 1049",
        "[other] INIT_DB -> ok",
        "[other] DROP DATABASE other -> ok",
        "SELECT ? -> ok",
    ]);
    let mut c = Script::joined();
    c.client(query("SELECT 1")).answers(&[OK]).client(query("USE `my shop`")).answers(&[OK]);
    c.client(query("SELECT 2")).answers(&[OK]).ends(Close::Fin);
    c.expect(&["SELECT ? -> ok", "[my shop] USE `my shop` -> ok", "[my shop] SELECT ? -> ok"]);
}

#[test]
fn a_backslash_is_no_escape_where_the_server_says_so() {
    let mut c = Script::with(MYSQL);
    c.client(query("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")).answers(&[b"\0\0\0\x02\x02\0\0"]);
    c.client(query("SELECT 'a\\', secret_column, 'b'")).answers(&[OK]);
    assert!(!format!("{:?}", c.lines()).contains('\\'));
}

#[test]
fn of_a_long_text_the_beginning_is_read() {
    let long = format!("INSERT INTO t VALUES {}('secret')", "(1, 'secret'), ".repeat(3000));
    for split in [1, 1000, 16_000, 50_000] {
        let mut c = Script::new(Role::Client);
        c.server(greeting("8.0.44", MYSQL)).client(response(1, MYSQL, "")).server(packet(2, OK));
        for piece in query(&long).chunks(split) {
            c.client(piece);
        }
        c.answers(&[OK]);
        let lines = c.lines();
        assert!(lines[0].starts_with("INSERT INTO t VALUES ") && lines[0].ends_with("-> ok (truncated)"), "{lines:?}");
        assert!(!lines[0].contains("secret"));
        let done = c.feed.done().next().expect("done");
        assert_eq!(done.request.bytes as usize, long.len() + 5);
        assert!(c.feed.parser().heap() < 1024);
    }
}

#[test]
fn of_a_text_that_was_cut_off_the_beginning_is_told() {
    let sql = format!("SELECT a FROM t WHERE b IN ({})", "'secret', ".repeat(100));
    let bytes = query(&sql);
    let mut c = Script::with(MYSQL);
    c.client(&bytes[..200]).client_hole(bytes.len() as u64 - 200, Lost::Cut).answers(&[b"\x01", COLUMN, EOF, EOF]);
    c.client(query("SELECT 1")).answers(&[OK]);
    let lines = c.lines();
    assert!(
        lines[0].starts_with("[shop] SELECT a FROM t WHERE b IN (") && lines[0].ends_with("-> ok 0 rows (truncated)")
    );
    assert_eq!(lines[1], "[shop] SELECT ? -> ok");
    assert_eq!(c.feed.done().next().expect("done").request.bytes as usize, bytes.len());
}

#[test]
fn a_statement_of_more_than_16_mib_is_one_command() {
    let mut c = Script::with(MYSQL);
    let begins = format!("\x03INSERT INTO t VALUES ('{}", "x".repeat(100));
    c.client([b"\xff\xff\xff\0", begins.as_bytes()].concat()).client_hole(0xff_ffff - begins.len() as u64, Lost::Cut);
    c.client(packet(1, b"the rest')")).server(packet(2, OK));
    c.expect(&["[shop] INSERT INTO t VALUES (? -> ok (truncated)"]);
    c.client(query("SELECT 1")).answers(&[OK]);
    assert_eq!(c.lines()[1], "[shop] SELECT ? -> ok");
}

#[test]
fn the_worst_connection_holds_less_than_64_kib() {
    let mut c = Script::joined();
    let long = |number: u32| format!("SELECT {} FROM t{number}", "column_name, ".repeat(600));
    for number in 0..400_u32 {
        c.client(command(0x16, long(number))).answers(&[&[&b"\0"[..], &number.to_le_bytes(), &[0; 7]].concat()]);
        assert!(c.feed.parser().heap() < 64 * 1024, "{}", c.feed.parser().heap());
    }
    // Many at once, and the last not to its end.
    for number in 0..200 {
        c.client(query(&long(number)));
        assert!(c.feed.parser().heap() < 64 * 1024, "{}", c.feed.parser().heap());
    }
    c.client(&query(&long(0))[..7000]);
    assert!(c.feed.parser().heap() < 64 * 1024, "{}", c.feed.parser().heap());
}
