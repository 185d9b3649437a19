//! HTTP/1: one call for each write, no tracker. The bytes are those of heads.

use std::hint::black_box;

use sidelight_protocol_parsers::detect::{Candidates, Detection, Sample, detect};
use sidelight_protocol_parsers::{Direction, Emitted, Output, PROTOCOLS, Parser, Role};

use crate::{Load, feed};

/// What a browser-like client sends: 8 headers.
const REQUEST: &[u8] = b"GET /api/v1/orders/17?expand=items HTTP/1.1\r\nHost: shop.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: application/json\r\n\
    Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
    Cache-Control: no-cache\r\nTE: trailers\r\n\r\n";

/// The same with W3C trace context.
const TRACED: &[u8] = b"GET /api/v1/orders/17?expand=items HTTP/1.1\r\nHost: shop.example.org\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: vendor=value\r\n\
    User-Agent: python-requests/2.32.3\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n";

/// nginx's head, and its body of 612 bytes.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: text/html\r\nContent-Length: 612\r\nLast-Modified: Wed, 05 Feb 2025 11:06:32 GMT\r\n\
    Connection: keep-alive\r\nETag: \"67a34648-264\"\r\nAccept-Ranges: bytes\r\n\r\n";

fn parser() -> Box<dyn Parser> {
    let http1 = PROTOCOLS.iter().find(|protocol| protocol.name == "http1").expect("in the table");
    (http1.parser)(Some(Role::Server))
}

/// Whole exchanges, a long body, and detection.
#[must_use]
pub fn loads() -> Vec<Load> {
    vec![
        exchange("request and response heads", REQUEST, b""),
        exchange("the same, traced", TRACED, b""),
        exchange("request, response, body of 612 bytes", REQUEST, &[b'x'; 612]),
        chunked(),
        detection("detection of a request", REQUEST.to_vec(), true),
        detection("detection in 4 KiB of noise", noise(), false),
    ]
}

fn exchange(name: &'static str, request: &'static [u8], body: &'static [u8]) -> Load {
    // Without its body a HEAD's or 304's response: the head alone decides.
    let response = if body.is_empty() { without_body() } else { RESPONSE.to_vec() };
    let mut parser = parser();
    let (mut out, mut read, mut written) = (Output::default(), 0, 0);
    Load::new(name, request.len() + response.len(), move || {
        feed(&mut *parser, Direction::Ingress, &mut read, black_box(request), &mut out);
        feed(&mut *parser, Direction::Egress, &mut written, black_box(&response), &mut out);
        if !body.is_empty() {
            feed(&mut *parser, Direction::Egress, &mut written, black_box(body), &mut out);
        }
        assert!(matches!(out.emitted[..], [Emitted::Begun { .. }, Emitted::Answered { .. }, Emitted::Done(_)]));
        out.emitted.clear();
    })
}

/// The body is counted, not read: the figure is of bytes passed over.
fn chunked() -> Load {
    let mut chunk = b"2000\r\n".to_vec();
    chunk.resize(6 + 0x2000, b'x');
    chunk.extend(b"\r\n");
    let mut parser = parser();
    let (mut out, mut read, mut written) = (Output::default(), 0, 0);
    Load::new("body of 1 MiB in chunks of 8 KiB", 1 << 20, move || {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        feed(&mut *parser, Direction::Ingress, &mut read, REQUEST, &mut out);
        feed(&mut *parser, Direction::Egress, &mut written, head, &mut out);
        for _ in 0..128 {
            feed(&mut *parser, Direction::Egress, &mut written, black_box(&chunk), &mut out);
        }
        feed(&mut *parser, Direction::Egress, &mut written, b"0\r\n\r\n", &mut out);
        assert!(matches!(out.emitted.last(), Some(Emitted::Done(_))));
        out.emitted.clear();
    })
}

fn without_body() -> Vec<u8> {
    let text = String::from_utf8_lossy(RESPONSE).replace("Content-Length: 612", "Content-Length: 000");
    text.into_bytes()
}

fn noise() -> Vec<u8> {
    (0..4096_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

fn detection(name: &'static str, bytes: Vec<u8>, found: bool) -> Load {
    Load::new(name, bytes.len(), move || {
        let ingress = black_box(&bytes);
        let sample = Sample { ingress, egress: b"", from_start: true, role: None, tls: false, port: None, program: "" };
        let said = detect(&sample, &mut Candidates::default());
        assert!(if found { matches!(said, Detection::Is(..)) } else { matches!(said, Detection::Unknown) });
    })
}
