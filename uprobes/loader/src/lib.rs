//! Loads and attaches the eBPF programs.

mod cgroup;
pub mod process;
