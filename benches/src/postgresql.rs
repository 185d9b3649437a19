//! PostgreSQL: one call for each write, no tracker. The bytes are those of both directions.

use std::hint::black_box;

use sidelight_protocol_parsers::{Direction, Emitted, Output, PROTOCOLS, Parser, Protocol, Role};

use crate::{Load, feed};

fn postgresql() -> &'static Protocol {
    PROTOCOLS.iter().find(|protocol| protocol.name == "postgresql").expect("in the table")
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&[kind][..], &len, body].concat()
}

fn row(columns: u8, width: usize) -> Vec<u8> {
    let mut body = vec![0, columns];
    for _ in 0..columns {
        body.extend([&u32::try_from(width).expect("short").to_be_bytes()[..], &vec![b'x'; width]].concat());
    }
    message(b'D', &body)
}

fn description(columns: u8) -> Vec<u8> {
    let column = [&b"abalance\0"[..], &[0; 18]].concat();
    message(b'T', &[&[0, columns][..], &column.repeat(columns.into())].concat())
}

const READY: &[u8] = b"Z\0\0\0\x05I";
const BOUND: &[u8] = b"2\0\0\0\x04";

/// A connection of a server, whose start is over.
struct Connection {
    parser: Box<dyn Parser>,
    out: Output,
    at: [u64; 2],
}

impl Connection {
    fn new() -> Self {
        let mut new = Self { parser: (postgresql().parser)(Some(Role::Server)), out: Output::default(), at: [0; 2] };
        new.feed(Direction::Ingress, b"\0\0\0\x1c\0\x03\0\0user\0me\0database\0d\0\0");
        new.feed(Direction::Egress, &[&message(b'R', &[0; 4]), READY].concat());
        new.feed(Direction::Ingress, &[&message(b'P', STATEMENT)[..], b"S\0\0\0\x04"].concat());
        new.feed(Direction::Egress, &[b"1\0\0\0\x04", READY].concat());
        new
    }

    fn feed(&mut self, dir: Direction, bytes: &[u8]) {
        feed(&mut *self.parser, dir, &mut self.at[dir.index()], bytes, &mut self.out);
    }
}

const STATEMENT: &[u8] = b"s\0SELECT abalance FROM pgbench_accounts WHERE aid = $1\0\0\0";

/// Queries and executions with few and many rows.
#[must_use]
pub fn loads() -> Vec<Load> {
    let query = message(b'Q', b"SELECT abalance FROM pgbench_accounts WHERE aid = 12345;\0");
    let run = [
        message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x0512345\0\0"),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        b"S\0\0\0\x04".to_vec(),
    ]
    .concat();
    let answer = |rows: usize, columns: u8, width: usize| {
        let done = message(b'C', format!("SELECT {rows}\0").as_bytes());
        [description(columns), row(columns, width).repeat(rows), done, READY.to_vec()].concat()
    };
    [
        ("a query, one row", query.clone(), answer(1, 1, 8)),
        ("a prepared statement, one row", run.clone(), [BOUND, &answer(1, 1, 8)].concat()),
        ("a query, 100 rows of 4 columns", query, answer(100, 4, 12)),
        ("a prepared statement, 20 rows of 4 columns", run, [BOUND, &answer(20, 4, 12)].concat()),
    ]
    .map(|(name, request, response)| {
        let mut connection = Connection::new();
        Load::new(name, request.len() + response.len(), move || {
            connection.feed(Direction::Ingress, black_box(&request));
            for call in response.chunks(8192) {
                connection.feed(Direction::Egress, black_box(call));
            }
            let [Emitted::Begun { .. }, Emitted::Answered { .. }, Emitted::Done(done)] = &connection.out.emitted[..]
            else {
                panic!("{:?}", connection.out.emitted);
            };
            assert!(done.incomplete.is_empty());
            connection.out.emitted.clear();
        })
    })
    .into()
}
