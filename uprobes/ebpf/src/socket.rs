//! One handler for every socket call that moved bytes, whatever hook saw it.
//!
//! In: a `struct sock`, what kind it is, and a [`Call`]. Out: `Open` if the connection is new, then one `Data` record,
//! or a counter that says why not.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use sidelight_events::{
    ConnKey, DataHeader, direction, flags, kind, layer,
    maps::{Control, counter, mode, policy},
};

use crate::{
    conn::{self, Missing, Positions},
    copy::{self, Buffers, Scratch, layout},
    count,
    deep::{self, Hook},
    http2::{self, Begin},
    kernel::{Memory, offset},
    select::{self, Verdict},
    tls,
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;

/// `MSG_*` bits of calls that move nothing out of the stream: out-of-band, a look without taking, the error queue.
pub const NOT_THE_STREAM: i32 = 0x1 | 0x2 | 0x2000;
/// `MSG_OOB`.
pub const MSG_OOB: i32 = 0x1;
/// `MSG_TRUNC`: taken from the stream, but not copied to the caller.
pub const MSG_TRUNC: i32 = 0x20;

/// The stream sockets that are watched.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// TCP: positions are its sequence numbers.
    Tcp = 1,
    /// Multipath TCP: positions are counted.
    Mptcp = 2,
    /// AF_UNIX stream: positions are counted.
    Unix = 3,
}

impl Kind {
    /// The kind with this number.
    #[inline(always)]
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Tcp),
            2 => Some(Self::Mptcp),
            3 => Some(Self::Unix),
            _ => None,
        }
    }
}

/// A call that moved bytes.
pub struct Call {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// [`direction`].
    pub direction: u8,
    /// `mechanism`.
    pub mechanism: u8,
    /// Bytes moved.
    pub len: u32,
    /// When it began, 0: unknown.
    pub begin_ns: u64,
    /// Where its bytes are in the process.
    pub buffers: Buffers,
    /// See [`copy::data`].
    pub scratch: Option<*mut Scratch>,
    /// The hook and its context.
    pub hook: Hook,
    pub ctx: *mut c_void,
}

/// CLOCK_MONOTONIC.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// What kind of socket this is; `None`: not one that is watched (datagrams, other families, sockets the kernel opened
/// for itself, whose calls are not the process's own).
#[inline(always)]
pub fn classify<M: Memory>(sk: *const u8) -> Option<Kind> {
    if M::read::<u16>(sk, offset!(sk_type))? != SOCK_STREAM {
        return None;
    }
    let kernel_own: u8 = M::read(sk, offset!(sk_kern_sock))?;
    if u32::from(kernel_own) & offset!(sk_kern_sock_mask) as u32 != 0 {
        return None;
    }
    match M::read::<u16>(sk, offset!(sk_family))? {
        AF_UNIX => Some(Kind::Unix),
        AF_INET | AF_INET6 => match M::read::<u16>(sk, offset!(sk_protocol))? {
            IPPROTO_TCP => Some(Kind::Tcp),
            IPPROTO_MPTCP => Some(Kind::Mptcp),
            _ => None,
        },
        _ => None,
    }
}

/// The handler. `kind`: `None` if nobody has looked yet.
#[inline(always)]
pub fn moved<M: Memory>(control: &Control, verdict: Verdict, sk: *const u8, kind: Option<Kind>, ino: u64, call: &Call) {
    let mut kind = kind;
    if verdict != Verdict::Watch || control.mode & mode::PORTS != 0 {
        let Some(found) = kind.or_else(|| classify::<M>(sk)) else { return };
        if verdict == Verdict::Undecided {
            return count::add(counter::UNDECIDED, 1);
        }
        let (local, remote) = if found == Kind::Unix { (0, 0) } else { conn::ports::<M>(sk) };
        if !select::connection(control, verdict, local, remote) {
            return;
        }
        kind = Some(found);
    }
    let len = u64::from(call.len);
    let key = ConnKey { sock: sk as u64, ino };
    let (conn, kind) = match conn::find::<M>(sk, kind, key) {
        Ok(found) => found,
        Err(Missing::Foreign) => return,
        Err(Missing::Full) => {
            count::add_both((counter::CALLS, 1), (counter::MAP_FULL, 1));
            return count::add_both((counter::BYTES_PRESENTED, len), (counter::BYTES_LOST, len));
        }
    };
    if conn::is_ignored(conn) {
        return;
    }
    let Some(positions) = Positions::after::<M>(sk, kind, conn, call) else {
        count::add_both((counter::CALLS, 1), (counter::BYTES_PRESENTED, len));
        count::add(counter::BYTES_LOST, len);
        return count::add_both((counter::ATTEMPTED, 1), (counter::FAULT, 1));
    };
    conn::announce::<M>(sk, kind, conn, key, call, &positions);
    let egress = call.direction == direction::EGRESS;
    let offset = if egress { positions.egress } else { positions.ingress };
    let wire_seq = if kind == Kind::Tcp { offset as u32 } else { 0 };
    if tls::on_socket_call(control, conn, key, call, wire_seq) {
        return count::add_both((counter::CALLS, 1), (counter::BYTES_CIPHERTEXT, len));
    }
    count::add_both((counter::CALLS, 1), (counter::BYTES_PRESENTED, len));
    let policy = conn::policy(control, conn, key);
    let begin = if positions.first { http2::begins(&call.buffers, call.len) } else { Begin::Other };
    let http2 = conn::is_http2(conn, begin != Begin::Other);
    if policy == policy::IGNORE || positions.unusable {
        return count::add(counter::BYTES_IGNORED, len);
    }
    let header = DataHeader {
        kind: kind::DATA,
        direction: call.direction,
        layer: layer::SOCKET,
        mechanism: call.mechanism,
        flags: if kind == Kind::Tcp { flags::SEQ32 } else { 0 } | positions.flags,
        reserved: 0,
        cap_len: 0,
        true_len: call.len,
        conn: key,
        tgid: call.tgid,
        tid: call.tid,
        task: 0,
        tls: 0,
        begin_ns: call.begin_ns,
        end_ns: now(),
        offset,
        other: if egress { 0 } else { positions.egress },
        wire_seq,
        reserved2: 0,
    };
    let buffers = match policy {
        policy::FULL | policy::DEEP => call.buffers,
        _ => Buffers::NONE,
    };
    let long = policy == policy::DEEP && buffers.are_long(call.len);
    if long || http2 && buffers.kind != layout::MESSAGES {
        deep::hand_over(call.ctx, call.hook, &header, &buffers, begin);
    }
    let lost = copy::data(header, buffers, call.scratch);
    if lost != 0 {
        count::add(counter::BYTES_LOST, u64::from(lost));
    }
}
