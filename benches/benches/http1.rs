//! The HTTP/1 parser alone: one call for each write, no tracker. Throughput is of the bytes of heads.

use std::hint::black_box;
use std::mem::MaybeUninit;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sidelight_benches::feed;
use sidelight_protocol_parsers::detect::{Candidates, Detection, Sample, detect};
use sidelight_protocol_parsers::{Direction, Emitted, Output, PROTOCOLS, Protocol, Role};

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

fn http1() -> &'static Protocol {
    PROTOCOLS.iter().find(|protocol| protocol.name == "http1").expect("in the table")
}

fn exchanges(c: &mut Criterion) {
    let body = [b'x'; 612];
    let mut group = c.benchmark_group("http1");
    for (name, request, body) in [
        ("request and response heads", REQUEST, None),
        ("the same, traced", TRACED, None),
        ("request, response, body of 612 bytes", REQUEST, Some(&body[..])),
    ] {
        // Without its body a HEAD's or 304's response: the head alone decides.
        let response = if body.is_some() { RESPONSE.to_vec() } else { without_body() };
        group.throughput(Throughput::Bytes((request.len() + response.len()) as u64));
        group.bench_function(name, |b| {
            let mut parser = (http1().parser)(Some(Role::Server));
            let (mut out, mut read, mut written, mut done) = (Output::default(), 0, 0, 0_u64);
            b.iter(|| {
                feed(&mut *parser, Direction::Ingress, &mut read, black_box(request), &mut out);
                feed(&mut *parser, Direction::Egress, &mut written, black_box(&response), &mut out);
                if let Some(body) = body {
                    feed(&mut *parser, Direction::Egress, &mut written, black_box(body), &mut out);
                }
                assert!(matches!(out.emitted[..], [Emitted::Begun { .. }, Emitted::Answered { .. }, Emitted::Done(_)]));
                done += 1;
                out.emitted.clear();
            });
            assert!(done > 0);
        });
    }
    group.throughput(Throughput::Bytes((REQUEST.len() + RESPONSE.len()) as u64));
    // What of it is the price of judging the bytes at all.
    group.bench_function("httparse alone, both heads", |b| {
        b.iter(|| {
            let mut headers = [const { MaybeUninit::uninit() }; 48];
            let mut request = httparse::Request::new(&mut []);
            assert!(request.parse_with_uninit_headers(black_box(REQUEST), &mut headers).is_ok_and(|s| s.is_complete()));
            let mut headers = [const { MaybeUninit::uninit() }; 48];
            let mut response = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let parsed = config.parse_response_with_uninit_headers(&mut response, black_box(RESPONSE), &mut headers);
            assert!(parsed.is_ok_and(|s| s.is_complete()));
        });
    });
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("body of 1 MiB in chunks of 8 KiB", |b| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut chunk = b"2000\r\n".to_vec();
        chunk.resize(6 + 0x2000, b'x');
        chunk.extend(b"\r\n");
        b.iter_batched(
            || {
                let mut parser = (http1().parser)(Some(Role::Server));
                let (mut out, mut read, mut written) = (Output::default(), 0, 0);
                feed(&mut *parser, Direction::Ingress, &mut read, REQUEST, &mut out);
                feed(&mut *parser, Direction::Egress, &mut written, head, &mut out);
                (parser, out, written)
            },
            |(mut parser, mut out, mut written)| {
                for _ in 0..128 {
                    feed(&mut *parser, Direction::Egress, &mut written, black_box(&chunk), &mut out);
                }
                feed(&mut *parser, Direction::Egress, &mut written, b"0\r\n\r\n", &mut out);
                assert!(matches!(out.emitted.last(), Some(Emitted::Done(_))));
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn without_body() -> Vec<u8> {
    let text = String::from_utf8_lossy(RESPONSE).replace("Content-Length: 612", "Content-Length: 000");
    text.into_bytes()
}

fn detection(c: &mut Criterion) {
    let sample = |ingress| Sample { ingress, egress: b"", from_start: true, role: None, tls: false, port: None };
    let noise: Vec<u8> = (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    c.bench_function("detect/a request", |b| {
        b.iter(|| {
            assert!(matches!(detect(&sample(black_box(REQUEST)), &mut Candidates::default()), Detection::Is(..)))
        });
    });
    c.bench_function("detect/4 KiB of noise", |b| {
        b.iter(|| {
            assert!(matches!(detect(&sample(black_box(&noise)), &mut Candidates::default()), Detection::Unknown))
        });
    });
}

criterion_group!(benches, exchanges, detection);
criterion_main!(benches);
