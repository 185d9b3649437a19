//! MariaDB, MySQL and their clients: the CLIs, PyMySQL, mysql-connector-python (pure Python), a Go pool, Connector/C with arrays of values; plain, TLS, compressed. What each
//! client asks is what its spans say, what the server's spans say, and what the server's general log counts.

use std::{collections::BTreeMap, time::Duration};

use sidelight_integration_tests::{
    compare::{room, scale},
    daemon::Daemon,
    mysql::Server,
    peers::built,
    scene::Scene,
    serial,
    spans::{Kind, Span},
};

const LIMIT: Duration = Duration::from_secs(60);
const MECHANISMS: [&str; 2] = ["socket", "syscall"];

/// Queries, errors, another database, several results, a file.
const PYMYSQL: &str = "
import sys, pymysql
port, rounds, authority = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
tls = dict(ssl={'ca': authority}) if authority else {}
db = pymysql.connect(host='127.0.0.1', port=port, user='app', password='app-secret', database='shop', autocommit=True,
                     local_infile=True, client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS, **tls)
cursor = db.cursor()
def fails(number, sql):
    try: cursor.execute(sql)
    except pymysql.MySQLError as error: assert error.args[0] == number, error
    else: raise SystemExit(sql + ' succeeded')
for i in range(rounds):
    cursor.execute('SELECT id, name FROM items WHERE id = %s', (i % 3 + 1,))
    assert len(cursor.fetchall()) == 1
    if i % 10 == 0: fails(1062, \"INSERT INTO items VALUES (1, 'dup-secret', 1)\")
    if i % 20 == 0: fails(1064, 'SELEC 1')
    if i % 25 == 0: fails(1146, 'SELECT a FROM missing')
    if i % 50 == 0: db.ping(reconnect=False)
cursor.execute('USE other')
db.select_db('shop')
cursor.execute('SELECT 1; SELECT 2, 3')
assert cursor.nextset()
with open(sys.argv[4], 'w') as file: file.writelines('%d,row-secret %d,1.5\\n' % (100 + i, i) for i in range(3000))
cursor.execute(\"LOAD DATA LOCAL INFILE %s INTO TABLE items FIELDS TERMINATED BY ','\", (sys.argv[4],))
assert cursor.rowcount == 3000
cursor.execute('SELECT name FROM items')
assert len(cursor.fetchall()) == 3003
cursor.execute('DELETE FROM items WHERE id >= %s', (100,))
cursor.execute(\"INSERT INTO items VALUES (100, %s, 1)\", ('x' * 150,))
cursor.execute('SELECT REPEAT(name, 1000) FROM items WHERE id = 100')
assert len(cursor.fetchall()[0][0]) == 150000
cursor.execute('DELETE FROM items WHERE id >= %s', (100,))
db.close()
";

fn pymysql(rounds: usize) -> Vec<String> {
    let mut all = Vec::new();
    for i in 0..rounds {
        all.push("[shop] SELECT id, name FROM items WHERE id = ?");
        let mut each = |period: usize, line| all.extend((i % period == 0).then_some(line));
        each(10, "[shop] INSERT INTO items VALUES (?, ?, ?) 1062");
        each(20, "[shop] SELEC ? 1064");
        each(25, "[shop] SELECT a FROM missing 1146");
    }
    all.extend([
        "[other] USE other",
        "[shop] INIT_DB",
        "[shop] SELECT ?; SELECT ?, ?",
        "[shop] LOAD DATA LOCAL INFILE ? INTO TABLE items FIELDS TERMINATED BY ?",
        "[shop] SELECT name FROM items",
        "[shop] DELETE FROM items WHERE id >= ?",
        "[shop] INSERT INTO items VALUES (?, ?, ?)",
        "[shop] SELECT REPEAT(name, ?) FROM items WHERE id = ?",
        "[shop] DELETE FROM items WHERE id >= ?",
    ]);
    sorted(all.into_iter().map(str::to_owned))
}

/// Prepared statements; the connector prepares once a cursor and executes for each call.
const CONNECTOR: &str = "
import sys, mysql.connector
port, rounds, compress = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == 'compress'
db = mysql.connector.connect(host='127.0.0.1', port=port, user='app', password='app-secret', database='shop',
                             use_pure=True, compress=compress, ssl_disabled=True, autocommit=True)
found = db.cursor(prepared=True)
for i in range(rounds):
    found.execute('SELECT id, name, price FROM items WHERE id = %s AND name <> %s', (i % 3 + 1, 'bind-secret'))
    assert len(found.fetchall()) == 1
changed = db.cursor(prepared=True)
for i in range(rounds):
    changed.execute('UPDATE items SET price = %s WHERE id = %s', (i, 2))
wrong = db.cursor(prepared=True)
try: wrong.execute('SELECT a FROM missing WHERE b = %s', (1,))
except mysql.connector.Error as error: assert error.errno == 1146, error
else: raise SystemExit('it is there')
found.close(); changed.close()
text = db.cursor()
text.execute('SELECT name, REPEAT(name, 2000) FROM items')
assert len(text.fetchall()) == 3
db.close()
";

fn connector(rounds: usize) -> Vec<String> {
    let (select, update) =
        ("SELECT id, name, price FROM items WHERE id = ? AND name <> ?", "UPDATE items SET price = ? WHERE id = ?");
    let mut all = vec![
        format!("[shop] PREPARE {select}"),
        format!("[shop] PREPARE {update}"),
        "[shop] PREPARE SELECT a FROM missing WHERE b = ? 1146".to_owned(),
        "[shop] SELECT name, REPEAT(name, ?) FROM items".to_owned(),
    ];
    for _ in 0..rounds {
        all.push(format!("[shop] EXECUTE {select}"));
        all.push(format!("[shop] EXECUTE {update}"));
    }
    sorted(all)
}

fn pool(rounds: usize) -> Vec<String> {
    let mut all = Vec::new();
    for i in 0..8 * rounds {
        all.push("[shop] EXECUTE SELECT id, name, price FROM items WHERE id = ?".to_owned());
        all.push("[shop] PREPARE UPDATE items SET price = price + ? WHERE id = ?".to_owned());
        all.push("[shop] EXECUTE UPDATE items SET price = price + ? WHERE id = ?".to_owned());
        all.extend((i % 10 == 0).then(|| "[shop] INSERT INTO items VALUES (?, ?, ?) 1062".to_owned()));
    }
    sorted(all)
}

const CLI: &str = "SELECT * FROM items; USE other; SHOW TABLES; SELECT nothing";

fn cli() -> Vec<String> {
    sorted(
        [
            "[other] INIT_DB",
            "[other] SELECT nothing 1054",
            "[other] SHOW TABLES",
            "[shop] SELECT * FROM items",
            // It asks where it is before it changes the database.
            "[shop] SELECT DATABASE()",
        ]
        .map(str::to_owned),
    )
}

fn sorted(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort();
    lines
}

/// `[NAMESPACE] OPERATION TEXT STATUS`.
fn line(span: &Span) -> String {
    let namespace = format!("[{}]", span.get("db.namespace"));
    let words = [
        namespace.as_str(),
        span.get("db.operation.name"),
        span.get("db.query.text"),
        span.get("db.response.status_code"),
    ];
    assert_eq!(span.status == 2, !span.get("db.response.status_code").is_empty(), "{span:?}");
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// The lines of spans, but for what connecting brings.
fn lines<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<String> {
    sorted(spans.map(line).filter(|line| !line.contains("] SET ") && !line.contains("@@")))
}

fn count(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    lines.iter().for_each(|line| *counts.entry(line.as_str()).or_default() += 1);
    counts
}

type Start = fn(&mut Scene) -> Server;

/// Runs one client beside a server that is watched as well, by each mechanism, and compares.
fn compare(expected: &[String], run: impl Fn(&mut Scene, &Server) -> &'static str) {
    for attach in MECHANISMS {
        compare_by(attach, Server::mariadb, expected, &run);
    }
}

fn compare_by(
    attach: &str,
    start: Start,
    expected: &[String],
    run: impl Fn(&mut Scene, &Server) -> &'static str,
) -> Vec<Span> {
    let mut scene = Scene::new();
    let server = start(&mut scene);
    let mut args = vec!["--attach", attach];
    let room = room(&scene);
    args.extend(room.iter().map(String::as_str).filter(|_| scale() > 1));
    let daemon = Daemon::watch(&scene, &args);
    let service = run(&mut scene, &server);
    daemon.wait_for_spans(2 * expected.len(), LIMIT);
    let stopped = daemon.stop();
    stopped.assert_nothing_lost();
    let commands = server.commands();
    let logged: usize = ["Query", "Prepare", "Execute", "Init DB"].iter().filter_map(|name| commands.get(*name)).sum();
    for (kind, owner) in [(Kind::Client, service), (Kind::Server, server.name)] {
        let spans = || stopped.spans.iter().filter(move |span| span.kind == kind);
        // The server does not log what it could not prepare.
        let unlogged = spans().filter(|span| span.status == 2 && span.get("db.operation.name") == "PREPARE").count();
        // Of an array of values it logs one execution for each, but for inserts.
        let by_value = |span: &&Span| {
            span.get("db.operation.name") == "BULK_EXECUTE" && !span.get("db.query.text").starts_with("INSERT")
        };
        let again = spans().filter(by_value).count() * (BULK_ROWS - 1);
        assert_eq!(spans().count() + again, logged + unlogged, "{kind:?} {attach} {commands:?}\n{}", stopped.stderr);
        assert!(spans().all(|span| span.service() == owner), "{kind:?}");
        let mut seen = lines(spans());
        if service == "mysql-go" {
            // How many connections prepare the shared statement is the pool's choice.
            seen.retain(|line| line != "[shop] PREPARE SELECT id, name, price FROM items WHERE id = ?");
        }
        assert_eq!(count(&seen), count(expected), "{kind:?} {attach}\n{}", stopped.stderr);
        assert!(spans().all(|span| !format!("{:?}", span.attributes).contains("secret")), "{kind:?}");
        let gapped: Vec<_> =
            spans().filter(|span| span.get("sidelight.incomplete").contains("gap")).map(line).collect();
        assert_eq!(gapped, [""; 0], "{kind:?} {attach}\n{}", stopped.stderr);
        // Behind TLS MariaDB is not told apart from MySQL by all its clients, but MySQL is never taken for MariaDB.
        let systems: &[&str] = if server.name == "mysqld" { &["mysql"] } else { &["mariadb", "mysql"] };
        assert!(spans().all(|span| systems.contains(&span.get("db.system.name"))), "{kind:?}");
    }
    server.stop(&mut scene);
    stopped.spans
}

fn python(scene: &mut Scene, script: &str, args: &[&str]) {
    let path = scene.file("client.py", script).display().to_string();
    let packages = format!("PYTHONPATH={}", built("mysql-python"));
    let mut argv = vec!["/usr/bin/env", &packages, "/usr/bin/python3", &path];
    argv.extend(args);
    scene.check(&argv);
}

#[test]
fn pymysql_and_the_server_agree_plain_and_over_tls() {
    let _one = serial();
    for tls in [false, true] {
        let rounds = 300 * scale();
        compare(&pymysql(rounds), |scene, server| {
            let authority = if tls { scene.dir().join("cert.pem").display().to_string() } else { String::new() };
            let file = scene.dir().join("rows.csv").display().to_string();
            python(scene, PYMYSQL, &[&server.port.to_string(), &rounds.to_string(), &authority, &file]);
            "client.py"
        });
    }
}

#[test]
fn the_connectors_prepared_statements_agree_plain_and_compressed() {
    let _one = serial();
    for compress in ["plain", "compress"] {
        let rounds = 200 * scale();
        compare(&connector(rounds), |scene, server| {
            python(scene, CONNECTOR, &[&server.port.to_string(), &rounds.to_string(), compress]);
            "client.py"
        });
    }
}

/// Values of an array, by `peers/mariadb-bulk`.
const BULK_ROWS: usize = 100;

/// What MariaDB's Connector/C does for arrays of values.
fn bulk(rounds: usize) -> Vec<String> {
    let statements = [
        "INSERT INTO items VALUES (?, ?, ?)",
        "UPDATE items SET name = ? WHERE id = ?",
        "DELETE FROM items WHERE id = ?",
    ];
    let [insert, update, delete] = statements;
    let mut all: Vec<_> = statements.iter().map(|text| format!("[shop] PREPARE {text}")).collect();
    for _ in 0..rounds {
        all.push(format!("[shop] BULK_EXECUTE {insert}"));
        all.push(format!("[shop] BULK_EXECUTE {insert} 1062"));
        all.push(format!("[shop] BULK_EXECUTE {update}"));
        all.push(format!("[shop] BULK_EXECUTE {delete}"));
    }
    sorted(all)
}

#[test]
fn statements_executed_for_arrays_of_values_agree() {
    let _one = serial();
    let rounds = 25 * scale();
    let program = built("mariadb-bulk");
    compare(&bulk(rounds), |scene, server| {
        scene.check(&[program.as_str(), &server.port.to_string(), &rounds.to_string()]);
        "mariadb-bulk"
    });
}

#[test]
fn a_pool_of_go_agrees() {
    let _one = serial();
    let program = built("mysql-go");
    let rounds = 60 * scale();
    for (attach, start) in
        MECHANISMS.into_iter().flat_map(|attach| [(attach, Server::mariadb as Start), (attach, Server::mysql)])
    {
        compare_by(attach, start, &pool(rounds), |scene, server| {
            let name = format!("app:app-secret@tcp(127.0.0.1:{})/shop", server.port);
            scene.check(&[program.as_str(), &name, &rounds.to_string()]);
            "mysql-go"
        });
    }
}

#[test]
fn the_command_line_client_agrees_plain_compressed_and_over_tls() {
    let _one = serial();
    for more in ["--skip-ssl", "--compress --skip-ssl", "--ssl"] {
        compare(&cli(), |scene, server| {
            let port = format!("--port={}", server.port);
            let mut argv =
                vec!["mariadb", "--no-defaults", "--host=127.0.0.1", &port, "--user=app", "--password=app-secret"];
            argv.extend(more.split(' '));
            argv.extend(["shop", "-e", CLI]);
            let done = scene.run(&argv);
            assert!(done.code == 1 && done.stderr.contains("ERROR 1054"), "{done:?}");
            "mariadb"
        });
    }
}

/// What MySQL's CLI asks: errors, a procedure with two results, an answer of some packets.
fn mysql_cli() -> Vec<String> {
    sorted(
        [
            // At the start, to learn what the server takes for a delimiter.
            "[shop] select ? 1064",
            "[shop] SELECT * FROM items WHERE name = ?",
            "[shop] CALL twice()",
            "[shop] SELECT REPEAT(?, ?)",
            "[shop] SELECT nothing 1054",
        ]
        .map(str::to_owned),
    )
}

#[test]
fn mysqls_command_line_client_and_server_agree_in_every_compression() {
    let _one = serial();
    let statements =
        "SELECT * FROM items WHERE name = 'a secret'; CALL twice(); SELECT REPEAT('secret', 20000); SELECT nothing";
    let program = built("mysql-server/usr/bin/mysql");
    let [plain, tls] = ["--ssl-mode=DISABLED", "--ssl-mode=REQUIRED"];
    for (attach, tls, compression) in [
        ("socket", plain, "uncompressed"),
        ("socket", plain, "zlib"),
        ("socket", plain, "zstd"),
        ("socket", tls, "zstd"),
        ("syscall", plain, "zstd"),
        ("syscall", tls, "zlib"),
    ] {
        compare_by(attach, Server::mysql, &mysql_cli(), |scene, server| {
            let port = format!("--port={}", server.port);
            let compression = format!("--compression-algorithms={compression}");
            let mut argv = vec![&program, "--no-defaults", "--host=127.0.0.1", &port, "--user=app"];
            argv.extend(["--password=app-secret", "--get-server-public-key", tls, &compression]);
            argv.extend(["shop", "-e", statements]);
            let done = scene.run(&argv);
            assert!(done.code == 1 && done.stderr.contains("ERROR 1054"), "{done:?}");
            "mysql"
        });
    }
}

/// A context of its own for each of some statements, as an attribute of the query among others.
const ATTRIBUTES: &str = "
import sys, mysql.connector
def connect(**more):
    return mysql.connector.connect(host='127.0.0.1', port=int(sys.argv[1]), user='app', password='app-secret', database='shop',
                                   use_pure=True, **more)
# A first login needs TLS: then the server knows the password's hash.
connect().close()
db = connect(ssl_disabled=sys.argv[3] == 'plain')
def attributes(cursor, i):
    cursor.clear_attributes()
    cursor.add_attribute('shop.secret', 'secret %d' % i)
    cursor.add_attribute('shop.number', i)
    cursor.add_attribute('traceparent', '00-%032x-%016x-01' % (i + 1, i + 1))
text, prepared = db.cursor(), db.cursor(prepared=True)
for i in range(int(sys.argv[2])):
    attributes(text, 2 * i)
    text.execute('SELECT mysql_query_attribute_string(%s)', ('traceparent',))
    assert text.fetchall()[0][0].endswith('-01')
    text.clear_attributes()
    text.execute('SELECT name FROM items')
    assert len(text.fetchall()) == 3
    attributes(prepared, 2 * i + 1)
    prepared.execute('SELECT price FROM items WHERE id = %s', (1,))
    assert len(prepared.fetchall()) == 1
db.close()
";

#[test]
fn a_context_among_the_attributes_of_a_query_is_its_parent() {
    let _one = serial();
    let rounds = 100 * scale();
    let [asked, bare, prepared] =
        ["SELECT mysql_query_attribute_string(?)", "SELECT name FROM items", "SELECT price FROM items WHERE id = ?"];
    let mut all = vec![format!("[shop] PREPARE {prepared}")];
    for _ in 0..rounds {
        all.extend([format!("[shop] {asked}"), format!("[shop] {bare}"), format!("[shop] EXECUTE {prepared}")]);
    }
    for (attach, tls) in [("socket", "plain"), ("socket", "tls"), ("syscall", "plain")] {
        let spans = compare_by(attach, Server::mysql, &sorted(all.clone()), |scene, server| {
            python(scene, ATTRIBUTES, &[&server.port.to_string(), &rounds.to_string(), tls]);
            "client.py"
        });
        for kind in [Kind::Client, Kind::Server] {
            let children = |text: &str| {
                let of = spans.iter().filter(|span| span.kind == kind && span.get("db.query.text") == text);
                let with = of.filter(|span| !span.parent.is_empty());
                sorted(with.map(|span| format!("{} {}", span.trace_id, span.parent)))
            };
            let contexts = |first: usize| -> Vec<String> {
                (first..=2 * rounds).step_by(2).map(|id| format!("{id:032x} {id:016x}")).collect()
            };
            assert_eq!(children(asked), contexts(1), "{kind:?} {attach} {tls}");
            assert_eq!(children(prepared), contexts(2), "{kind:?} {attach} {tls}");
            assert_eq!(children(bare), [""; 0], "{kind:?} {attach} {tls}");
        }
    }
}
