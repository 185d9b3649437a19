//! The protocol's rules, one by one.

use super::script::*;
use crate::contract::{Close, Direction, Lost, Wants};
use crate::exchange::{Details, Emitted, Next};
use crate::postgresql::PROTOCOL;

#[test]
fn a_query_begins_with_its_message_and_ends_with_ready_for_query() {
    let mut script = Script::new();
    script.client(query("select 'secret'")).server(description()).server(row()).server(done("SELECT 1")).expect(&[]);
    script.server(READY).expect(&["select ? | ok rows=1"]);
    let exchange = script.feed.done().next().expect("it is done");
    let response = exchange.response.expect("it was answered");
    assert_eq!(exchange.request.bytes, query("select 'secret'").len() as u64);
    assert_eq!(response.bytes, one_row().len() as u64);
    assert_eq!(response.last.time.0 - response.first.time.0, 3);
    let Details::Db(db) = exchange.details else { panic!("{exchange:?}") };
    assert_eq!(db.namespace.map(|name| exchange.text.str(name)), Some("shop"));
}

#[test]
fn the_user_names_the_database_if_nothing_else_does() {
    let mut script = Script::untold();
    script.client(b"\0\0\0\x11\0\x03\0\x02user\0me\0\0").server([message(b'R', [0; 4]), READY.to_vec()].concat());
    script.client(query("select 1")).server(one_row());
    let exchange = script.feed.done().next().expect("it is done");
    let Details::Db(db) = exchange.details else { panic!("{exchange:?}") };
    assert_eq!(db.namespace.map(|name| exchange.text.str(name)), Some("me"));
}

#[test]
fn several_statements_of_a_query_are_one_batch_if_all_completed() {
    let two = [done("INSERT 0 3"), done("UPDATE 2"), READY.to_vec()].concat();
    let half = [done("INSERT 0 3"), error("ERROR", "22012"), READY.to_vec()].concat();
    Script::new()
        .client(query("a;b"))
        .server(two)
        .client(query("a;b"))
        .server(half)
        .expect(&["a;b | ok batch=2", "a;b | error 22012"]);
}

#[test]
fn passwords_and_what_comes_at_any_time_are_read_over() {
    let mut script = Script::untold();
    let notice = [message(b'N', b"SNOTICE\0Msecret\0\0"), message(b'A', b"\0\0\0\x01news\0secret\0")].concat();
    let status = message(b'S', b"TimeZone\0secret\0");
    script.client(startup("shop")).server(message(b'R', b"\0\0\0\x05salt")).client(message(b'p', b"secret\0"));
    script.server([message(b'R', [0; 4]), status.clone(), message(b'K', [0; 8]), READY.to_vec()].concat());
    script.server(&notice).client(query("do x")).server(&notice).server(done("DO")).server(&status).server(READY);
    script.server(&notice).expect(&["do x | ok"]);
}

#[test]
fn an_execute_begins_with_its_parse_or_bind_and_ends_with_its_result() {
    let mut script = Script::new();
    script.client([parse("", "select $1"), bind("", ""), execute(""), SYNC.to_vec()].concat());
    script.server([PARSED, BOUND, &row(), &row(), &done("SELECT 2")].concat()).expect(&["select $1 | ok rows=2"]);
    let exchange = script.feed.done().next().expect("it is done");
    let asked = [parse("", "select $1"), bind("", ""), execute("")].concat().len() as u64;
    assert_eq!((exchange.request.first.offset, exchange.request.bytes), (1000 + startup("shop").len() as u64, asked));
    script.server(READY).ends().expect(&["select $1 | ok rows=2"]);
}

#[test]
fn what_only_prepares_gives_no_exchange_unless_it_fails() {
    let mut script = Script::new();
    let describe = message(b'D', b"Sone\0");
    script.client([&parse("one", "select 'secret'")[..], &describe, SYNC].concat());
    script.server([PARSED, &message(b't', [0; 2]), &description(), READY].concat()).expect(&[]);
    script.client([&parse("two", "selec 'secret'")[..], &message(b'D', b"Stwo\0"), SYNC].concat());
    script.server([&error("ERROR", "42601")[..], READY].concat()).expect(&["selec ? | error 42601"]);
    script.client([&bind("", "one")[..], &execute(""), SYNC].concat());
    script.server([BOUND, &row(), &done("SELECT 1"), READY].concat());
    script.ends().expect(&["selec ? | error 42601", "select ? | ok rows=1"]);
}

