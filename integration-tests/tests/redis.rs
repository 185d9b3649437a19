//! Redis and its own clients: every command of redis-cli, redis-benchmark and redis-py is one server and one client span, as
//! the server's statistics count them; over TLS (OpenSSL) too. No value leaves.

use std::time::Duration;

use sidelight_integration_tests::{
    compare::{room, scale},
    daemon::{Daemon, Stopped},
    peers::redis::{Counted, Redis},
    scene::Scene,
    serial,
    spans::{Kind, Span},
    wait_for,
};

const LIMIT: Duration = Duration::from_secs(60);
const MECHANISMS: [&str; 2] = ["socket", "syscall"];

/// Commands of `INFO` that only the server's side sees: the questions for the statistics.
const QUESTIONS: u64 = 2;

/// Asks the server, stops the daemon, and compares. `unnamed`: commands that the server does not know.
fn finish(mut scene: Scene, redis: Redis, daemon: Daemon, hidden: &[&str], unnamed: u64) -> Stopped {
    let mut truth = redis.counted();
    truth.commands.retain(|name, count| *count > 0 && !hidden.contains(&name.as_str()));
    let server = truth.commands.values().sum::<u64>() + unnamed;
    daemon.wait_for_spans((2 * server - QUESTIONS) as usize, LIMIT);
    let stopped = daemon.stop();
    let (servers, mut clients) =
        (Counted::spans(&stopped.spans, Kind::Server), Counted::spans(&stopped.spans, Kind::Client));
    assert_eq!(servers, truth, "server spans\n{}", stopped.stderr);
    *clients.commands.entry("INFO".to_owned()).or_default() += QUESTIONS;
    assert_eq!(clients, truth, "client spans\n{}", stopped.stderr);
    assert_eq!(stopped.spans.len() as u64, 2 * server - QUESTIONS, "phantoms\n{}", stopped.stderr);
    for span in &stopped.spans {
        let shown = format!("{span:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(!span.attributes.keys().any(|key| key.contains("incomplete")), "{shown}");
    }
    stopped.assert_nothing_lost();
    redis.stop(&mut scene);
    stopped
}

/// redis-py: pipelines, transactions, publish and subscribe, scripts, blocking, errors; sys.argv: port, authority for TLS.
const CLIENT: &str = "
import redis, sys
tls = dict(ssl=True, ssl_ca_certs=sys.argv[2]) if len(sys.argv) > 2 else {}
r = redis.Redis(port=int(sys.argv[1]), client_name='secret-name', **tls)
def fails(*command):
    try: r.execute_command(*command)
    except redis.ResponseError: pass
    else: sys.exit('%s did not fail' % (command,))
for i in range(100):
    r.set('key:%d' % i, 'secret %d' % i)
    r.get('key:%d' % i)
    r.hset('hash', 'field:%d' % i, 'secret')
fails('LPUSH', 'key:1', 'secret')
fails('NOSUCHCOMMAND', 'secret')
fails('EVALSHA', 'f' * 40, 0)
fails('GET')
fails('CONFIG', 'SET', 'maxmemory', 'secret')
r.set('large', 'secret' * 20000)
assert len(r.get('large')) == 120000
r.rpush('list', *range(500))
assert len(r.lrange('list', 0, -1)) == 500
pipe = r.pipeline(transaction=False)
for i in range(150): pipe.incr('counter:%d' % (i % 7))
pipe.execute()
for i in range(10):
    pipe = r.pipeline(transaction=True)
    pipe.set('a', 'secret').incr('b').hgetall('hash')
    pipe.execute()
pipe = r.pipeline(transaction=True)
pipe.lpush('a', 'secret')
try: pipe.execute()
except redis.ResponseError: pass
sha = r.script_load('return redis.call(\"TTL\", KEYS[1])')
for i in range(10): r.evalsha(sha, 1, 'a')
r.blpop('list', timeout=1)
r.blpop('nothing', timeout=0.05)
other = redis.Redis(port=int(sys.argv[1]), db=3, **tls)
for i in range(10): other.set('in three', 'secret')
sub = r.pubsub()
sub.subscribe('news', 'more')
sub.psubscribe('n*')
for _ in range(3): sub.get_message(timeout=5)
for i in range(20): r.publish('news', 'secret')
for _ in range(40): sub.get_message(timeout=5)
sub.unsubscribe()
for _ in range(2): sub.get_message(timeout=5)
sub.close()
other.close()
r.close()
";

/// Parsers rest while nothing comes for a second or two.
#[test]
fn the_database_selected_before_a_silence_is_known_behind_it() {
    let _one = serial();
    let mut scene = Scene::new();
    let redis = Redis::start(&mut scene);
    let daemon = Daemon::watch(&scene, &[]);
    scene.check(&["redis-cli", "-p", &redis.port.to_string(), "-n", "3", "-r", "3", "-i", "2.5", "GET", "a"]);
    let stopped = finish(scene, redis, daemon, &[], 0);
    let inside = |span: &&Span| span.name == "GET 3" && span.get("db.namespace") == "3";
    assert_eq!(stopped.spans.iter().filter(inside).count(), 2 * 3, "{:?}", stopped.spans);
}

#[test]
fn every_command_of_redis_py_is_two_spans() {
    let _one = serial();
    for attach in MECHANISMS {
        for tls in [false, true] {
            let mut scene = Scene::new();
            let client = scene.file("client.py", CLIENT);
            let redis = Redis::start(&mut scene);
            let daemon = Daemon::watch(&scene, &["--attach", attach]);
            let port = if tls { redis.tls_port } else { redis.port }.to_string();
            let mut argv = vec!["/usr/bin/python3", client.to_str().unwrap(), &port];
            let authority = redis.certificate.certificate.display().to_string();
            if tls {
                argv.push(&authority);
            }
            scene.check(&argv);
            // TTL is what the script calls.
            let stopped = finish(scene, redis, daemon, &["TTL"], 1);
            let of = |kind: Kind, name: &str| {
                let all =
                    stopped.spans.iter().filter(|span| span.kind == kind && span.get("db.operation.name") == name);
                all.cloned().collect::<Vec<_>>()
            };
            for kind in [Kind::Server, Kind::Client] {
                let batches: Vec<_> =
                    of(kind, "EXEC").iter().map(|span| span.get("db.operation.batch.size").to_owned()).collect();
                assert_eq!(batches, [vec!["3"; 10], vec![""]].concat(), "{kind:?}");
                assert_eq!(of(kind, "EXEC").last().unwrap().get("db.response.status_code"), "WRONGTYPE");
                let three = of(kind, "SET").into_iter().filter(|span| span.get("db.namespace") == "3");
                assert_eq!(
                    three.filter(|span| span.get("db.query.text") == "SET \"in three\" ?").count(),
                    10,
                    "{kind:?}"
                );
                assert!(of(kind, "EVALSHA").iter().all(|span| span.get("db.stored_procedure.name").len() == 40));
                let waits: Vec<_> = of(kind, "BLPOP").iter().map(|span| span.end - span.start).collect();
                assert!(waits[0] < 40_000_000 && waits[1] >= 50_000_000, "{waits:?}");
            }
        }
    }
}

#[test]
fn every_command_of_redis_benchmark_in_pipelines_is_two_spans() {
    let _one = serial();
    for attach in MECHANISMS {
        for tls in [false, true] {
            let mut scene = Scene::new();
            let redis = Redis::start(&mut scene);
            let room = room(&scene);
            let mut args = vec!["--attach", attach];
            if scale() > 1 {
                args.extend(room.iter().map(String::as_str));
            }
            let daemon = Daemon::watch(&scene, &args);
            let mut argv = redis.client("redis-benchmark", tls);
            let count = (400 * scale()).to_string();
            argv.extend(["-P", "16", "-c", "8", "-t", "set,get,incr,lpush,mset", "-q", "-n", &count].map(String::from));
            scene.check(&argv);
            let stopped = finish(scene, redis, daemon, &[], 0);
            let sets = Counted::spans(&stopped.spans, Kind::Client).commands["SET"];
            assert_eq!(sets, 400 * scale() as u64);
        }
    }
}

#[test]
fn every_command_of_redis_cli_is_two_spans_in_resp2_and_resp3() {
    let _one = serial();
    for tls in [false, true] {
        for resp in ["-2", "-3"] {
            let mut scene = Scene::new();
            let redis = Redis::start(&mut scene);
            let daemon = Daemon::watch(&scene, &[]);
            for command in [
                "SET a secret",
                "GET a",
                "LPUSH a secret",
                "HMSET myhash field1 secret field2 secret",
                "HGETALL myhash",
                "ZADD z 1.5 secret",
                "ZSCORE z secret",
                "CLIENT TRACKINGINFO",
                "CONFIG GET max*",
                "COMMAND DOCS get",
                "DEBUG OBJECT a",
                "ACL SETUSER someone >secret",
            ] {
                let mut argv = redis.client("redis-cli", tls);
                argv.push(resp.to_owned());
                argv.extend(command.split(' ').map(String::from));
                scene.run(&argv);
            }
            let stopped = finish(scene, redis, daemon, &[], 0);
            let texts: Vec<_> = stopped.spans.iter().map(|span| span.get("db.query.text")).collect();
            for text in ["SET a ?", "HMSET myhash field1 ? field2 ?", "ACL SETUSER ? ?", "CONFIG GET max*"] {
                assert_eq!(texts.iter().filter(|one| **one == text).count(), 2, "{text}: {texts:?}");
            }
        }
    }
}

/// Arrays of many elements, once the connection is known for what it is.
const ARRAYS: &str = "
import os, redis, sys, time
r = redis.Redis(port=int(sys.argv[1]))
r.set('a', 'secret')
while not os.path.exists(sys.argv[2] + '/known'): time.sleep(0.001)
for i in range(10):
    r.rpush('list', *range(1000))
    r.lrange('list', 0, -1)
    r.set('a', 'secret')
";

#[test]
fn long_calls_of_a_known_connection_are_read_whole() {
    let _one = serial();
    for attach in MECHANISMS {
        let mut scene = Scene::new();
        let client = scene.file("client.py", ARRAYS);
        let redis = Redis::start(&mut scene);
        let daemon = Daemon::watch(&scene, &["--attach", attach]);
        let dir = scene.dir().display().to_string();
        let asking = scene.start(&["/usr/bin/python3", client.to_str().unwrap(), &redis.port.to_string(), &dir]);
        daemon.wait_for_spans(2, LIMIT);
        scene.file("known", "");
        assert_eq!(scene.wait(&asking).code, 0);
        finish(scene, redis, daemon, &[], 0);
    }
}

/// Says when it is at work, and goes on until it is told to end: every GET is answered, every LPUSH fails.
const WORKER: &str = "
import os, redis, sys
r = redis.Redis(port=int(sys.argv[1]))
r.set('a', 'secret')
for i in range(100000):
    r.get('a')
    try: r.lpush('a', 'secret')
    except redis.ResponseError: pass
    if i == 50: open(sys.argv[2] + '/at-work', 'w').close()
    if os.path.exists(sys.argv[2] + '/enough'): break
";

#[test]
fn a_connection_that_was_there_before_is_right_from_its_second_command_on() {
    let _one = serial();
    let mut scene = Scene::new();
    let worker = scene.file("worker.py", WORKER);
    let redis = Redis::start(&mut scene);
    let dir = scene.dir().display().to_string();
    let working = scene.start(&["/usr/bin/python3", worker.to_str().unwrap(), &redis.port.to_string(), &dir]);
    wait_for("the worker", LIMIT, || scene.dir().join("at-work").exists().then_some(()));
    let daemon = Daemon::watch(&scene, &[]);
    daemon.wait_for_spans(400, LIMIT);
    scene.file("enough", "");
    assert_eq!(scene.wait(&working).code, 0);
    let stopped = daemon.stop();
    for kind in [Kind::Server, Kind::Client] {
        let mut spans: Vec<_> = stopped.spans.iter().filter(|span| span.kind == kind).collect();
        spans.sort_by_key(|span| span.start);
        assert!(spans.len() > 100, "{kind:?}: {}", spans.len());
        for (index, span) in spans.iter().enumerate() {
            let (command, status) = (span.get("db.operation.name"), span.get("db.response.status_code"));
            let right = matches!((command, status), ("GET", "") | ("LPUSH", "WRONGTYPE"));
            // What was under way as the daemon came may lack its answer.
            assert!(right || index == 0 && status.is_empty(), "{kind:?} {index}: {span:?}");
            assert_eq!(span.get("db.namespace"), "");
        }
    }
    redis.stop(&mut scene);
}
