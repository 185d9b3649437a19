//! Sidelight's benches, and what they share.

use sidelight_protocol_parsers::{Chunk, Direction, Kept, KernelTime, Output, Parser, Used};

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