#[test]
fn an_error_of_parse_or_bind_is_that_of_its_execute() {
    let mut script = Script::new();
    script.client([&parse("", "selec")[..], &bind("", ""), &execute(""), SYNC].concat());
    script.server([&error("ERROR", "42601")[..], READY].concat());
    script.client([&parse("", "select $1")[..], &bind("", ""), &execute(""), SYNC].concat());
    script.server([PARSED, &error("ERROR", "22P02"), READY].concat());
    script.expect(&["selec | error 42601", "select $1 | error 22P02"]);
}

#[test]
fn several_syncs_may_be_outstanding() {
    let mut script = Script::new();
    for sql in ["one", "two", "three"] {
        script.client([&parse("", sql)[..], &bind("", ""), &execute(""), SYNC].concat());
    }
    script.server([PARSED, BOUND, &done("A"), READY, PARSED, &error("ERROR", "22012"), READY].concat());
    script.client(query("four")).server([PARSED, BOUND, &row(), &done("A"), READY, &done("A"), READY].concat());
    script.expect(&["one | ok", "two | error 22012", "three | ok rows=1", "four | ok"]);
}

#[test]
fn what_follows_an_error_is_not_executed_up_to_the_next_sync_whenever_it_is_sent() {
    let mut script = Script::new();
    let whole = |sql| [parse("", sql), bind("", ""), execute("")].concat();
    script.client([whole("one"), whole("two"), whole("three")].concat());
    script.server([PARSED, BOUND, &done("A"), &error("ERROR", "22012")].concat());
    script.client(whole("four")).client(query("five")).client(SYNC).server(READY);
    script.client([&whole("six")[..], SYNC].concat()).server([PARSED, BOUND, &done("A"), READY].concat());
    script.ends().expect(&[
        "one | ok",
        "two | error 22012",
        "three | error (no response)",
        "four | error (no response)",
        "five | error (no response)",
        "six | ok",
    ]);
}

#[test]
fn a_portal_may_be_executed_in_parts() {
    let mut script = Script::new();
    script.client([parse("", "select x"), bind("c", ""), execute("c"), execute("c"), SYNC.to_vec()].concat());
    let suspended = message(b's', []);
    script.server([PARSED, BOUND, &row(), &row(), &suspended, &row(), &done("SELECT 1"), READY].concat());
    script.expect(&["select x | ok rows=2", "select x | ok rows=1"]);
}

#[test]
fn a_statement_keeps_its_text_until_its_name_may_mean_another() {
    let mut script = Script::new();
    let run = |script: &mut Script| {
        script.client([&bind("", "s")[..], &execute(""), SYNC].concat());
        script.server([BOUND, &done("A"), READY].concat());
    };
    script.client([&parse("s", "one")[..], SYNC].concat()).server([PARSED, READY].concat());
    run(&mut script);
    // It exists: the older one stays, but which it is was forgotten.
    script.client([&parse("s", "two")[..], SYNC].concat()).server([&error("ERROR", "42P05")[..], READY].concat());
    run(&mut script);
    script.client([&message(b'C', b"Ss\0")[..], &parse("s", "three"), SYNC].concat());
    script.server([&message(b'3', [])[..], PARSED, READY].concat());
    run(&mut script);
    script.client(query("deallocate \"s\"")).server([&done("DEALLOCATE")[..], READY].concat());
    run(&mut script);
    script
        .client([&parse("s", "four")[..], &parse("t", "five"), SYNC].concat())
        .server([PARSED, PARSED, READY].concat());
    script.client(query("deallocate prepare T;")).server([&done("DEALLOCATE")[..], READY].concat());
    run(&mut script);
    script.client(query("discard all")).server([&done("DISCARD ALL")[..], READY].concat());
    run(&mut script);
    script.expect(&[
        "one | ok",
        "two | error 42P05",
        "- | ok",
        "three | ok",
        "deallocate \"s\" | ok",
        "- | ok",
        "deallocate prepare T; | ok",
        "four | ok",
        "discard all | ok",
        "- | ok",
    ]);
}

