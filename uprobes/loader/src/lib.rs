//! Loads and attaches the eBPF programs.

pub mod process;
