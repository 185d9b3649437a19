//! The layout of the eBPF maps that user space writes or reads: keys, values, counter indices.
//!
//! In: nothing. Out: constants and `#[repr(C)]` values. The kernel side owns every map; user space only sets
//! [`Control`], selection entries and policies, and reads counters. [`Offsets`] is no map but the programs' read-only
//! data, filled in before they are loaded.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Element 0 of the array map `CONTROL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Control {
    /// 0: nothing is captured and no `Process` record is sent; the life of processes is followed all the same, so that
    /// selection is right from the first call. Set last at start and cleared first at stop.
    pub enabled: u32,
    /// Bits of [`mode`].
    pub mode: u32,
    /// The daemon's own process: never watched.
    pub own_tgid: u32,
    /// Another number after each change of the map `POLICIES`: hooks remember a connection's policy until then.
    pub policies: u32,
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
    /// Hooks in TLS libraries are attached: socket calls look up whether their thread is inside one.
    pub const TLS: u32 = 1 << 4;
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
    /// Up to [`crate::MAX_DEEP`] bytes of every call: for protocols whose messages may begin anywhere in it. A direction that began
    /// as HTTP/2 before the kernel's eyes is followed frame by frame instead, whatever its length.
    pub const DEEP: u32 = 3;
}

/// Cookies of the probes at the beginning of a TLS library's functions: which function it is.
pub mod tls_call {
    /// `SSL_read`: the result is the length.
    pub const READ: u64 = 1;
    /// `SSL_read_ex`: the fourth argument points to the length.
    pub const READ_EX: u64 = 2;
    /// `SSL_write`.
    pub const WRITE: u64 = 3;
    /// `SSL_write_ex`.
    pub const WRITE_EX: u64 = 4;
    /// `SSL_do_handshake`.
    pub const HANDSHAKE: u64 = 5;
    /// `SSL_free`, `SSL_clear`.
    pub const FREE: u64 = 6;
}

/// A record of the small ring `UNDECIDED`: this process waits for a decision on its executable.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Undecided {
    /// Process id in the initial PID namespace.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// Where the running kernel keeps the fields that the programs read: byte offsets in the named structures, from its BTF.
/// The programs' read-only data `OFFSETS`, so that the verifier knows them as constants.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
#[expect(missing_docs, reason = "each name is the structure and the field it stands for")]
pub struct Offsets {
    pub task_files: u32,
    pub task_flags: u32,
    pub task_tgid: u32,
    pub task_signal: u32,
    pub signal_live: u32,
    pub files_count: u32,
    pub files_fdt: u32,
    pub fdt_fd: u32,
    pub fdt_max_fds: u32,
    pub file_inode: u32,
    pub file_private_data: u32,
    pub inode_mode: u32,
    pub inode_ino: u32,
    pub socket_sk: u32,
    pub socket_file: u32,
    pub sk_family: u32,
    pub sk_state: u32,
    pub sk_num: u32,
    pub sk_dport: u32,
    pub sk_daddr: u32,
    pub sk_rcv_saddr: u32,
    pub sk_v6_daddr: u32,
    pub sk_v6_rcv_saddr: u32,
    pub sk_flags: u32,
    pub sk_type: u32,
    pub sk_protocol: u32,
    pub sk_socket: u32,
    pub sk_err: u32,
    pub sk_max_ack_backlog: u32,
    /// Byte that holds the bit field `sk_kern_sock`.
    pub sk_kern_sock: u32,
    /// Its bit in that byte.
    pub sk_kern_sock_mask: u32,
    pub tcp_write_seq: u32,
    pub tcp_copied_seq: u32,
    pub tcp_rcv_nxt: u32,
    pub tcp_snd_una: u32,
    pub tcp_bytes_received: u32,
    pub tcp_bytes_acked: u32,
    pub icsk_ulp_ops: u32,
    pub unix_addr: u32,
    pub unix_peer: u32,
    pub unix_address_len: u32,
    pub unix_address_name: u32,
    /// No offset: 1 if the kernel has the helper `bpf_get_current_task_btf` (5.11).
    pub has_current_task_btf: u32,
}

/// Indices of the one value of the per-CPU array `COUNTERS` (`[u64; COUNT]`).
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
