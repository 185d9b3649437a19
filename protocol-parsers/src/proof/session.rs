//! The calls of one connection. Sessions with real peers are recorded by `sessions/record.py`, as text.

use std::path::Path;

use crate::contract::{Direction, Role};
use crate::fuzzing::Feed;

/// One read or write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Direction.
    pub dir: Direction,
    /// What it moved; not empty.
    pub bytes: Vec<u8>,
}

/// One connection's calls in their order.
#[derive(Clone, Debug)]
pub struct Session {
    /// The side it is seen from.
    pub role: Role,
    /// The calls.
    pub calls: Vec<Call>,
}

impl Session {
    /// What was said, from the server's end: `true` is the client.
    #[must_use]
    pub fn new<B: AsRef<[u8]>>(said: impl IntoIterator<Item = (bool, B)>) -> Self {
        let call = |(client, bytes): (bool, B)| Call {
            dir: if client { Direction::Ingress } else { Direction::Egress },
            bytes: bytes.as_ref().to_vec(),
        };
        Self { role: Role::Server, calls: said.into_iter().map(call).collect() }
    }

    /// A call a line: `>` (by the client) or `<`, a space, its bytes, escaped as in Rust's byte strings; `#`: a comment.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self::new(lines.map(|line| match line.split_at(2) {
            ("> ", bytes) => (true, unescape(bytes)),
            ("< ", bytes) => (false, unescape(bytes)),
            _ => panic!("neither `> ` nor `< `: {line}"),
        }))
    }

    /// A recording of `protocol-parsers/sessions`, by its name.
    #[must_use]
    pub fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions").join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// The same connection as its other end sees it.
    #[must_use]
    pub fn other_end(&self) -> Self {
        let flip = |Call { dir, bytes }: &Call| Call { dir: dir.opposite(), bytes: bytes.clone() };
        let role = if self.role == Role::Server { Role::Client } else { Role::Server };
        Self { role, calls: self.calls.iter().map(flip).collect() }
    }

    /// Bytes of a direction.
    #[must_use]
    pub fn len(&self, dir: Direction) -> usize {
        self.calls.iter().filter(|call| call.dir == dir).map(|call| call.bytes.len()).sum()
    }

    /// The calls between two changes of direction, as one.
    #[must_use]
    pub fn turns(&self) -> Vec<Call> {
        let mut turns: Vec<Call> = Vec::new();
        for call in &self.calls {
            match turns.last_mut().filter(|last| last.dir == call.dir) {
                Some(last) => last.bytes.extend(&call.bytes),
                None => turns.push(call.clone()),
            }
        }
        turns
    }

    /// The call that moved the byte at an offset of a direction.
    pub(super) fn call_of(&self, dir: Direction, offset: u64) -> usize {
        let mut end = Feed::BEGIN[dir.index()];
        let moved = |call: &Call| {
            if call.dir == dir {
                end += call.bytes.len() as u64;
            }
            call.dir == dir && offset < end
        };
        self.calls.iter().position(moved).unwrap_or(self.calls.len())
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' { rest.next() } else { None };
        bytes.push(match escaped {
            None => byte,
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("\\x{digits}"))
            }
            Some(itself @ (b'\\' | b'\'' | b'"')) => itself,
            Some(other) => panic!("\\{}", char::from(other)),
        });
    }
    bytes
}
