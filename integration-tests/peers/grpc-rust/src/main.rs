//! The gRPC peer of ../README.md on tonic.

mod client;
mod server;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use bytes::{Buf, BufMut, Bytes};
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

const SERVICE: &str = "sidelight.test.Echo";

/// Messages are bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// How often each METHOD STATUS happened.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

impl Counts {
    fn add(&self, method: &str, code: Code) {
        const NAMES: [&str; 17] = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        *self.0.lock().unwrap().entry(format!("{SERVICE}/{method} {}", NAMES[code as usize])).or_default() += 1;
    }

    fn print(&self) {
        let counts = self.0.lock().unwrap();
        let entries: Vec<_> = counts.iter().map(|(key, count)| format!("\"{key}\": {count}")).collect();
        println!("{{{}}}", entries.join(", "));
    }
}

/// What a request message asks for.
#[derive(Clone, Copy, Default)]
struct Ask {
    status: i32,
    count: usize,
    size: usize,
    delay: u64,
}

impl Ask {
    fn message(self, padding: usize) -> Bytes {
        let Self { status, count, size, delay } = self;
        let mut text = format!("{status} {count} {size} {delay} ").into_bytes();
        text.resize(text.len() + padding, 0);
        text.into()
    }

    fn parse(message: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&message[..message.len().min(64)]);
        let mut numbers = text.split(' ').map(|word| word.parse::<u64>().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { status: next() as i32, count: next() as usize, size: next() as usize, delay: next() }
    }

    fn reply(self) -> Bytes {
        vec![0; self.size].into()
    }

    fn end(self) -> Result<(), Status> {
        match self.status {
            0 => Ok(()),
            code => Err(Status::new(Code::from_i32(code), "as asked")),
        }
    }
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> = words[1..].iter().filter_map(|word| word.split_once('=')).collect();
    match words[0].as_str() {
        "server" => server::serve(&options).await,
        _ => client::load(&options).await,
    }
}
