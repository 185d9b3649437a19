//! The layout of the eBPF maps that user space writes or reads: keys, values, counter indices.
//!
//! In: nothing. Out: constants and `#[repr(C)]` values. The kernel side owns every map; user space only sets
//! [`Control`], selection entries and policies, and reads counters.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Element 0 of the array map `CONTROL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Control {
    /// 0: every hook returns at once. Set last at start and cleared first at stop.
    pub enabled: u32,
    /// Bits of [`mode`].
    pub mode: u32,
    /// The daemon's own process: never watched.
    pub own_tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// Bits of `Control::mode`.
pub mod mode {
    /// No `--only` was given: what is not excepted is watched.
    pub const DEFAULT_ALL: u32 = 1;
    /// The map `PORTS` has entries: look ports up.
    pub const PORTS: u32 = 1 << 1;
    /// An executable pattern is configured: a process is undecided after exec until user space has answered.
    pub const DECIDE_ON_EXEC: u32 = 1 << 2;
    /// Submit `Process` records of watched processes.
    pub const PROCESS_RECORDS: u32 = 1 << 3;
}

/// Bits of a value in the hash map `PROCS` (tgid → u32) and of `PORTS` (port in host order → u32).
pub mod select {
    /// Matched by `--only`; not inherited.
    pub const ONLY: u32 = 1;
    /// Matched by `--except`; not inherited.
    pub const EXCEPT: u32 = 1 << 1;
    /// Matched by `--only tree:`; inherited at fork, kept at exec.
    pub const ONLY_TREE: u32 = 1 << 2;
    /// Matched by `--except tree:`; inherited at fork, kept at exec.
    pub const EXCEPT_TREE: u32 = 1 << 3;
    /// Matched by a pattern on the executable; inherited at fork, dropped at exec.
    pub const ONLY_EXE: u32 = 1 << 4;
    /// As `ONLY_EXE`, for `--except`.
    pub const EXCEPT_EXE: u32 = 1 << 5;
    /// User space has not decided yet: nothing is captured, calls count as [`super::counter::UNDECIDED`].
    pub const UNDECIDED: u32 = 1 << 6;
}

/// Values of the map `POLICIES` ([`crate::ConnKey`] → u32): how much of a connection is captured.
pub mod policy {
    /// Up to [`crate::MAX_CAPTURE`] bytes of every call.
    pub const FULL: u32 = 0;
    /// Lengths only.
    pub const LENGTHS: u32 = 1;
    /// Nothing; bytes are counted as [`super::counter::BYTES_IGNORED`].
    pub const IGNORE: u32 = 2;
}

/// Indices of the per-CPU array `COUNTERS` (u64 each).
pub mod counter {
    /// Records the hooks tried to submit.
    pub const ATTEMPTED: u32 = 0;
    /// Records submitted to the ring.
    pub const SUBMITTED: u32 = 1;
    /// Records lost because the ring was full.
    pub const RING_FULL: u32 = 2;
    /// Records lost because kernel memory could not be read.
    pub const FAULT: u32 = 3;
    /// Bytes (true length) of submitted and lost `Data` records: what was presented.
    pub const BYTES_PRESENTED: u32 = 4;
    /// Bytes of `Data` records lost to a full ring or a fault (part of `BYTES_PRESENTED`).
    pub const BYTES_LOST: u32 = 5;
    /// Bytes not submitted by policy (part of `BYTES_PRESENTED`).
    pub const BYTES_IGNORED: u32 = 6;
    /// Ciphertext of connections bound to a TLS object, not submitted; not part of `BYTES_PRESENTED`.
    pub const BYTES_CIPHERTEXT: u32 = 7;
    /// Calls of undecided processes.
    pub const UNDECIDED: u32 = 8;
    /// Calls whose descriptor could not be resolved to a socket although they should (mechanism `SYSCALL`).
    pub const UNRESOLVED: u32 = 9;
    /// A state map was full.
    pub const MAP_FULL: u32 = 10;
    /// Calls of the watched processes that reached the handler.
    pub const CALLS: u32 = 11;
    /// How many counters there are.
    pub const COUNT: u32 = 12;
    /// Their names, in index order; `reason` values of the daemon's health metrics.
    pub const NAMES: [&str; COUNT as usize] = [
        "attempted",
        "submitted",
        "ring_full",
        "fault",
        "bytes_presented",
        "bytes_lost",
        "bytes_ignored",
        "bytes_ciphertext",
        "undecided",
        "unresolved",
        "map_full",
        "calls",
    ];
}

const _: () = assert!(size_of::<Control>() == 16);
