//! What the benches measure: loads on the parsers, by protocol. Criterion times them (`benches/`), `instructions` counts them.

use sidelight_protocol_parsers::{Chunk, Direction, Kept, KernelTime, Output, Parser, Used};

pub mod http1;
pub mod http2;
pub mod mysql;
pub mod postgresql;
pub mod redis;
pub mod sql;

/// Work that can be repeated without end and checks its result.
pub struct Load {
    /// What it is.
    pub name: &'static str,
    /// Bytes it reads.
    pub bytes: usize,
    /// Does it once.
    pub run: Box<dyn FnMut()>,
}

impl Load {
    fn new(name: &'static str, bytes: usize, run: impl FnMut() + 'static) -> Self {
        Self { name, bytes, run: Box::new(run) }
    }
}

/// A protocol, and what makes its loads.
pub type Group = (&'static str, fn() -> Vec<Load>);

/// The loads by protocol.
pub const GROUPS: &[Group] = &[
    ("http1", http1::loads),
    ("http2", http2::loads),
    ("mysql", mysql::loads),
    ("postgresql", postgresql::loads),
    ("redis", redis::loads),
    ("sql", sql::loads),
];

/// Gives a parser one call's bytes, as the tracker does, and sees to it that it takes them all. `offset` is the place of the
/// first in its direction, and then that of what follows.
///
/// # Panics
/// When the parser refuses or keeps any of them.
pub fn feed(parser: &mut dyn Parser, dir: Direction, offset: &mut u64, bytes: &[u8], out: &mut Output) {
    let chunk = Chunk {
        dir,
        kept: Kept::default(),
        offset: *offset,
        bytes,
        begin: None,
        end: KernelTime(*offset),
        pid: 1,
        tid: 1,
        task: 0,
        wire_seq: 0,
    };
    assert_eq!(parser.data(chunk, out), Ok(Used(bytes.len())));
    *offset += bytes.len() as u64;
}
