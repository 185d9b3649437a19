//! `otlp-discard PORT`: an OTLP/HTTP end point that reads and discards, for benches, at the least cost we know.
//!
//! Every request needs a content-length and is answered 200 with an empty body. Says `listening ADDRESS` on standard output;
//! ends when standard input does, and says `requests N bytes M` then.

#![forbid(unsafe_code)]

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0_u16);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let mut out = io::stdout();
    writeln!(out, "listening {}", listener.local_addr()?)?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || serve(connection));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    writeln!(out, "requests {} bytes {}", REQUESTS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

fn serve(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut filled = 0;
    loop {
        let head = loop {
            let read = buffer.get(..filled).unwrap_or_default();
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let more = connection.read(buffer.get_mut(filled..).unwrap_or_default())?;
            if more == 0 {
                return Ok(());
            }
            filled += more;
        };
        let length = content_length(buffer.get(..head).unwrap_or_default())?;
        let mut left = (head + length).saturating_sub(filled);
        filled = filled.saturating_sub(head + length);
        while left > 0 {
            let more = connection.read(&mut buffer)?;
            if more == 0 {
                return Ok(());
            }
            filled = more.saturating_sub(left);
            left -= more.min(left);
        }
        // A client that sends the next request before the answer to this one is not an OTLP exporter.
        if filled > 0 {
            return Err(io::Error::other("pipelined request"));
        }
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(length as u64, Ordering::Relaxed);
        connection.write_all(ANSWER)?;
    }
}

fn content_length(head: &[u8]) -> io::Result<usize> {
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mut values = lines.filter_map(|line| line.split_once(':'));
    let value = values.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    value.and_then(|text| text.parse().ok()).ok_or_else(|| io::Error::other("a request without content-length"))
}
