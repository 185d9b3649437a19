//! What the commands of a conversation become, rule by rule.

use crate::contract::{Close, Direction, Lost, Role, Wants};
use crate::exchange::{Next, Shape};
use crate::fuzzing::Feed;
use crate::proof::Facts;
use crate::redis::PROTOCOL;

/// A conversation, seen by the server.
pub(super) struct Script(pub(super) Feed);

impl Script {
    pub(super) fn new() -> Self {
        Self(Feed::new(&PROTOCOL, Some(Role::Server)))
    }

    /// Commands, each of words separated by spaces, in one call.
    pub(super) fn asks(&mut self, commands: &[&str]) -> &mut Self {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| array(command)).collect();
        self.sends(&bytes)
    }

    pub(super) fn sends(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.data(Direction::Ingress, bytes);
        self
    }

    pub(super) fn replies(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.data(Direction::Egress, bytes.as_ref());
        self
    }

    pub(super) fn ends(&mut self) -> &mut Self {
        self.0.close(None, Close::Fin);
        self
    }

    /// The exchanges done so far: namespace, text, and the rest that is known.
    #[track_caller]
    pub(super) fn expect(&mut self, lines: &[&str]) -> &mut Self {
        let seen: Vec<String> = self.0.done().map(|done| line(&Facts::of(done))).collect();
        assert_eq!(seen, lines);
        self
    }
}

/// A command as clients send it.
pub(super) fn array(command: &str) -> Vec<u8> {
    let words: Vec<&str> = command.split(' ').collect();
    let arguments = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), arguments.collect::<String>()).into_bytes()
}

fn line(facts: &Facts) -> String {
    let value = |name| facts.value(name).unwrap_or("-");
    let mut line = format!("{} {} {}", value("namespace"), value("query"), value("outcome"));
    for name in ["status", "procedure", "batch"] {
        if let Some(value) = facts.value(name) {
            line += &format!(" {name}={value}");
        }
    }
    if value("shape") != "RequestReply" {
        line += &format!(" {}", value("shape"));
    }
    facts.incomplete.iter().for_each(|why| line += &format!(" [{why}]"));
    line
}

#[test]
fn commands_are_answered_in_their_order() {
    let mut c = Script::new();
    c.asks(&["SET a secret", "get a", "LPUSH a x", "INCR n"]);
    c.replies("+OK\r\n$6\r\nsecret\r\n-WRONGTYPE Operation against a key\r\n:7\r\n");
    c.expect(&["0 SET a ? ok", "0 GET a ok", "0 LPUSH a ? error status=WRONGTYPE", "0 INCR n ok"]);
}

#[test]
fn replies_of_every_type_end_where_they_end() {
    let all = [
        "$-1\r\n",
        "*-1\r\n",
        "$0\r\n\r\n",
        "*0\r\n",
        "*2\r\n*1\r\n:1\r\n$-1\r\n",
        "_\r\n",
        "#t\r\n",
        ",3.14\r\n",
        ",inf\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "=15\r\ntxt:Some string\r\n",
        "%1\r\n+k\r\n*2\r\n:1\r\n:2\r\n",
        "~2\r\n+a\r\n+b\r\n",
        "|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n",
        "$12\r\n+not a line\r\r\n",
    ];
    let mut c = Script::new();
    for reply in all {
        c.asks(&["FOO x"]).replies(reply).replies("");
    }
    let done: Vec<_> = c.0.done().map(Facts::of).collect();
    assert_eq!(done.len(), all.len());
    for (facts, reply) in done.iter().zip(all) {
        assert_eq!(facts.response.expect("answered").counted, reply.len() as u64, "{reply:?}");
        assert_eq!(facts.value("outcome"), Some(if reply.starts_with('!') { "error" } else { "ok" }), "{reply:?}");
    }
}

#[test]
fn inline_commands_are_commands() {
    let mut c = Script::new();
    c.sends(b"PING\r\n\r\nset key 'a value'\nexists key\r\n").replies("+PONG\r\n+OK\r\n:1\r\n");
    c.expect(&["0 PING ok", "0 SET key ? ok", "0 EXISTS key ok"]);
}

