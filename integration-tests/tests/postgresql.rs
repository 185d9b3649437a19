//! PostgreSQL with its own clients: every statement that the server's log or the client knows of is one span at each end, with
//! its SQLSTATE, and there is no other; plain, over TLS and over a Unix socket.

use std::{io::Write, time::Duration};

use sidelight_integration_tests::{
    compare::{room, scale},
    daemon::{Daemon, Stopped},
    peers::{
        built,
        postgresql::{Postgres, Statements, count, first_word},
    },
    scene::Scene,
    serial,
    spans::{Kind, Span},
};

const LIMIT: Duration = Duration::from_secs(60);

/// As [`Postgres::statements`] has them; `-`: neither an error nor a response.
fn seen(spans: &[Span], kind: Kind) -> Statements {
    let line = |span: &Span| {
        let state = match (span.get("db.response.status_code"), span.status) {
            ("", _) if span.attributes.contains_key("sidelight.incomplete") => "incomplete",
            ("", 0) => "00000",
            ("", _) => "-",
            (state, _) => state,
        };
        format!("{} {state}", first_word(span.get("db.query.text")))
    };
    count(spans.iter().filter(|span| span.kind == kind).map(line))
}

/// Both ends saw exactly this, and said nothing that they should not.
fn check(stopped: &Stopped, truth: &Statements, what: &str) {
    for kind in [Kind::Server, Kind::Client] {
        assert_eq!(&seen(&stopped.spans, kind), truth, "{kind:?}, {what}\n{}", stopped.stderr);
    }
    for span in &stopped.spans {
        assert_eq!((span.get("db.system.name"), span.get("db.namespace")), ("postgresql", "shop"), "{span:?}");
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
        assert!(span.attributes.keys().all(|key| !key.contains("incomplete")), "{span:?}");
        assert!(span.start <= span.end);
    }
    stopped.assert_nothing_lost();
}

fn total(truth: &Statements) -> usize {
    truth.values().sum()
}

#[test]
fn pgbench_in_every_mode_gives_what_the_server_logged() {
    let _one = serial();
    let scale = scale();
    let transactions = (72 * scale).to_string();
    let mut scene = Scene::new();
    let postgres = Postgres::start(&mut scene);
    let url = postgres.url("shop", "sslmode=disable");
    scene.check(&["pgbench", "-i", "-q", &url]);
    let every = [("simple", "socket"), ("extended", "syscall"), ("prepared", "socket")];
    // The others too where there is time for it.
    let more = [("simple", "syscall"), ("extended", "socket"), ("prepared", "syscall")];
    for (mode, attach) in every.into_iter().chain(more.into_iter().filter(|_| scale > 1)) {
        let from = postgres.logged();
        let room = room(&scene);
        let mut args = vec!["--attach", attach];
        if scale > 1 {
            args.extend(room.iter().map(String::as_str));
        }
        let daemon = Daemon::watch(&scene, &args);
        let report = scene.check(&["pgbench", "-M", mode, "-c", "4", "-j", "2", "-t", &transactions, &url]);
        assert!(report.contains(&format!("actually processed: {0}/{0}", 4 * 72 * scale)), "{report}");
        let truth = postgres.statements(from);
        assert!(total(&truth) >= 7 * 4 * 72 * scale, "{truth:?}");
        daemon.wait_for_spans(2 * total(&truth), LIMIT);
        check(&daemon.stop(), &truth, mode);
    }
}

/// Says of each statement how it ended. With psycopg 3: simple, extended and prepared statements, COPY, notifications, cancel.
const PSYCOPG: &str = r#"
import sys, threading, psycopg
dsn = sys.argv[1]
def said(text, state="00000"): print(text.split()[0].upper(), state)
def run(connection, text, values=None, **more):
    try:
        cursor = connection.execute(text, values, **more)
        said(text)
        return cursor
    except psycopg.Error as error:
        said(text, error.sqlstate)
