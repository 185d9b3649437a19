//! An encoder for tests: a full-indexing one as Go's, or none at all.

use super::table::STATIC;

/// The names and values an index stands for, as the encoder knows them: the static table's few that matter here.
const FIXED: [(usize, &str, &str); 16] = [
    (2, ":method", "GET"),
    (3, ":method", "POST"),
    (4, ":path", "/"),
    (6, ":scheme", "http"),
    (7, ":scheme", "https"),
    (8, ":status", "200"),
    (9, ":status", "204"),
    (13, ":status", "404"),
    (14, ":status", "500"),
    (1, ":authority", ""),
    (31, "content-type", ""),
    (32, "cookie", ""),
    (38, "host", ""),
    (58, "user-agent", ""),
    (54, "server", ""),
    (33, "date", ""),
];

/// One direction's encoder.
#[derive(Clone, Debug)]
pub(in crate::http2) struct Encoder {
    entries: Vec<(String, String)>,
    max: usize,
    indexing: bool,
    huffman: bool,
}

impl Encoder {
    pub(in crate::http2) fn new(indexing: bool, huffman: bool) -> Self {
        Self { entries: Vec::new(), max: 4096, indexing, huffman }
    }

    pub(in crate::http2) fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            self.field(&mut block, name, value);
        }
        block
    }

    fn field(&mut self, block: &mut Vec<u8>, name: &str, value: &str) {
        let dynamic = |whole: bool| {
            let found = self.entries.iter().rev().position(|(n, v)| n == name && (!whole || v == value));
            found.map(|index| index + STATIC + 1)
        };
        let fixed = |whole: bool| FIXED.iter().find(|(_, n, v)| *n == name && (!whole || *v == value)).map(|one| one.0);
        if let Some(index) = fixed(true).or_else(|| dynamic(true)) {
            return integer(block, 0x80, 7, index);
        }
        let size = |name: &str, value: &str| name.len() + value.len() + 32;
        let indexing = self.indexing && size(name, value) <= self.max;
        let index = fixed(false).or_else(|| dynamic(false)).unwrap_or(0);
        if indexing {
            integer(block, 0x40, 6, index)
        } else {
            integer(block, 0, 4, index)
        }
        if index == 0 {
            self.string(block, name);
        }
        self.string(block, value);
        if indexing {
            self.entries.push((name.to_owned(), value.to_owned()));
            while self.entries.iter().map(|(name, value)| size(name, value)).sum::<usize>() > self.max {
                self.entries.remove(0);
            }
        }
    }

    fn string(&self, block: &mut Vec<u8>, text: &str) {
        let (flag, bytes) = if self.huffman { (0x80, huffman(text.as_bytes())) } else { (0, text.as_bytes().to_vec()) };
        integer(block, flag, 7, bytes.len());
        block.extend(bytes);
    }
}

/// Appends an integer with a prefix of `bits` bits.
pub(in crate::http2) fn integer(block: &mut Vec<u8>, flags: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        return block.push(flags | value as u8);
    }
    block.push(flags | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        block.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// Encodes bytes bit by bit.
pub(in crate::http2) fn huffman(bytes: &[u8]) -> Vec<u8> {
    let codes = super::huffman::codes();
    let mut bits: Vec<bool> = Vec::new();
    for byte in bytes {
        let (code, len) = codes[usize::from(*byte)];
        bits.extend((0..len).rev().map(|bit| code >> bit & 1 == 1));
    }
    while !bits.len().is_multiple_of(8) {
        bits.push(true);
    }
    bits.chunks(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | u8::from(*bit))).collect()
}