#[test]
fn a_transaction_takes_its_time_in_exec() {
    let mut c = Script::new();
    c.asks(&["MULTI", "SET a 1", "INCR a", "EXEC"]).replies("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:2\r\n");
    c.expect(&["0 MULTI ok", "0 SET a ? -", "0 INCR a -", "0 EXEC ok batch=2"]);

    let mut failing = Script::new();
    failing.asks(&["MULTI", "INCR s", "GET s", "EXEC"]);
    failing.replies("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n-WRONGTYPE not a number\r\n*1\r\n-ERR inside a result\r\n");
    failing.expect(&["0 MULTI ok", "0 INCR s -", "0 GET s -", "0 EXEC error status=WRONGTYPE batch=2"]);

    let mut other = Script::new();
    other
        .asks(&["MULTI", "NOSUCH x", "EXEC", "WATCH a", "MULTI", "EXEC", "MULTI", "DISCARD", "MULTI", "GET a", "EXEC"]);
    other.replies(
        "+OK\r\n-ERR unknown command\r\n-EXECABORT Transaction discarded\r\n+OK\r\n+OK\r\n*-1\r\n+OK\r\n+OK\r\n",
    );
    other.replies("+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    other.expect(&[
        "0 MULTI ok",
        "0 - error status=ERR",
        "0 EXEC error status=EXECABORT",
        "0 WATCH a ok",
        "0 MULTI ok",
        "0 EXEC ok",
        "0 MULTI ok",
        "0 DISCARD ok",
        "0 MULTI ok",
        "0 GET a -",
        "0 EXEC ok",
    ]);
}

#[test]
fn an_error_inside_a_result_is_not_the_transactions() {
    let mut c = Script::new();
    c.asks(&["EXEC"]).replies("*2\r\n*1\r\n-ERR inside\r\n:1\r\n");
    c.expect(&["0 EXEC ok batch=2"]);
}

