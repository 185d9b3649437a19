//! MySQL: one call for each write, no tracker. The bytes are those of both directions.

use std::hint::black_box;

use sidelight_protocol_parsers::{Direction, Emitted, Output, Parser, Role, mysql::PROTOCOL};

use crate::{Load, feed};

/// What an application asks: 147 bytes with two literals.
const QUERY: &str = "SELECT o.id, o.total, c.name FROM orders AS o JOIN customers AS c ON c.id = o.customer_id \
    WHERE o.status = 'open' AND o.total > 100.5 LIMIT 20";

const OK: &[u8] = b"\0\x01\0\x02\0\0\0";
const EOF: &[u8] = b"\xfe\0\0\x02\0";
const COLUMN: &[u8] = b"\x03def\x04shop\x01o\x06orders\x05total\x05total\x0c\x3f\0\x0b\0\0\0\xf6\x03\x50\0\0\0";

fn packets(first: u8, payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_le_bytes()[..3]);
        bytes.push(first.wrapping_add(u8::try_from(at % 256).expect("a byte")));
        bytes.extend_from_slice(payload);
    }
    bytes
}

fn rows(count: usize, row: &[u8]) -> Vec<u8> {
    let mut payloads = vec![&b"\x03"[..], COLUMN, COLUMN, COLUMN, EOF];
    payloads.extend(std::iter::repeat_n(row, count));
    payloads.push(EOF);
    packets(1, &payloads)
}

/// Queries and executions with few and many rows.
#[must_use]
pub fn loads() -> Vec<Load> {
    let query = packets(0, &[&[b"\x03", QUERY.as_bytes()].concat()]);
    let prepare = packets(0, &[&[b"\x16", QUERY.as_bytes()].concat()]);
    let prepared = packets(1, &[b"\0\x01\0\0\0\0\0\0\0\0\0\0"]);
    let execute = packets(0, &[b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\xfd\0\x08\0\x04open\x64\0\0\0\0\0\0\0"]);
    let row = [&[60][..], &[b'x'; 60], &[10], &[b'1'; 10], &[24], &[b'y'; 24]].concat();
    let (few, many) = (rows(20, &row), rows(1000, &row));
    [
        ("a query and 20 rows of 97 bytes", query.clone(), few.clone()),
        ("a query and 1000 rows of 97 bytes", query.clone(), many),
        ("a query and OK", query, packets(1, &[OK])),
        ("an execution and 20 rows of 97 bytes", execute, few),
    ]
    .map(|(name, request, response)| {
        let mut parser = (PROTOCOL.parser)(Some(Role::Server));
        let (mut out, mut read, mut written) = (Output::default(), 0, 0);
        handshake(&mut *parser, &mut read, &mut written, &mut out);
        feed(&mut *parser, Direction::Ingress, &mut read, &prepare, &mut out);
        feed(&mut *parser, Direction::Egress, &mut written, &prepared, &mut out);
        out.emitted.clear();
        Load::new(name, request.len() + response.len(), move || {
            feed(&mut *parser, Direction::Ingress, &mut read, black_box(&request), &mut out);
            // As a server flushes.
            for piece in response.chunks(16 * 1024) {
                feed(&mut *parser, Direction::Egress, &mut written, black_box(piece), &mut out);
            }
            assert!(matches!(out.emitted[..], [Emitted::Begun { .. }, Emitted::Answered { .. }, Emitted::Done(_)]));
            out.emitted.clear();
        })
    })
    .into()
}

fn handshake(parser: &mut dyn Parser, read: &mut u64, written: &mut u64, out: &mut Output) {
    let greeting =
        b"\x0a8.0.44\0\x01\0\0\0scramble\0\x09\x82\x2d\x02\0\x08\0\x15\0\0\0\0\0\0\0\0\0\0scramble-two\0native\0";
    let mut answer = b"\x09\x82\x08\0\0\0\0\x01\x2d".to_vec();
    answer.resize(32, 0);
    answer.extend(b"app\0\x04hashshop\0native\0");
    feed(parser, Direction::Egress, written, &packets(0, &[greeting]), out);
    feed(parser, Direction::Ingress, read, &packets(1, &[&answer]), out);
    feed(parser, Direction::Egress, written, &packets(2, &[OK]), out);
}