with psycopg.connect(dsn, autocommit=True) as one, psycopg.connect(dsn, autocommit=True) as two:
    run(one, "drop table if exists item")
    run(one, "create table item (id int primary key, name text)")
    for id in range(200):
        run(one, "insert into item values (%s, %s)", [id, f"secret-{id}"])
    for id in range(200):
        run(two, "select name, 'secret' from item where id = %s", [id], binary=id % 2 == 0)
    for id in range(20):
        run(one, "insert into item values (%s, 'secret')", [id])
        run(two, "selec 'secret'")
        run(two, "select 1 / (%s - 1)", [1])
        run(two, "select other from nowhere where id = %s", [1])
    with one.cursor().copy("copy item from stdin") as copy:
        for id in range(1000, 2000):
            copy.write_row([id, "secret" * 10])
    said("copy")
    with two.cursor().copy("copy item to stdout") as copy:
        assert sum(1 for _ in copy.rows()) == 1200
    said("copy")
    assert len(run(two, "select * from item").fetchall()) == 1200
    assert len(run(two, "select repeat('secret', 3000) from generate_series(1, 20)").fetchall()) == 20
    try:
        with one.cursor().copy("copy item from stdin") as copy:
            copy.write(b"secret\tsecret\n")
    except psycopg.Error as error:
        said("copy", error.sqlstate)
    run(one, "listen news")
    for _ in range(5):
        run(two, "notify news, 'secret'")
    notes = one.notifies()
    for _ in range(5):
        next(notes)
    canceller = threading.Timer(0.3, one.cancel)
    canceller.start()
    run(one, "select pg_sleep(30)")
    canceller.join()
    with one.transaction():
        said("begin")
        run(one, "update item set name = 'secret' where id < 10")
    said("commit")
    with one.transaction(), one.cursor("named") as cursor:
        said("begin")
        cursor.itersize = 100
        cursor.execute("select * from item where id < 350 order by id")
        said("declare")
        assert len(list(cursor)) == 200
        said("fetch"); said("fetch"); said("fetch"); said("close")
    said("commit")
    with two.pipeline() as pipe:
        for id in range(150):
            two.execute("select name from item where id = %s", [id]); said("select")
            if id % 40 == 0:
                pipe.sync()
    try:
        with two.pipeline():
            # said first: an answer that is there already is raised where the next statement is sent
            said("select"); two.execute("select 'secret'")
            said("select", "22012"); two.execute("select 1 / (%s - 1)", [1])
            said("delete", "-"); two.execute("delete from item")
    except psycopg.Error:
        pass
    two.cursor().executemany("update item set name = %s where id = %s", [("secret", id) for id in range(1500)])
    for id in range(1500):
        said("update")
"#;

/// The same of psycopg 2, which speaks the simple protocol only.
const PSYCOPG2: &str = r#"
import sys, psycopg2
connection = psycopg2.connect(sys.argv[1])
connection.autocommit = True
cursor = connection.cursor()
def run(text, values=None):
    try:
        cursor.execute(text, values)
        print(text.split()[0].upper(), "00000")
    except psycopg2.Error as error:
        print(text.split()[0].upper(), error.pgcode)
