//! The compressed protocol.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::script::*;
use crate::contract::{Close, Lost, Role, Wants};

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn frame(seq: u8, bytes: &[u8], holds: usize) -> Vec<u8> {
    let mut frame = (bytes.len() as u32).to_le_bytes()[..3].to_vec();
    frame.push(seq);
    frame.extend(&(holds as u32).to_le_bytes()[..3]);
    frame.extend(bytes);
    frame
}

fn stored(seq: u8, bytes: &[u8]) -> Vec<u8> {
    frame(seq, bytes, 0)
}

type Method = fn(&[u8]) -> Vec<u8>;

const METHODS: [Method; 2] = [zlib, zstd];

fn rows(count: usize) -> Vec<u8> {
    let row = b"\x05apple\x04pear\x04plum".as_slice();
    let mut payloads: Vec<&[u8]> = vec![b"\x03", COLUMN, COLUMN, COLUMN, EOF];
    payloads.extend(std::iter::repeat_n(row, count));
    payloads.push(EOF);
    packets(1, &payloads)
}

#[test]
fn frames_begin_behind_the_authentication() {
    for method in METHODS {
        for pieces in [1, 3, 10_000] {
            let mut c = Script::with(MYSQL | COMPRESS);
            let mut answer = rows(500);
            let second = answer.split_off(7000);
            let frames = [frame(1, &method(&answer), answer.len()), frame(2, &method(&second), second.len())].concat();
            c.client(stored(0, &query("SELECT a FROM t")));
            frames.chunks(pieces).for_each(|piece| {
                c.server(piece);
            });
            let long = query(&format!("DELETE FROM t WHERE a IN ('secret'{})", ", 'secret'".repeat(100)));
            c.client(frame(0, &method(&long), long.len())).server(stored(1, &packet(1, error(1205))));
            let lines = c.lines();
            assert_eq!((lines.len(), lines[0].as_str()), (2, "[shop] SELECT a FROM t -> ok 500 rows"));
            assert!(lines[1].starts_with("[shop] DELETE FROM t WHERE a IN (?, ?") && lines[1].ends_with("-> 1205"));
            let done = c.feed.done().next().and_then(|done| done.response).expect("answered");
            let handshake = greeting("8.0.44", MYSQL | COMPRESS).len() + packet(2, OK).len();
            assert_eq!(done.bytes as usize, answer.len() + second.len());
            assert_eq!(done.first.offset, 5_000_000_000 + handshake as u64);
        }
    }
}

#[test]
fn a_frame_longer_than_may_be_kept_is_read_at_its_beginning() {
    let mut noise = crate::proof::Random(3);
    let secret: String = (0..60_000).map(|_| char::from(b'a' + noise.below(26) as u8)).collect();
    let long = query(&format!("INSERT INTO t VALUES ('{secret}')"));
    let packed = frame(0, &zlib(&long), long.len());
    assert!(packed.len() > 30_000);
    let mut c = Script::with(MYSQL | COMPRESS);
    c.client(&packed[..14_000]);
    assert!(matches!(c.feed.parser().wants(c.requests()), Wants::Skip(20_000..)));
    c.client_hole(packed.len() as u64 - 14_000, Lost::Cut).server(stored(1, &packet(1, OK)));
    c.client(stored(0, &query("SELECT 1"))).server(stored(1, &packet(1, OK)));
    c.expect(&["[shop] INSERT INTO t VALUES (? -> ok (truncated)", "[shop] SELECT ? -> ok"]);
    assert!(c.feed.parser().heap() < 1024);
}

#[test]
fn a_result_in_frames_too_long_to_keep_ends_where_the_next_command_begins() {
    let mut noise = crate::proof::Random(3);
    let row: Vec<u8> = (0..40_000).map(|_| noise.number() as u8).collect();
    let answer = packets(1, &[b"\x01", COLUMN, EOF, b"\x01a", b"\x01b", &[&[0xfc, 64, 156], &row[..]].concat(), EOF]);
    let mut c = Script::with(MYSQL | COMPRESS);
    c.client(stored(0, &query("SELECT a FROM t"))).server(frame(1, &zlib(&answer), answer.len()));
    c.client(stored(0, &query("SELECT 1"))).server(stored(1, &packet(1, OK)));
    c.expect(&["[shop] SELECT a FROM t -> ? (truncated)", "[shop] SELECT ? -> ok"]);
}