#[test]
fn copy_in_passes_over_the_sync_that_libpq_sends_in_front() {
    let mut script = Script::new();
    let copy_in = message(b'G', [0, 0, 0]);
    script.client([&parse("", "copy t from stdin")[..], &bind("", ""), &execute(""), SYNC].concat());
    script.server([PARSED, BOUND, &copy_in].concat()).client(message(b'd', "secret")).client(message(b'd', "secret"));
    script.client([&message(b'c', [])[..], SYNC].concat()).server([&done("COPY 2")[..], READY].concat());
    // Sent without waiting for the server, and failing while the client still sends.
    script.client([&parse("", "copy u from stdin")[..], &bind("", ""), &execute(""), SYNC].concat());
    script.client([&message(b'd', "secret")[..], &message(b'c', []), SYNC].concat());
    script.server([PARSED, BOUND, &copy_in, &error("ERROR", "22P02"), READY].concat());
    script.client(query("copy v from stdin")).server(&copy_in).client(message(b'd', "secret"));
    script.client(message(b'f', "secret\0")).server([&error("ERROR", "57014")[..], READY].concat());
    script.client(query("select x")).server(one_row()).ends().expect(&[
        "copy t from stdin | ok",
        "copy u from stdin | error 22P02",
        "copy v from stdin | error 57014",
        "select x | ok rows=1",
    ]);
    let copied = script.feed.done().next().expect("it is done").request;
    assert_eq!(copied.last.time.0 - copied.first.time.0, 4, "up to CopyDone");
}

#[test]
fn rows_and_copied_data_are_skipped_by_their_lengths() {
    let mut script = Script::new();
    let long = 1_000_000_u32;
    let head = |kind: u8| [&[kind][..], &(long + 4).to_be_bytes(), b"abc"].concat();
    script.client(query("copy t to stdout")).server([&message(b'H', [0, 0, 0])[..], &head(b'd')].concat());
    assert_eq!(script.feed.parser().wants(Direction::Egress), Wants::Skip(u64::from(long) - 3));
    script.feed.hole(Direction::Egress, Some(u64::from(long) - 3), Lost::Cut);
    script.server([&message(b'c', [])[..], &done("COPY 1"), READY].concat());
    script.client(query("select x")).server([&description()[..], &head(b'D')].concat());
    script.feed.hole(Direction::Egress, Some(u64::from(long) - 3), Lost::Cut);
    script.server([&row()[..], &done("SELECT 2"), READY].concat());
    script.expect(&["copy t to stdout | ok", "select x | ok rows=2"]);
}

#[test]
fn a_long_text_is_cut_and_says_so() {
    let mut script = Script::new();
    let sql = format!("select a from t where b in ({}'secret')", "17, ".repeat(10_000));
    script.client(query(&sql)).server(one_row());
    let exchange = script.feed.done().next().expect("it is done");
    assert_eq!(exchange.request.bytes, sql.len() as u64 + 6);
    assert!(line(exchange).starts_with("select a from t where b in (?, ?"));
    assert!(line(exchange).ends_with("| ok rows=1 [truncated]"), "{}", line(exchange));
}

#[test]
fn a_fatal_error_ends_its_exchange_and_the_connection() {
    let mut script = Script::new();
    script.client(query("select pg_sleep(9)")).server(error("FATAL", "57P01")).ends();
    script.expect(&["select pg_sleep(?) | error 57P01"]);
    // With nothing under way it belongs to nothing.
    Script::new().server(error("FATAL", "57P05")).ends().expect(&[]);
    Script::untold().client(startup("shop")).server(error("FATAL", "28P01")).ends().expect(&[]);
}

#[test]
fn a_connection_that_ends_early_leaves_its_requests_incomplete() {
    let mut script = Script::new();
    script.client(query("one")).server(description()).feed.close(None, Close::Reset);
    script.expect(&["one | ? [closed]"]);
}

#[test]
fn function_calls_are_exchanges_without_a_text() {
    let call = message(b'F', [0; 10]);
    Script::new().client(&call).server([&message(b'V', b"\0\0\0\x06secret")[..], READY].concat()).expect(&["- | ok"]);
}