run("drop table if exists thing")
run("create table thing (id int primary key, name text)")
for id in range(100):
    run("insert into thing values (%s, %s)", [id, "secret"])
    run("insert into thing values (%s, %s)", [id // 2, "secret"])
    run("select * from thing where name = 'secret' and id = %s; select 'secret'", [id])
    run("selec 'secret'")
"#;

/// Runs a client on `url`, which says what it did.
fn talk(scene: &mut Scene, client: &[&str], url: &str, what: &str) {
    let daemon = Daemon::watch(scene, &[]);
    let argv: Vec<&str> = client.iter().chain([&url]).copied().collect();
    let truth = count(scene.check(&argv).lines().map(str::to_owned));
    daemon.wait_for_spans(2 * total(&truth), LIMIT);
    check(&daemon.stop(), &truth, what);
}

#[test]
fn psycopg_plain_over_tls_and_over_a_unix_socket() {
    let _one = serial();
    let mut scene = Scene::new();
    let postgres = Postgres::start(&mut scene);
    let (three, two) = (scene.file("three.py", PSYCOPG), scene.file("two.py", PSYCOPG2));
    for (what, url) in [
        ("plain", postgres.url("shop", "sslmode=disable")),
        ("TLS", postgres.url("shop", "sslmode=require")),
        ("Unix socket", postgres.unix_url("shop")),
    ] {
        talk(&mut scene, &["/usr/bin/python3", three.to_str().unwrap()], &url, &format!("psycopg 3, {what}"));
        talk(&mut scene, &["/usr/bin/python3", two.to_str().unwrap()], &url, &format!("psycopg 2, {what}"));
    }
}

#[test]
fn psql_plain_and_over_tls() {
    let _one = serial();
    let mut scene = Scene::new();
    let postgres = Postgres::start(&mut scene);
    let script = scene.file(
        "script.sql",
        "create table t (id int, name text);\ninsert into t select id, 'secret' from generate_series(1, 3000) id;\n\
         select * from t;\nselect 1 \\; select 'secret' \\; update t set id = 2 where id = 1;\nselec 'secret';\n\
         copy t to stdout;\ncopy t from stdin;\n17\tsecret\n\\.\nselect count(*) from t;\ndrop table t;\n",
    );
    for (what, url) in [("TLS", postgres.url("shop", "")), ("plain", postgres.url("shop", "sslmode=disable"))] {
        let from = postgres.logged();
        let daemon = Daemon::watch(&scene, &[]);
        scene.check(&["psql", "-X", "-q", "-f", script.to_str().unwrap(), &url]);
        let truth = postgres.statements(from);
        assert_eq!((total(&truth), truth["SELEC 42601"]), (9, 1), "{truth:?}");
        daemon.wait_for_spans(2 * total(&truth), LIMIT);
        let stopped = daemon.stop();
        check(&stopped, &truth, what);
        let batch = |span: &Span| span.get("db.operation.batch.size") == "3";
        assert_eq!(stopped.spans.iter().filter(|span| batch(span)).count(), 2, "{what}");
    }
}

#[test]
fn a_connection_joined_in_the_middle_is_right_from_its_second_exchange() {
    let _one = serial();
    let mut scene = Scene::new();
    let postgres = Postgres::start(&mut scene);
    let client = scene.file(
        "client.py",
        r#"
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("select 'old'")
    open(sys.argv[2], "w").close()
    with open(sys.argv[3], "rb", buffering=0) as pipe: pipe.read(1)
    for id in range(300):
        connection.execute("select %s::int", [id], prepare=False)
"#,
    );
    let flag = scene.dir().join("joined");
    let url = postgres.url("shop", "sslmode=disable");
    let (go, mut end) = scene.pipe("go");
    let words = [&client, &flag, &go].map(|path| path.to_str().unwrap());
    let running = scene.start(&["/usr/bin/python3", words[0], &url, words[1], words[2]]);
    sidelight_integration_tests::wait_for("the client", LIMIT, || flag.exists().then_some(()));
    let daemon = Daemon::watch(&scene, &[]);
    end.write_all(b"\n").unwrap();
    assert_eq!(scene.wait(&running).code, 0);
    daemon.wait_for_spans(2 * 299, LIMIT);
    let stopped = daemon.stop();
    for kind in [Kind::Server, Kind::Client] {
        let spans: Vec<&Span> = stopped.spans.iter().filter(|span| span.kind == kind).collect();
        let whole = |span: &&&Span| span.attributes.keys().all(|key| !key.contains("incomplete"));
        assert!((299..=300).contains(&spans.len()), "{} of {kind:?}", spans.len());
        assert!(spans.iter().filter(whole).count() >= 299, "{kind:?}\n{}", stopped.stderr);
        assert!(spans.iter().all(|span| span.get("db.query.text") == "select $1::int"));
    }
}

/// Parsers rest while nothing comes for a second or two.
#[test]
fn what_was_prepared_before_a_silence_is_known_behind_it() {
    let _one = serial();
    let mut scene = Scene::new();
    let postgres = Postgres::start(&mut scene);
    let script =
        scene.file("script.sql", "select 'secret', 1;\n\\sleep 2500 ms\nselect 2 from pg_class where oid = 1;\n");
    let daemon = Daemon::watch(&scene, &[]);
    let url = postgres.url("shop", "sslmode=disable");
    scene.check(&["pgbench", "-n", "-M", "prepared", "-c", "2", "-t", "3", "-f", script.to_str().unwrap(), &url]);
    daemon.wait_for_spans(2 * 2 * 3 * 2, LIMIT);
    let stopped = daemon.stop();
    check(&stopped, &Statements::from([("SELECT 00000".to_owned(), 12)]), "pgbench");
    let texts = |text: &str| {
        stopped.spans.iter().filter(|span| span.get("db.query.text").trim_end_matches(';') == text).count()
    };
    assert_eq!((texts("select ?, ?"), texts("select ? from pg_class where oid = ?")), (12, 12), "{}", stopped.stderr);
}

#[test]
fn pgx_in_every_mode_and_in_batches() {
    let _one = serial();
    let mut scene = Scene::new();
    let postgres = Postgres::start(&mut scene);
    let url = postgres.url("shop", "sslmode=disable").replace(" gssencmode=disable", "");
    talk(&mut scene, &[&built("pgx")], &url, "pgx");
}

#[test]
fn tokio_postgres_with_hundreds_of_statements_under_way() {
    let _one = serial();
    let mut scene = Scene::new();
    let postgres = Postgres::start(&mut scene);
    let url = postgres.url("shop", "sslmode=disable").replace(" gssencmode=disable", "");
    talk(&mut scene, &[&built("tokio-postgres")], &url, "tokio-postgres");
}
