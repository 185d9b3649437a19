//! Where to put a uprobe: ELF symbols and instruction decoding.
//!
//! In: the bytes of an executable or a shared library. Out: file offsets for probes, with what each costs. No I/O, no clock,
//! no panic on any input: a file that lies about itself gives an [`Error`] or a place that is said to be slow.
//!
//! [`Image`] finds functions, [`place`](Image::entry) rules decide where a probe may stand, [`openssl`] names the probes of one
//! library.

#![forbid(unsafe_code)]

mod elf;
pub mod openssl;
mod place;

pub use elf::{Error, Function, Image};
pub use place::{Arg, Callee, Fourth, Spot};
