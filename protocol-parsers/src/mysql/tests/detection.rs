//! Is it MySQL's protocol? At the start, in the middle, in plaintext of TLS; and everything else is not.

use super::script::*;
use crate::contract::Role;
use crate::detect::{Sample, Score};
use crate::mysql::score::score;
use crate::proof::Random;

fn judged(from_start: bool, tls: bool, client: &[u8], server: &[u8]) -> Score {
    let as_server =
        score(&Sample { ingress: client, egress: server, from_start, role: None, tls, port: None, program: "" });
    let as_client =
        score(&Sample { ingress: server, egress: client, from_start, role: None, tls, port: None, program: "" });
    match (as_server, as_client) {
        (Score::Certain(Some(Role::Server)), Score::Certain(Some(Role::Client))) => {}
        (one, other) => assert_eq!(one, other),
    }
    as_server
}

const CERTAIN: Score = Score::Certain(Some(Role::Server));

#[test]
fn a_greeting_and_its_answer_are_certain_and_their_beginnings_possible() {
    let (hello, answer) = (greeting("8.0.44", MYSQL), response(1, MYSQL, "shop"));
    assert_eq!(judged(true, false, &answer, &hello), CERTAIN);
    for end in 0..hello.len() {
        assert_eq!(judged(true, false, b"", &hello[..end]), Score::Possible, "{end}");
    }
    for end in 0..answer.len() {
        assert_eq!(judged(true, false, &answer[..end], &hello), Score::Possible, "{end}");
    }
    let ssl = &mut response(1, MYSQL | SSL, "")[..36];
    ssl[0] = 32;
    assert_eq!(judged(true, false, ssl, &hello), CERTAIN);
    assert_eq!(judged(true, false, b"GET / HTTP/1.1\r\n", &hello), Score::No);
}

#[test]
fn the_plaintext_of_tls_begins_with_the_clients_answer() {
    let answer = response(2, MYSQL | SSL, "shop");
    assert_eq!(judged(true, true, &answer, b""), Score::Possible);
    assert_eq!(judged(true, true, &answer, &packet(3, OK)), CERTAIN);
    assert_eq!(judged(true, true, &answer, &packet(4, OK)), Score::No);
}

#[test]
fn in_the_middle_a_command_and_an_answer_that_fit_are_certain() {
    let fitting: &[(Vec<u8>, Vec<u8>)] = &[
        (query("SELECT 1"), packet(1, OK)),
        (query("SELECT 1"), packet(1, error(1064))),
        (query("SELECT 1"), packets(1, &[b"\x01", COLUMN, EOF])),
        (command(0x03, b"\0\x01SELECT 1"), packet(1, OK)),
        (command(0x0e, b""), packet(1, OK)),
        (command(0x16, b"SELECT 1"), packet(1, b"\0\x01\0\0\0\0\0\0\0\0\0\0")),
        (command(0x17, b"\x01\0\0\0\0\x01\0\0\0"), packet(1, OK)),
        ([command(0x19, b"\x01\0\0\0"), query("COMMIT")].concat(), packet(1, OK)),
    ];
    for (asked, said) in fitting {
        assert_eq!(judged(false, false, asked, said), CERTAIN, "{asked:?} {said:?}");
        assert_eq!(judged(false, false, asked, b""), Score::Possible);
    }
}

#[test]
fn in_the_middle_of_a_compressed_connection_the_same_in_frames_is_certain() {
    let stored = |seq: u8, packet: Vec<u8>| [&[packet.len() as u8, 0, 0, seq, 0, 0, 0][..], &packet].concat();
    let (asked, said) = (stored(0, query("SELECT 1")), stored(1, packet(1, OK)));
    assert_eq!(judged(false, false, &asked, &said), CERTAIN);
    assert_eq!(judged(false, false, &asked, b""), Score::Possible);
    assert_eq!(judged(false, false, &asked, &stored(2, packet(1, OK))), Score::No);
    assert_eq!(judged(false, false, &stored(0, b"\0\0\0\0\0".to_vec()), &said), Score::No);
}

#[test]
fn in_the_middle_what_does_not_fit_is_not() {
    let other: &[(Vec<u8>, Vec<u8>)] = &[
        (query("SELECT 1"), packet(2, OK)),
        (query("SELECT 1"), packet(1, b"\0\0\0\0\0\0\0")),
        (query("SELECT 1"), packets(1, &[b"\x01", b"no definition"])),
        (query("SELECT \x01"), packet(1, OK)),
        (packet(1, b"\x03SELECT 1"), packet(2, OK)),
        ([query("SELECT 1"), b"and more".to_vec()].concat(), packet(1, OK)),
        (command(0x0e, b"x"), packet(1, OK)),
        (command(0x17, b"\x01\0\0\0\0\x02\0\0\0"), packet(1, OK)),
    ];
    for (asked, said) in other {
        assert_eq!(judged(false, false, asked, said), Score::No, "{asked:?} {said:?}");
    }
}

/// A million buffers as binary protocols fill them: random, mostly zero, of small numbers, of lengths and text, of the
/// protocol's own words in an order that means nothing.
#[test]
fn foreign_bytes_are_never_taken_for_it() {
    let mut random = Random(11);
    let words: [&[u8]; 12] = [
        b"\x01\0\0\0\x0e",
        b"\0\0\0\x02\0\0\0",
        b"\x07\0\0\x01",
        b"SELECT 1",
        b"\0",
        b"\x03",
        b"\x05\0\0\0",
        b"\x03def",
        b"\xfe\0\0\x02\0",
        b"\x0a8.0.44\0",
        b"\x09\0\0\0\x03",
        b"\x01\0\0\x01",
    ];
    let mut buffer = Vec::new();
    let (mut wrong, mut own) = (0, 0);
    for round in 0..1_000_000_u32 {
        buffer.clear();
        let len = 8 + random.below(80);
        while buffer.len() < len {
            let bits = random.number();
            match round % 5 {
                0 => buffer.extend(bits.to_le_bytes()),
                1 => buffer.extend([(bits & 1 & bits >> 9) as u8 * (bits >> 16) as u8, 0]),
                2 => buffer.extend([(bits % 32) as u8, 0, 0, (bits >> 8) as u8 % 4]),
                3 => buffer.extend([(bits % 64) as u8, 0, 0, (bits >> 8) as u8 % 3, (bits >> 16) as u8 % 40]),
                _ => buffer.extend(words[(bits % words.len() as u64) as usize]),
            }
        }
        let (a, b) = buffer.split_at(random.below(buffer.len()));
        let sample = Sample {
            ingress: a,
            egress: b,
            from_start: round % 2 == 0,
            role: None,
            tls: round % 3 == 0,
            port: Some(3306),
            program: "mariadbd",
        };
        if let Score::Certain(_) | Score::Likely(_) = score(&sample) {
            // Its own words may happen to be a PING and its OK.
            if round % 5 == 4 { own += 1 } else { wrong += 1 }
        }
    }
    assert_eq!(wrong, 0);
    assert!(own < 20, "{own}");
}
