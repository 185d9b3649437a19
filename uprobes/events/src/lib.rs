//! The event ABI: what the eBPF programs write to the ring and user space reads, byte for byte.
//!
//! In: nothing. Out: `#[repr(C)]` records of fixed-width integers (no `bool`, enum, `Option`, `usize` or pointer), the
//! constants that give their codes a meaning, and the layout of the maps both sides share ([`maps`]). With feature `user`,
//! [`Event::parse`] turns ring bytes into typed views without copying, and refuses anything that does not fit.
//!
//! Every record begins with the byte `kind`. All integers are little-endian on the wire (the programs are built for
//! `bpfel`). A recording stores exactly these records; [`ABI_VERSION`] changes with any change of layout or meaning.

#![no_std]
#![forbid(unsafe_code)]

pub mod maps;
#[cfg(feature = "user")]
mod view;

#[cfg(feature = "user")]
pub use view::{Event, Malformed};

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the records below; stands in the header of every recording.
pub const ABI_VERSION: u32 = 1;

/// The most payload bytes one `Data` record carries; the rest of a longer call is CUT, with its true length.
pub const MAX_CAPTURE: usize = 16 * 1024;

/// The most payload bytes of one call, in several records, of a connection whose policy is [`maps::policy::DEEP`].
pub const MAX_DEEP: usize = 128 * 1024;

/// Values of the `kind` byte.
pub mod kind {
    /// [`super::DataHeader`] followed by `cap_len` payload bytes.
    pub const DATA: u8 = 1;
    /// [`super::Open`].
    pub const OPEN: u8 = 2;
    /// [`super::Close`].
    pub const CLOSE: u8 = 3;
    /// [`super::Process`].
    pub const PROCESS: u8 = 4;
    /// [`super::TlsBind`].
    pub const TLS_BIND: u8 = 5;
    /// [`super::TlsFree`].
    pub const TLS_FREE: u8 = 6;
    /// [`super::Mark`].
    pub const MARK: u8 = 7;
}

/// Values of `direction`, as the owner of the socket sees it.
pub mod direction {
    /// Bytes the process reads.
    pub const INGRESS: u8 = 0;
    /// Bytes the process writes.
    pub const EGRESS: u8 = 1;
}

/// Values of `layer`: where in the stack the bytes were seen.
pub mod layer {
    /// The argument of a socket call.
    pub const SOCKET: u8 = 0;
    /// The plaintext argument of a TLS library call; offsets count plaintext bytes of this TLS object.
    pub const TLS: u8 = 1;
    /// A packet of a capture file; offsets are TCP sequence numbers, the order is the network's.
    pub const PACKET: u8 = 2;
}

/// Values of `mechanism`: which hook saw the bytes.
pub mod mechanism {
    /// `tp_btf/sock_send_length`, `tp_btf/sock_recv_length`.
    pub const SOCK_LENGTH: u8 = 1;
    /// `tp_btf/sys_enter` and `tp_btf/sys_exit`.
    pub const SYSCALL: u8 = 2;
    /// Uprobes on OpenSSL's libssl.
    pub const OPENSSL: u8 = 3;
    /// A capture file.
    pub const PCAP: u8 = 4;
}

/// Bits of `DataHeader::flags`.
pub mod flags {
    /// `cap_len < true_len`: only the first bytes were copied.
    pub const CUT: u16 = 1;
    /// The payload, or part of it, could not be read from user memory.
    pub const FAULT: u16 = 1 << 1;
    /// Nothing was copied on purpose (sendfile, splice, policy `lengths`, MSG_TRUNC): a known length without bytes.
    pub const LENGTH_ONLY: u16 = 1 << 2;
    /// `offset` and `other` are 32-bit TCP sequence numbers, to be widened by the reader.
    pub const SEQ32: u16 = 1 << 3;
    /// The call does not begin where the last one seen in this direction ended: another thread moved bytes meanwhile, and
    /// `offset` may be wrong, or a call between them was not seen (another process's, say).
    pub const CONTENDED: u16 = 1 << 4;
}

/// A connection: the `struct sock` address and the inode number of its socket (sock addresses are reused, inodes tell
/// the difference). All zero: not bound to a connection (TLS plaintext before its [`TlsBind`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ConnKey {
    /// Kernel address of the `struct sock`; an opaque number.
    pub sock: u64,
    /// Inode number of the socket in sockfs.
    pub ino: u64,
}

