//! Which first bytes are Redis.

use super::rules::array;
use crate::contract::Role;
use crate::detect::{Candidates, Detection, Sample, Score, detect};
use crate::redis::PROTOCOL;

fn sample<'a>(ingress: &'a [u8], egress: &'a [u8], from_start: bool) -> Sample<'a> {
    Sample { ingress, egress, from_start, role: None, tls: false, port: None, program: "" }
}

fn score(ingress: &[u8], egress: &[u8], from_start: bool) -> Score {
    (PROTOCOL.score)(&sample(ingress, egress, from_start))
}

#[test]
fn a_command_and_its_answer_tell_protocol_and_role() {
    for from_start in [true, false] {
        for (command, reply) in [
            ("PING", "+PONG\r\n"),
            ("GET a", "$-1\r\n"),
            ("HELLO 3", "%7\r\n$6\r\nserver\r\n"),
            ("CLIENT SETNAME x", "+OK\r\n"),
            ("AUTH x", "-WRONGPASS invalid\r\n"),
            ("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
        ] {
            let command = array(command);
            assert_eq!(score(&command, reply.as_bytes(), from_start), Score::Certain(Some(Role::Server)), "{reply}");
            assert_eq!(score(reply.as_bytes(), &command, from_start), Score::Certain(Some(Role::Client)), "{reply}");
        }
    }
    let command = array("COMMAND LIST");
    let list = sample(b"*2\r\n$3\r\nget\r\n$1\r\nx\r\n", &command, true);
    let list = Sample { role: Some(Role::Client), ..list };
    assert_eq!((PROTOCOL.score)(&list), Score::Certain(Some(Role::Client)));
    assert_eq!(score(&array("FT.SEARCH i *"), b"*1\r\n:0\r\n", true), Score::Likely(Some(Role::Server)));
    assert_eq!(score(b"PING\r\n", b"+PONG\r\n", true), Score::Certain(Some(Role::Server)));
}

#[test]
fn every_prefix_of_an_exchange_is_possible() {
    let (command, reply) = (array("SET key value"), b"+OK\r\n");
    for len in 0..=command.len() {
        assert_eq!(score(&command[..len], b"", true), Score::Possible, "{len}");
    }
    for len in 0..3 {
        assert_eq!(score(&command, &reply[..len], true), Score::Possible, "{len}");
    }
}

#[test]
fn what_is_like_redis_is_not() {
    for (one, other) in [
        // POP3, NATS, memcached, SMTP, FTP, HTTP, IRC.
        (&b"+OK POP3 ready\r\n"[..], &b""[..]),
        (b"+OK POP3 ready\r\n+OK\r\n", b"QUIT\r\n"),
        (b"+OK\r\n", b"AUTH PLAIN\r\n"),
        (b"+OK\r\n", b"PING\r\n"),
        (b"INFO {\"server_id\":\"x\"}\r\n", b"CONNECT {}\r\nPING\r\n"),
        (b"PONG\r\n", b"PING\r\n"),
        (b"VALUE a 0 1\r\nx\r\nEND\r\n", b"get a\r\n"),
        (b"220 mail ESMTP\r\n", b"HELP\r\n"),
        (b"220 ftp\r\n", b"TYPE I\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        (b"PING :x\r\n", b"PONG :x\r\n"),
        // Replication: commands against commands.
        (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n", b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n1\r\n"),
        (b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
        // Answers that no such command has.
        (b"+OK\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
        (b":1\r\n", b"*1\r\n$4\r\nPING\r\n"),
        (b"\0\0\0\x08", b"*1\r\n$4\r\nPING\r\n"),
        (b"+OK\r\n", b"+OK\r\n"),
        (b"*5 bananas\r\n", b"+1\r\n"),
    ] {
        for from_start in [true, false] {
            for (ingress, egress) in [(one, other), (other, one)] {
                assert!(
                    !matches!(score(ingress, egress, from_start), Score::Certain(_) | Score::Likely(_)),
                    "{:?}",
                    (String::from_utf8_lossy(one), String::from_utf8_lossy(other))
                );
            }
        }
    }
}

/// A million pairs of buffers, filled with RESP's own words in an order that makes no exchange, and with noise.
#[test]
fn foreign_bytes_are_never_taken_for_redis() {
    let mut random = crate::proof::Random(11);
    let words =
        [&b"*1\r\n"[..], b"$4\r\n", b"+OK", b"\r\n", b"GET ", b"-ERR", b":1", b"ping", b"\0", b"%", b"*2", b"$-1\r\n"];
    let mut wrong = 0;
    for round in 0..1_000_000_u32 {
        let mut buffers = [Vec::new(), Vec::new()];
        for buffer in &mut buffers {
            let len = 4 + random.below(60);
            while buffer.len() < len {
                let bits = random.number();
                match round % 4 {
                    0 => buffer.extend(bits.to_le_bytes()),
                    1 => buffer.extend([(bits & 1) as u8 * (bits >> 16) as u8, 0]),
                    2 => buffer.extend([32 + (bits % 95) as u8, 32 + (bits >> 8 & 63) as u8]),
                    _ => buffer.extend(words[random.below(words.len())]),
                }
            }
        }
        let [ingress, egress] = &buffers;
        // The words made a command after all.
        let holds = |bytes: &[u8]| {
            bytes.starts_with(b"GET ")
                || bytes.starts_with(b"ping")
                || bytes.windows(12).any(|word| word == b"*1\r\n$4\r\nping")
        };
        if let Detection::Is(protocol, _) = detect(&sample(ingress, egress, round & 1 == 0), &mut Candidates::default())
            && protocol.name == "redis"
            && !holds(ingress)
            && !holds(egress)
        {
            wrong += 1;
        }
    }
    assert_eq!(wrong, 0);
}
