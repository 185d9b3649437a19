//! HTTP/2 and gRPC: one call for each write, no tracker.

use std::hint::black_box;

use sidelight_protocol_parsers::{Direction, Emitted, Output, PROTOCOLS, Parser, Protocol, Role};

use crate::{Load, feed};

fn http2() -> &'static Protocol {
    PROTOCOLS.iter().find(|protocol| protocol.name == "http2").expect("in the table")
}

/// A connection seen from the server.
struct Connection {
    parser: Box<dyn Parser>,
    offset: [u64; 2],
    out: Output,
}

impl Connection {
    fn new() -> Self {
        let mut new = Self { parser: (http2().parser)(Some(Role::Server)), offset: [0; 2], out: Output::default() };
        new.feed(Direction::Ingress, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        new.feed(Direction::Ingress, &frame(4, 0, 0, &[]));
        new.feed(Direction::Egress, &frame(4, 0, 0, &[]));
        new
    }

    fn feed(&mut self, dir: Direction, bytes: &[u8]) {
        feed(&mut *self.parser, dir, &mut self.offset[dir.index()], bytes, &mut self.out);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let mut frame = len[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The block of a call from grpc-go, with Huffman code as its encoder writes it, for every value that does not repeat.
fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0x40);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).expect("short"));
        block.extend(text);
    }
}

fn first_block() -> Vec<u8> {
    // :method POST, :scheme http, then what enters the table.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (&b":path"[..], &b"/shop.v1.CartService/AddItem"[..]),
        (b":authority", b"cart.shop.svc.cluster.local:50051"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"grpc-go/1.80.0"),
        (b"te", b"trailers"),
        (b"grpc-timeout", b"4999m"),
    ] {
        literal(&mut block, name, value);
    }
    block
}

/// As [`first_block`] once the table holds it, with a trace context that is new each time, in Huffman code.
fn next_block() -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0xc3, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe];
    // `traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`, never indexed.
    block.extend([0x10, 0x0b]);
    block.extend(b"traceparent");
    let value = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    block.push(u8::try_from(value.len()).expect("short"));
    block.extend(value);
    block
}

/// Blocks alone, DATA alone, and whole calls.
#[must_use]
pub fn loads() -> Vec<Load> {
    // Blocks of trailers of a stream that is not known: decoding alone.
    let block = |name, block: Vec<u8>| {
        let headers = frame(1, 4, 2, &block);
        let mut connection = Connection::new();
        connection.feed(Direction::Ingress, &frame(1, 4, 2, &first_block()));
        Load::new(name, block.len(), move || {
            connection.feed(Direction::Ingress, black_box(&headers));
            assert!(connection.out.emitted.is_empty());
        })
    };
    vec![
        block("header block, literals", first_block()),
        block("header block, mostly indexed", next_block()),
        block("header block, Huffman", HUFFMAN.to_vec()),
        data(),
        call(),
    ]
}

/// RFC 7541 appendix C.6.1: a response in Huffman code, 54 bytes.
const HUFFMAN: &[u8] = &[
    0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x61, 0x96, 0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54,
    0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff, 0x6e, 0x91, 0x9d,
    0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3,
];

fn data() -> Load {
    let bytes = frame(0, 0, 1, &[b'x'; 16384]).repeat(64);
    let mut connection = Connection::new();
    // GET /, open for ever.
    connection.feed(Direction::Ingress, &frame(1, 4, 1, &[0x82, 0x84, 0x86]));
    Load::new("1 MiB of DATA in frames of 16 KiB", bytes.len(), move || {
        connection.feed(Direction::Ingress, black_box(&bytes));
        assert_eq!(connection.out.emitted.len(), 1);
    })
}

fn call() -> Load {
    let message = [&[0, 0, 0, 0, 40][..], &[b'x'; 40]].concat();
    let mut answer = frame(1, 4, 1, &[0x88, 0xbf]);
    answer.extend(frame(0, 0, 1, &message));
    answer.extend(frame(1, 5, 1, &[0xbe]));
    let mut request = frame(1, 4, 1, &next_block());
    request.extend(frame(0, 1, 1, &message));
    let mut connection = Connection::new();
    connection.feed(Direction::Ingress, &frame(1, 4, 2, &first_block()));
    let mut tables = Vec::new();
    literal(&mut tables, b"content-type", b"application/grpc");
    literal(&mut tables, b"grpc-status", b"0");
    connection.feed(Direction::Egress, &frame(1, 4, 2, &tables));
    let mut stream = 1_u32;
    Load::new("a unary gRPC call", request.len() + answer.len(), move || {
        let behind = 9 + next_block_len();
        request[5..9].copy_from_slice(&stream.to_be_bytes());
        request[behind + 5..behind + 9].copy_from_slice(&stream.to_be_bytes());
        for at in [0, 9 + 2, 9 + 2 + 9 + message.len()] {
            answer[at + 5..at + 9].copy_from_slice(&stream.to_be_bytes());
        }
        connection.feed(Direction::Ingress, black_box(&request));
        connection.feed(Direction::Egress, black_box(&answer));
        let [Emitted::Begun { .. }, Emitted::Answered { .. }, Emitted::Done(exchange)] = &connection.out.emitted[..]
        else {
            panic!("{:?}", connection.out.emitted);
        };
        assert!(exchange.outcome.is_some() && exchange.context.is_some());
        connection.out.emitted.clear();
        // Streams are 31 bits; a connection of two billion calls begins anew.
        stream = if stream > u32::MAX >> 2 { 1 } else { stream + 2 };
    })
}

fn next_block_len() -> usize {
    8 + 2 + 11 + 1 + 55
}