/// Bytes moved by one call, in one direction. Followed by `cap_len` bytes of payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct DataHeader {
    /// [`kind::DATA`].
    pub kind: u8,
    /// [`direction`].
    pub direction: u8,
    /// [`layer`].
    pub layer: u8,
    /// [`mechanism`].
    pub mechanism: u8,
    /// [`flags`].
    pub flags: u16,
    /// Zero.
    pub reserved: u16,
    /// Bytes copied behind this header: at most [`MAX_CAPTURE`] (older recordings: [`MAX_DEEP`]), never more than `true_len`.
    pub cap_len: u32,
    /// Bytes the call really moved.
    pub true_len: u32,
    /// The connection; zero for TLS plaintext not yet bound.
    pub conn: ConnKey,
    /// Process (thread group) id in the initial PID namespace.
    pub tgid: u32,
    /// Thread id in the initial PID namespace.
    pub tid: u32,
    /// Goroutine or asynchronous task, else 0.
    pub task: u64,
    /// The TLS library's object (its address in the process), 0 on the socket layer.
    pub tls: u64,
    /// CLOCK_MONOTONIC ns when the call began; 0 where the mechanism has no entry hook.
    pub begin_ns: u64,
    /// CLOCK_MONOTONIC ns when the call returned.
    pub end_ns: u64,
    /// Position of the first byte in its own direction: TCP sequence with SEQ32, else a 64-bit count from 0.
    pub offset: u64,
    /// For reads, the egress position of the same layer at that moment (same unit as `offset`); for writes 0.
    pub other: u64,
    /// TCP sequence number of the call's first byte on the wire in this direction (`copied_seq`/`write_seq` at the call;
    /// for TLS events of the bound socket at the call); 0 where there is none.
    pub wire_seq: u32,
    /// Zero.
    pub reserved2: u32,
}

/// A connection is first seen (created, or older than the daemon). Comes before its first `Data` in time, not always in
/// ring order. Sent again when the kernel side forgot that it sent it: readers must accept repeats.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Open {
    /// [`kind::OPEN`].
    pub kind: u8,
    /// [`family`].
    pub family: u8,
    /// [`role`]: who began the connection, where the kernel knows.
    pub role: u8,
    /// IPPROTO_TCP (6), IPPROTO_MPTCP (262 & 0xff = 6: see `flags`), 0 for Unix sockets.
    pub protocol: u8,
    /// Bits of [`open_flags`].
    pub flags: u16,
    /// Local port, host byte order; 0 for Unix sockets.
    pub local_port: u16,
    /// Remote port, host byte order; 0 for Unix sockets.
    pub remote_port: u16,
    /// Zero.
    pub reserved: u16,
    /// Process that caused this record.
    pub tgid: u32,
    /// The connection.
    pub conn: ConnKey,
    /// CLOCK_MONOTONIC ns of this record.
    pub time_ns: u64,
    /// Egress position when this record was made (same unit as `DataHeader::offset`), before the call that caused it.
    pub egress: u64,
    /// Ingress position when this record was made, before the call that caused it.
    pub ingress: u64,
    /// Local IPv6 address, or IPv4-mapped (`::ffff:a.b.c.d`); zero for Unix sockets.
    pub local_addr: [u8; 16],
    /// Remote address, in the same form.
    pub remote_addr: [u8; 16],
    /// First 32 bytes of the Unix socket's path on the bound side (NUL-padded; abstract names begin with NUL), else zero.
    pub unix_path: [u8; 32],
}

/// Values of `Open::family`.
pub mod family {
    /// AF_UNIX.
    pub const UNIX: u8 = 1;
    /// AF_INET.
    pub const INET: u8 = 2;
    /// AF_INET6.
    pub const INET6: u8 = 10;
}

/// Values of `Open::role`.
pub mod role {
    /// The kernel cannot tell (older than the daemon, Unix sockets).
    pub const UNKNOWN: u8 = 0;
    /// This side connected.
    pub const CLIENT: u8 = 1;
    /// This side accepted.
    pub const SERVER: u8 = 2;
}

/// Bits of `Open::flags`.
pub mod open_flags {
    /// `egress` and `ingress` are 32-bit TCP sequence numbers.
    pub const SEQ32: u16 = 1;
    /// The connection was seen from its first byte on.
    pub const FROM_START: u16 = 1 << 1;
    /// Multipath TCP: offsets are counted, not TCP sequences.
    pub const MPTCP: u16 = 1 << 2;
}