#[test]
fn what_is_granted_encryption_is_not_read() {
    for (request, grant, name) in
        [(b"\0\0\0\x08\x04\xd2\x16\x2f", b"S", "tls"), (b"\0\0\0\x08\x04\xd2\x16\x30", b"G", "gssapi")]
    {
        let mut script = Script::untold();
        script.client(request).server(grant).expect(&[]);
        assert_eq!(script.feed.said, [Emitted::Switch(Next::Opaque(name))]);
        // Refused, it goes on as if it had not been asked for.
        let mut script = Script::untold();
        script.client(request).server("N").client(startup("shop"));
        script.server([message(b'R', [0; 4]), READY.to_vec()].concat()).client(query("one")).server(one_row());
        script.expect(&["one | ok rows=1"]);
    }
}

#[test]
fn a_cancel_request_is_no_exchange() {
    Script::untold().client(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01secr").ends().expect(&[]);
}

#[test]
fn where_replication_begins_reading_ends() {
    let mut script = Script::new();
    script.client(query("START_REPLICATION SLOT s LOGICAL 0/0")).server(message(b'W', [0, 0, 0]));
    assert!(matches!(script.feed.said.last(), Some(Emitted::Switch(Next::Opaque("postgresql-replication")))));
    script.feed.assert_all_done();
    assert!(script.feed.done().next().is_some_and(|exchange| exchange.incomplete.is_empty()));
}

#[test]
fn statements_prepared_before_have_no_text() {
    let mut script = Script::joined();
    let run = [&bind("", "old")[..], &execute(""), SYNC].concat();
    script.client(&run).server([BOUND, &row(), &done("SELECT 1"), READY].concat());
    script.client(&run).server([BOUND, &row(), &done("SELECT 1"), READY].concat());
    script.client([&parse("", "select x")[..], &run].concat());
    script.server([PARSED, BOUND, &row(), &done("SELECT 1"), READY].concat());
    script.ends().expect(&["- | ? (no response) [gap]", "- | ok rows=1", "- | ok rows=1"]);
}

#[test]
fn an_answer_too_many_takes_those_on_trial_from_their_requests() {
    let mut script = Script::joined();
    script.client(query("unpaired")).server(READY);
    // In truth the client has two requests under way at any time.
    for _ in 0..5 {
        script.client(query("select x")).server(one_row());
    }
    script.expect(&["unpaired | ? (no response) [gap]"]);
    script.server(one_row());
    script.expect(&[&["unpaired | ? (no response) [gap]"][..], &["select x | ? (no response) [gap]"; 5]].concat());
}

#[test]
fn a_command_tag_of_another_statement_shows_that_the_pairing_is_wrong() {
    let mut script = Script::joined();
    script.client(query("one")).server(READY).client(query("INSERT INTO t VALUES (1)")).server(one_row());
    script.client(query("two")).ends();
    script.expect(&[
        "one | ? (no response) [gap]",
        "INSERT INTO t VALUES (?) | ? (no response) [desync]",
        "two | ? (no response) [closed]",
    ]);
}

#[test]
fn a_trial_ends_when_the_connection_has_drained_often_or_is_silent() {
    let mut drained = Script::joined();
    drained.client(query("unpaired")).server(READY);
    for _ in 0..16 {
        drained.client(query("select x")).server(one_row());
    }
    assert_eq!(drained.feed.done().count(), 1);
    drained.client(query("select x"));
    assert_eq!(drained.feed.done().filter(|done| done.response.is_some()).count(), 16);
    let mut silent = Script::joined();
    silent.client(query("unpaired")).server(READY).client(query("select x")).server(one_row());
    (0..3).for_each(|_| silent.feed.tick());
    silent.expect(&["unpaired | ? (no response) [gap]", "select x | ok rows=1"]);
}

#[test]
fn a_quiet_connection_holds_little_and_a_busy_one_no_more_than_64_kib() {
    let mut script = Script::new();
    script.client([&parse("", "select a from t where b = $1")[..], &bind("", ""), &execute(""), SYNC].concat());
    script.server([PARSED, BOUND, &row(), &done("SELECT 1"), READY].concat());
    (0..2).for_each(|_| script.feed.tick());
    let quiet = script.feed.parser().heap();
    assert!(quiet <= 512, "{quiet} bytes");
    let mut most = 0;
    for name in 0..2000 {
        let sql = format!("select a, b, c from table_{name} where d = $1 and e = $2 order by f");
        script.client([&parse(&format!("s{name}"), &sql)[..], SYNC].concat()).server([PARSED, READY].concat());
        most = most.max(script.feed.parser().heap());
    }
    script.client([&bind("", "s1999")[..], &execute(""), SYNC].concat()).server([BOUND, &done("A"), READY].concat());
    assert!(script.feed.done().last().is_some_and(|done| line(done).starts_with("select a, b, c from table_1999")));
    let long = format!("select {}", "a_long_name, ".repeat(300));
    for _ in 0..400 {
        script.client([&parse("", &long)[..], &bind("", ""), &execute(""), SYNC].concat());
        most = most.max(script.feed.parser().heap());
    }
    assert!(most <= 64 << 10, "{most} bytes");
    script.server([PARSED, BOUND, &done("A"), READY].concat().repeat(400)).expect_count(402);
    let quiet = script.feed.parser().heap();
    assert!(quiet <= 64 << 10, "{quiet} bytes");
}

#[test]
fn thousands_of_executions_of_one_statement_may_be_outstanding() {
    for (per_cycle, answers) in [(2000, 2000), (1, 1800)] {
        let mut script = Script::new();
        script.client([&parse("s", "insert into t values ($1)")[..], SYNC].concat()).server([PARSED, READY].concat());
        let mut places = Vec::new();
        let mut at = 1000 + (startup("shop").len() + parse("s", "insert into t values ($1)").len() + SYNC.len()) as u64;
        for id in 0..answers {
            // Of different lengths, by calls of their own.
            let value = "x".repeat(id % 5);
            let bind = [b"\0s\0\0\0\0\x01\0\0\0", &[id as u8 % 5][..], value.as_bytes(), b"\0\0"].concat();
            let run = [message(b'B', bind), message(b'D', b"P\0"), execute("")].concat();
            places.push((at, run.len() as u64, script.feed.now + 1));
            script.client(&run);
            at += run.len() as u64;
            if (id + 1) % per_cycle == 0 {
                script.client(SYNC);
                at += SYNC.len() as u64;
            }
        }
        assert!(script.feed.parser().heap() <= 64 << 10, "{} bytes", script.feed.parser().heap());
        for id in 0..answers {
            let described = message(b'n', []);
            let tag = if id % 7 == 0 { error("ERROR", "23505") } else { done("INSERT 0 1") };
            let tag = if per_cycle == 1 { tag } else { done("INSERT 0 1") };
            let ready = if (id + 1) % per_cycle == 0 { READY } else { b"" };
            script.server([BOUND, &described, &tag, ready].concat());
        }
        let seen: Vec<_> = script.feed.done().collect();
        assert_eq!(seen.len(), answers);
        for (id, done) in seen.iter().enumerate() {
            let failed = per_cycle == 1 && id % 7 == 0;
            assert_eq!(
                line(done),
                format!("insert into t values ($1) | {}", if failed { "error 23505" } else { "ok" })
            );
            let request = done.request;
            assert_eq!((request.first.offset, request.bytes, request.first.time.0), places[id], "{id}");
            assert_eq!(u64::from(request.last.wire_seq), request.first.offset + request.bytes - 1);
        }
        script.ends();
    }
}

#[test]
fn more_requests_than_are_kept_are_given_up_and_counted() {
    let mut script = Script::new();
    let one = [&parse("", "one")[..], &bind("", ""), &execute(""), SYNC].concat();
    for _ in 0..2000 {
        script.client(&one);
    }
    script.server([PARSED, BOUND, &done("A"), READY].concat().repeat(2000));
    assert_eq!(script.feed.done().count(), 2000);
    assert!(script.feed.done().all(|done| done.response.is_none() && !done.incomplete.is_empty()));
    script.client(&one).server([PARSED, BOUND, &done("A"), READY].concat()).ends();
    assert!(script.feed.done().last().is_some_and(|done| line(done) == "one | ok"));
}

#[test]
fn the_fuzz_corpus_is_survived_and_so_are_its_prefixes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/postgresql");
    let mut replayed = 0;
    for file in std::fs::read_dir(&folder).expect("the corpus is committed") {
        let bytes = std::fs::read(file.expect("readable").path()).expect("readable");
        (0..=bytes.len()).rev().step_by(11).for_each(|end| crate::fuzzing::script(&PROTOCOL, &bytes[..end]));
        replayed += 1;
    }
    assert!(replayed >= 5, "{replayed} files in {}", folder.display());
}
