//! Everything that touches the running kernel: loads and attaches the eBPF programs, applies the selection, reads the
//! ring, and tells of processes.
//!
//! In: [`Options`]. Out: [`Started`]: a handle on the hooks, the reading end of the ring, and the start-up table.

#![deny(unsafe_code)]

mod btf;
mod cgroup;
mod decide;
pub mod discover;
mod hooks;
mod load;
mod multi;
mod privilege;
pub mod process;
pub mod ring;
mod select;
mod skipped;
mod sys;
pub mod uprobes;

pub use hooks::Hooks;
pub use load::{Attach, LoadError, Options, Row, Started, State, start};
pub use select::{Selection, Selector};