#[test]
fn what_a_server_sends_later_is_counted_on_from_its_frame() {
    const MORE: &[u8] = b"\xfe\0\0\x0a\0";
    let results = packets(1, &[b"\x01", COLUMN, EOF, b"\x01a", b"\x01b", MORE]);
    let mut c = Script::with(MYSQL | COMPRESS);
    c.client(stored(0, &query("CALL twice()"))).server(frame(1, &zlib(&results), results.len()));
    // Not 7, as it would be had it been sent with the rest.
    c.server(stored(2, &packet(2, OK)));
    c.client(stored(0, &query("SELECT 1"))).server(stored(1, &packet(1, OK)));
    c.expect(&["[shop] CALL twice() -> ok 2 rows", "[shop] SELECT ? -> ok"]);
}

/// Two frames of an answer, divided there, then the frame's number on a packet that is not its first.
#[test]
fn only_the_packet_that_begins_a_frame_may_have_its_number() {
    let definition = packets(1, &[b"\x01", COLUMN, EOF]);
    let row = packet(4, b"\x05apple");
    for at in [0, 4, row.len() - 1] {
        let mut c = Script::with(MYSQL | COMPRESS);
        let (first, second) = ([&definition, &row[..at]].concat(), [&row[at..], &packet(2, b"\x04pear")].concat());
        c.client(stored(0, &query("SELECT a FROM t"))).server(stored(1, &first)).server(stored(2, &second));
        assert_eq!(c.feed.refused, ["an answer out of sequence"], "{at}");
    }
}

#[test]
fn what_does_not_hold_what_it_says_is_refused() {
    let long = query("SELECT a FROM t");
    for method in METHODS {
        for holds in [1, long.len() - 1, long.len() + 1] {
            let mut c = Script::with(MYSQL | COMPRESS);
            c.client(frame(0, &method(&long), holds));
            assert_eq!(c.feed.refused, ["a frame that holds something else than it says"]);
        }
        // A thousand times as much as it takes; it says so.
        let bomb = packet(0, [&b"\x03SELECT '"[..], &vec![b'x'; 8 << 20]].concat());
        let mut c = Script::with(MYSQL | COMPRESS);
        c.client(frame(0, &method(&bomb), bomb.len()));
        assert!(c.feed.parser().heap() < 64 * 1024, "{}", c.feed.parser().heap());
    }
}

#[test]
fn a_loss_heals_at_the_next_command() {
    let mut c = Script::with(MYSQL | COMPRESS);
    let long = query(&format!("SELECT {} FROM t", "a, ".repeat(100)));
    c.client(stored(0, &query("SELECT 1"))).server_hole(30, Lost::Gap).client_hole(20, Lost::Gap);
    c.client(frame(0, &zlib(&long), long.len())).server(frame(1, &zlib(&rows(9)), rows(9).len()));
    c.client(stored(0, &query("SELECT 2"))).server(stored(1, &packet(1, OK))).ends(Close::Fin);
    let lines = c.lines();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[0].ends_with("(gap)") && lines[1].ends_with("-> ok 9 rows") && lines[2] == "SELECT ? -> ok",
        "{lines:?}"
    );
}

#[test]
fn a_client_sees_the_same() {
    let mut c = Script::new(Role::Client);
    c.server(greeting("8.0.44", MYSQL | COMPRESS)).client(response(1, MYSQL | COMPRESS, "")).server(packet(2, OK));
    c.client(stored(0, &query("SELECT 1"))).server(frame(1, &zlib(&rows(3)), rows(3).len()));
    c.expect(&["SELECT ? -> ok 3 rows"]);
}