/// One or both directions of a connection ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Close {
    /// [`kind::CLOSE`].
    pub kind: u8,
    /// Bits of [`ended`].
    pub ended: u8,
    /// [`how`].
    pub how: u8,
    /// Bit 0 (SEQ32): positions are 32-bit TCP sequence numbers; bit 1: positions are valid.
    pub flags: u8,
    /// Zero.
    pub reserved: u32,
    /// The connection.
    pub conn: ConnKey,
    /// CLOCK_MONOTONIC ns.
    pub time_ns: u64,
    /// Egress position at the end: everything before it was written.
    pub egress: u64,
    /// Ingress position at the end: everything before it arrived (it may not have been read).
    pub ingress: u64,
}

/// Bits of `Close::ended`.
pub mod ended {
    /// No more will be read.
    pub const INGRESS: u8 = 1;
    /// No more will be written.
    pub const EGRESS: u8 = 2;
    /// The connection is gone.
    pub const BOTH: u8 = 3;
}

/// Values of `Close::how`.
pub mod how {
    /// FIN, or an orderly close of a socket without FIN.
    pub const FIN: u8 = 1;
    /// RST or an error.
    pub const RESET: u8 = 2;
    /// The `struct sock` now belongs to another socket; when this one ended is unknown.
    pub const REUSED: u8 = 3;
}

/// Bits of `Close::flags`.
pub mod close_flags {
    /// Positions are 32-bit TCP sequence numbers.
    pub const SEQ32: u8 = 1;
    /// Positions are valid.
    pub const POSITIONS: u8 = 1 << 1;
}

/// A watched process began, replaced its program, or ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Process {
    /// [`kind::PROCESS`].
    pub kind: u8,
    /// [`life`].
    pub life: u8,
    /// Zero.
    pub reserved: u16,
    /// Process id in the initial PID namespace.
    pub tgid: u32,
    /// Parent's process id (fork only).
    pub parent: u32,
    /// Zero.
    pub reserved2: u32,
    /// CLOCK_MONOTONIC ns.
    pub time_ns: u64,
    /// The kernel's `comm`, NUL-padded.
    pub comm: [u8; 16],
}

/// Values of `Process::life`.
pub mod life {
    /// Created by fork or clone.
    pub const FORK: u8 = 1;
    /// Replaced its program.
    pub const EXEC: u8 = 2;
    /// Ended (its last thread).
    pub const EXIT: u8 = 3;
}

/// While inside a TLS library's read, write or handshake of object `tls`, a thread used this connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct TlsBind {
    /// [`kind::TLS_BIND`].
    pub kind: u8,
    /// [`direction`] that is bound.
    pub direction: u8,
    /// 1: the object was bound to another connection in this direction before (a conflict; neither is exported).
    pub conflict: u8,
    /// Zero.
    pub reserved: u8,
    /// Process.
    pub tgid: u32,
    /// TLS object.
    pub tls: u64,
    /// Connection.
    pub conn: ConnKey,
    /// CLOCK_MONOTONIC ns.
    pub time_ns: u64,
}

/// A TLS object was freed (or reused for a new connection): its bindings end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct TlsFree {
    /// [`kind::TLS_FREE`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Process.
    pub tgid: u32,
    /// TLS object.
    pub tls: u64,
    /// CLOCK_MONOTONIC ns.
    pub time_ns: u64,
}

/// A point in time of a thread or task without payload (context switches of tasks, later); kept in the ABI from the start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Mark {
    /// [`kind::MARK`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Meaning of `value`.
    pub code: u32,
    /// Task the thread works for from now on.
    pub task: u64,
    /// Depends on `code`.
    pub value: u64,
    /// CLOCK_MONOTONIC ns.
    pub time_ns: u64,
}

const _: () = {
    assert!(size_of::<ConnKey>() == 16);
    assert!(size_of::<DataHeader>() == 96);
    assert!(size_of::<Open>() == 120);
    assert!(size_of::<Close>() == 48);
    assert!(size_of::<Process>() == 40);
    assert!(size_of::<TlsBind>() == 40);
    assert!(size_of::<TlsFree>() == 24);
    assert!(size_of::<Mark>() == 40);
};