#[test]
fn a_subscription_is_answered_once_for_each_channel() {
    let mut c = Script::new();
    let told = |kind: &str, channel: &str, now: u32| {
        format!("*3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n:{now}\r\n", kind.len(), channel.len())
    };
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$6\r\nsecret\r\n";
    c.asks(&["SUBSCRIBE a b"]).replies(told("subscribe", "a", 1)).replies(message).replies(told("subscribe", "b", 2));
    c.replies(message).asks(&["PSUBSCRIBE x*"]).replies(message).replies(told("psubscribe", "x*", 3)).replies(message);
    c.asks(&["PING"]).replies(message).replies("*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    c.asks(&["UNSUBSCRIBE"]).replies(told("unsubscribe", "a", 2)).replies(told("unsubscribe", "b", 1));
    c.asks(&["PUNSUBSCRIBE"]).replies(told("punsubscribe", "x*", 0));
    c.asks(&["UNSUBSCRIBE"]).replies("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    c.asks(&["LRANGE l 0 -1"]).replies(message);
    c.expect(&[
        "0 SUBSCRIBE a b ok",
        "0 PSUBSCRIBE x* ok",
        "0 PING ok",
        "0 UNSUBSCRIBE ok",
        "0 PUNSUBSCRIBE ok",
        "0 UNSUBSCRIBE ok",
        "0 LRANGE l ? ? ok",
    ]);
    let confirmed = c.0.done().next().and_then(|done| done.response).expect("answered");
    assert_eq!(confirmed.bytes, (told("subscribe", "a", 1).len() + told("subscribe", "b", 2).len()) as u64);
}

#[test]
fn pushes_of_resp3_are_nobodys_reply() {
    let mut c = Script::new();
    c.asks(&["HELLO 3 AUTH user secret", "GET a", "SUBSCRIBE a", "LRANGE l 0 -1"]);
    c.replies("%1\r\n$5\r\nproto\r\n:3\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n$1\r\nx\r\n");
    c.replies(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    c.replies("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n");
    c.expect(&["0 HELLO ? ? ? ? ok", "0 GET a ok", "0 SUBSCRIBE a ok", "0 LRANGE l ? ? ok"]);
}

#[test]
fn monitor_is_a_stream_until_something_else_is_answered() {
    let mut c = Script::new();
    let line = "+1700000000.1 [0 127.0.0.1:1] \"SET\" \"a\" \"secret\"\r\n";
    c.asks(&["MONITOR"]).replies("+OK\r\n").replies(line);
    c.expect(&[]);
    c.asks(&["RESET"]).replies(format!("{line}+RESET\r\n"));
    c.expect(&["0 MONITOR ok Stream", "0 RESET ok"]);
    let lines = c.0.done().next().and_then(|done| done.response).expect("answered");
    assert_eq!(lines.bytes, 5 + 2 * line.len() as u64);
}

#[test]
fn silent_commands_are_one_way() {
    let mut c = Script::new();
    c.asks(&["CLIENT REPLY SKIP", "SET a 1", "SET b 2"]).replies("+OK\r\n");
    c.asks(&["CLIENT REPLY OFF", "GET a", "CLIENT REPLY SKIP", "GET b", "CLIENT REPLY ON", "GET c"])
        .replies("+OK\r\n$-1\r\n");
    c.expect(&[
        "- CLIENT REPLY ? - OneWay",
        "- SET a ? - OneWay",
        "0 SET b ? ok",
        "- CLIENT REPLY ? - OneWay",
        "- GET a - OneWay",
        "- CLIENT REPLY ? - OneWay",
        "- GET b - OneWay",
        "0 CLIENT REPLY ? ok",
        "0 GET c ok",
    ]);
    assert!(c.0.done().all(|done| (done.shape == Shape::OneWay) == done.response.is_none()));
}

#[test]
fn the_namespace_is_the_selected_database() {
    let mut c = Script::new();
    c.asks(&["GET a", "SELECT 12", "GET a", "SELECT 99", "GET a", "RESET", "GET a"]);
    c.replies("$-1\r\n+OK\r\n$-1\r\n-ERR DB index is out of range\r\n$-1\r\n+RESET\r\n$-1\r\n");
    c.asks(&["MULTI", "SELECT 3", "EXEC", "GET a"]).replies("+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n$-1\r\n");
    c.expect(&[
        "0 GET a ok",
        "0 SELECT 12 ok",
        "12 GET a ok",
        "12 SELECT 99 error status=ERR",
        "12 GET a ok",
        "12 RESET ok",
        "0 GET a ok",
        "0 MULTI ok",
        "0 SELECT 3 -",
        "0 EXEC ok",
        "- GET a ok",
    ]);
}

#[test]
fn scripts_are_named_by_their_digest_and_functions_by_their_name() {
    let mut c = Script::new();
    c.asks(&["EVAL return'secret' 1 k secret", "EVALSHA 2067d915024a3e1657c4169c84f809f8ebec 1 k v", "FCALL f 0 v"]);
    c.replies("$1\r\nx\r\n-NOSCRIPT No matching script\r\n:1\r\n");
    c.expect(&[
        "0 EVAL ? 1 k ? ok",
        "0 EVALSHA 2067d915024a3e1657c4169c84f809f8ebec 1 k ? error status=NOSCRIPT procedure=2067d915024a3e1657c4169c84f809f8ebec",
        "0 FCALL f 0 ? ok procedure=f",
    ]);
}

#[test]
fn redirects_are_errors_by_their_prefix() {
    let mut c = Script::new();
    c.asks(&["GET a", "ASKING", "GET b"]).replies("-MOVED 3999 127.0.0.1:6381\r\n+OK\r\n-ASK 3999 127.0.0.1:6381\r\n");
    c.expect(&["0 GET a error status=MOVED", "0 ASKING ok", "0 GET b error status=ASK"]);
}

#[test]
fn replication_is_not_read() {
    let mut c = Script::new();
    c.asks(&["PING", "REPLCONF listening-port 7000", "PSYNC ? -1"]);
    c.replies("+PONG\r\n+OK\r\n\n\n+FULLRESYNC 8de1787ba490483314a4d30f1c628bc5025eb761 0\r\n$5\r\nREDIS");
    c.expect(&["0 PING ok", "0 REPLCONF ? ? ok", "0 PSYNC ? ? ok"]);
    assert_eq!(c.0.next, Some(Next::Opaque("redis-replication")));

    let mut old = Script::new();
    old.asks(&["SYNC"]).replies("$5\r\nREDIS");
    assert_eq!(old.0.next, Some(Next::Opaque("redis-replication")));
}

#[test]
fn values_are_skipped_by_their_length() {
    let mut c = Script::new();
    c.sends(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\nsecret");
    assert_eq!(c.0.parser().wants(Direction::Ingress), Wants::Skip(100_002 - 6));
    c.0.hole(Direction::Ingress, Some(100_002 - 6), Lost::Cut);
    c.replies("+OK\r\n").asks(&["GET a"]).replies("$100000\r\nsec");
    assert_eq!(c.0.parser().wants(Direction::Egress), Wants::Skip(99_999));
    c.0.hole(Direction::Egress, Some(99_999), Lost::Cut);
    c.expect(&["0 SET a ? ok", "0 GET a ok"]);
    assert!(c.0.done().all(|done| done.incomplete.is_empty()));
}

#[test]
fn a_long_array_that_was_cut_is_answered_all_the_same() {
    let mut c = Script::new();
    c.asks(&["LRANGE l 0 -1"]).replies("*9000\r\n$1\r\na\r\n$1\r\nb\r\n");
    c.0.hole(Direction::Egress, Some(60_000), Lost::Cut);
    c.asks(&["GET a"]).replies("$-1\r\n").asks(&["GET b"]).replies("$-1\r\n");
    c.expect(&["0 LRANGE l ? ? ok [gap]"]);
    c.asks(&["GET c"]).replies("$-1\r\n");
    c.expect(&["0 LRANGE l ? ? ok [gap]", "0 GET a ok", "0 GET b ok", "0 GET c ok"]);
}

#[test]
fn a_reply_too_many_takes_the_replies_that_may_be_anothers() {
    let mut c = Script::new();
    for dir in [Direction::Ingress, Direction::Egress] {
        c.0.hole(dir, None, Lost::Gap);
    }
    // A client with two commands under way, the first of them unseen.
    c.asks(&["GET b"]).replies("$1\r\na\r\n").asks(&["GET c"]).replies("$1\r\nb\r\n").replies("$1\r\nc\r\n");
    c.asks(&["GET d"]).replies("$1\r\nd\r\n").ends();
    c.expect(&["- GET b - [gap]", "- GET c - [gap]", "- GET d ok"]);
}

#[test]
fn a_reply_of_the_wrong_kind_is_anothers() {
    let mut c = Script::new();
    for dir in [Direction::Ingress, Direction::Egress] {
        c.0.hole(dir, None, Lost::Gap);
    }
    c.asks(&["GET b"]).replies(":1\r\n").replies("$1\r\nb\r\n").asks(&["INCR c"]).replies(":2\r\n").ends();
    c.expect(&["- GET b ok", "- INCR c ok"]);
}

#[test]
fn a_trial_ends_with_a_second_of_silence() {
    let mut c = Script::new();
    for dir in [Direction::Ingress, Direction::Egress] {
        c.0.hole(dir, None, Lost::Gap);
    }
    c.asks(&["GET b"]).replies("$1\r\nb\r\n");
    c.0.tick();
    c.expect(&[]);
    c.0.tick();
    c.expect(&["- GET b ok"]);
    assert!(c.0.parser().heap() <= 768, "{}", c.0.parser().heap());
}

#[test]
fn silence_ends_no_trial_that_nothing_was_asked_in() {
    let mut c = Script::new();
    for dir in [Direction::Ingress, Direction::Egress] {
        c.0.hole(dir, None, Lost::Gap);
    }
    c.asks(&["GET b"]).replies("$1\r\nb\r\n");
    c.0.hole(Direction::Ingress, None, Lost::Gap);
    c.0.tick();
    c.0.tick();
    c.expect(&[]).ends();
    c.expect(&["- GET b - [gap]"]);
}

#[test]
fn deep_pipelines_are_paired_as_far_as_they_are_kept() {
    let mut c = Script::new();
    let commands: Vec<String> = (0..2000).map(|id| format!("GET key:{id}")).collect();
    c.asks(&commands.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(c.0.parser().heap() <= 64 * 1024, "{}", c.0.parser().heap());
    c.replies("$-1\r\n".repeat(1999)).replies("-ERR last\r\n").asks(&["GET next"]).replies("-ERR next\r\n").ends();
    c.0.assert_all_done();
    let done: Vec<_> = c.0.done().map(Facts::of).collect();
    assert_eq!(done.len(), 2001);
    assert!(done.iter().filter(|facts| facts.incomplete.is_empty()).count() >= 200);
    for facts in &done {
        let failed = facts.value("query") == Some("GET next");
        assert!(!failed || facts.value("status") == Some("ERR"));
        assert!(failed || facts.value("status").is_none(), "{facts}");
    }
}

#[test]
fn the_worst_connection_stays_within_its_bound() {
    let mut c = Script::new();
    for dir in [Direction::Ingress, Direction::Egress] {
        c.0.hole(dir, None, Lost::Gap);
    }
    let long = format!("DEL {}", vec!["0123456789"; 120].join(" "));
    let mut most = 0;
    for _ in 0..30 {
        c.asks(&[&long]).replies(":1\r\n");
        most = most.max(c.0.parser().heap());
    }
    for round in 0..3000 {
        c.asks(&[if round % 3 == 0 { &long } else { "GET a" }]);
        most = most.max(c.0.parser().heap());
        if round % 5 == 0 {
            c.replies(":1\r\n");
        }
    }
    assert!(most <= 64 * 1024, "{most}");
    c.ends();
    c.0.tick();
    c.0.tick();
    assert!(c.0.parser().heap() <= 768, "{}", c.0.parser().heap());
}
