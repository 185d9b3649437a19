//! Mechanism (b): `tp_btf/sys_enter` and `sys_exit`, switching on the call's number.
//!
//! In: the registers of a system call. At enter the time is noted in `CALLS` and, if other tasks have the same descriptors
//! and may close or replace this one during the call, the socket it stands for. At exit the bytes are there and so is the
//! result. Out: a [`Call`], with the time it began.

use aya_ebpf::{EbpfContext, programs::BtfTracePointContext};
use sidelight_events::{direction, maps::counter, mechanism};

use crate::{
    conn::ids,
    copy::{self, Buffers, Scratch, layout},
    count,
    deep::Hook,
    kernel::{Direct, Files, Memory, Probe, offset},
    maps::{CALLS, WORKING},
    select::{self, Verdict},
    socket::{self, Call, MSG_OOB, MSG_TRUNC, NOT_THE_STREAM, now},
};

/// Numbers of the system calls that move bytes through sockets (x86-64).
pub mod number {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const READV: u64 = 19;
    pub const WRITEV: u64 = 20;
    pub const SENDFILE: u64 = 40;
    pub const SENDTO: u64 = 44;
    pub const RECVFROM: u64 = 45;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
    pub const SPLICE: u64 = 275;
    pub const RECVMMSG: u64 = 299;
    pub const SENDMMSG: u64 = 307;
    pub const PREADV2: u64 = 327;
    pub const PWRITEV2: u64 = 328;
}

/// Offsets in `struct pt_regs` (x86-64; they are ABI).
pub mod register {
    use crate::kernel::Memory;

    pub const R10: usize = 56;
    pub const DX: usize = 96;
    pub const SI: usize = 104;
    pub const DI: usize = 112;
    pub const ORIG_AX: usize = 120;
    const CS: usize = 136;
    /// `__USER_CS`; 32-bit callers have another, and other call numbers.
    const USER_CS: u16 = 0x33;

    /// The caller runs 64-bit code.
    #[inline(always)]
    pub fn is_64_bit<M: Memory>(regs: *const u8) -> bool {
        M::read::<u16>(regs, CS) == Some(USER_CS)
    }
}

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// A watched call that has begun.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct InFlight {
    begin_ns: u64,
    sk: u64,
    ino: u64,
    /// One of [`socket_of`].
    socket: u32,
    /// A [`Verdict`].
    verdict: u32,
}

/// Values of `InFlight::socket`.
mod socket_of {
    /// No call, or not a socket's.
    pub const NONE: u32 = 0;
    /// Nobody else has the descriptors: what they stand for at the end is what they stood for.
    pub const AT_EXIT: u32 = 1;
    /// `sk` and `ino` are those of the first descriptor.
    pub const FIRST: u32 = 2;
    /// `sk` and `ino` are those of splice's second one.
    pub const SECOND: u32 = 3;
}

/// What is known of a call at its end, in memory that the verifier does not track: it would follow each way by which a value
/// came about, and each value that something counted can have, through the rest of the program.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Working {
    buffers: Buffers,
    sk: u64,
    ino: u64,
    len: u32,
    direction: u8,
    reserved: [u8; 3],
    scratch: Scratch,
}

/// A call as its number and arguments describe it.
struct Described {
    direction: u8,
    buffers: Buffers,
}

#[inline(always)]
fn describe(regs: *const u8, nr: u64) -> Option<Described> {
    let get = |offset| Direct::read::<u64>(regs, offset).unwrap_or(0);
    let (second, third) = (get(register::SI), get(register::DX));
    let fourth = || get(register::R10);
    let reads = |buffers| Some(Described { direction: direction::INGRESS, buffers });
    let writes = |buffers| Some(Described { direction: direction::EGRESS, buffers });
    let receives = |flags: u64, buffers| match flags as i32 {
        flags if flags & NOT_THE_STREAM != 0 => None,
        flags if flags & MSG_TRUNC != 0 => reads(Buffers::NONE),
        _ => reads(buffers),
    };
    let sends = |flags: u64, buffers| writes(if flags as i32 & MSG_OOB != 0 { Buffers::NONE } else { buffers });
    let messages = Buffers { kind: layout::MESSAGES, count: third as u32, address: second };
    match nr {
        number::READ => reads(Buffers::flat(second)),
        number::WRITE => writes(Buffers::flat(second)),
        number::READV | number::PREADV2 => reads(Buffers::vector(second, third)),
        number::WRITEV | number::PWRITEV2 => writes(Buffers::vector(second, third)),
        number::RECVFROM => receives(fourth(), Buffers::flat(second)),
        number::SENDTO => sends(fourth(), Buffers::flat(second)),
        number::RECVMSG => receives(third, Buffers::message(second)),
        number::SENDMSG => sends(third, Buffers::message(second)),
        number::RECVMMSG => receives(fourth(), messages),
        number::SENDMMSG => sends(fourth(), messages),
        number::SENDFILE | number::SPLICE => writes(Buffers::NONE),
        _ => None,
    }
}

/// The hook at the beginning of every system call.
#[inline(always)]
pub fn enter(ctx: &BtfTracePointContext) -> i32 {
    let nr: u64 = ctx.arg(1);
    if !is_watched(nr) {
        return 0;
    }
    let Some(control) = select::enabled() else { return 0 };
    let (tgid, tid) = ids();
    let verdict = select::process(control, tgid);
    if verdict == Verdict::Leave {
        return 0;
    }
    let regs: *const u8 = ctx.arg(0);
    let mut call = InFlight { begin_ns: now(), sk: 0, ino: 0, socket: socket_of::NONE, verdict: verdict as u32 };
    match unresolved(Files::current()) {
        Some(files) if files.users == 1 => call.socket = socket_of::AT_EXIT,
        Some(files) => {
            if let Some(Socket { sk, ino, which }) = either(&files, regs, nr) {
                (call.sk, call.ino, call.socket) = (sk as u64, ino, which);
            }
        }
        None => {}
    }
    let thread = (u64::from(tgid) << 32) | u64::from(tid);
    if let Some(entry) = CALLS.get_ptr_mut(thread) {
        // SAFETY: `entry` points to a value of the map, which only this thread uses.
        unsafe { *entry = call };
    } else if call.socket != socket_of::NONE && CALLS.insert(thread, call, 0).is_err() {
        count::add(counter::MAP_FULL, 1);
    }
    0
}

/// The hook at the end of every system call.
#[inline(always)]
pub fn exit(ctx: &BtfTracePointContext) -> i32 {
    let regs: *const u8 = ctx.arg(0);
    let nr = Direct::read::<u64>(regs, register::ORIG_AX).unwrap_or(u64::MAX);
    if !is_watched(nr) {
        return 0;
    }
    let (tgid, tid) = ids();
    let Some(entry) = CALLS.get_ptr_mut((u64::from(tgid) << 32) | u64::from(tid)) else { return 0 };
    // SAFETY: `entry` points to a value of the map, which only this thread uses.
    let call = unsafe { entry.read_volatile() };
    if call.socket == socket_of::NONE {
        return 0;
    }
    // SAFETY: as above.
    unsafe { (*entry).socket = socket_of::NONE };
    let result: i64 = ctx.arg(1);
    if result <= 0 {
        return 0;
    }
    let Some(control) = select::enabled() else { return 0 };
    let mut verdict = Verdict::from_code(call.verdict);
    if verdict == Verdict::Undecided {
        verdict = select::process(control, tgid);
        if verdict == Verdict::Leave {
            return 0;
        }
    }
    let Some(working) = WORKING.get_ptr_mut(0) else { return 0 };
    // SAFETY: the element is this program's alone until it ends, see `WORKING`.
    if !unsafe { found(&mut *working, regs, nr, &call) } {
        return 0;
    }
    if nr == number::SENDMMSG || nr == number::RECVMMSG {
        let address = Direct::read(regs, register::SI).unwrap_or(0);
        let Some(sum) = copy::messages_len(address, result as u32) else {
            count::add(counter::UNRESOLVED, 1);
            return 0;
        };
        // SAFETY: as above.
        unsafe {
            (&raw mut (*working).buffers.count).write_volatile(result as u32);
            (&raw mut (*working).len).write_volatile(sum);
        }
    } else {
        // SAFETY: as above.
        unsafe { (&raw mut (*working).len).write_volatile(result as u32) };
    }
    // SAFETY: as above.
    let (sk, ino, len, direction, buffers, scratch) = unsafe {
        (
            (&raw const (*working).sk).read_volatile(),
            (&raw const (*working).ino).read_volatile(),
            (&raw const (*working).len).read_volatile(),
            (&raw const (*working).direction).read_volatile(),
            (&raw const (*working).buffers).read_volatile(),
            Some(&raw mut (*working).scratch),
        )
    };
    let begin_ns = call.begin_ns;
    let (hook, ctx) = (Hook::Exit, ctx.as_ptr());
    let call = Call { tgid, tid, direction, mechanism: mechanism::SYSCALL, len, begin_ns, buffers, scratch, hook, ctx };
    socket::moved::<Probe>(control, verdict, sk as *const u8, None, ino, &call);
    0
}

/// Describes the call and finds its socket; false if there is nothing to be seen.
#[inline(always)]
fn found(working: &mut Working, regs: *const u8, nr: u64, call: &InFlight) -> bool {
    if !register::is_64_bit::<Direct>(regs) {
        return false;
    }
    let Some(Described { mut direction, buffers }) = describe(regs, nr) else { return false };
    let mut socket = Socket { sk: call.sk as *const u8, ino: call.ino, which: call.socket };
    if call.socket == socket_of::AT_EXIT {
        let Some(found) = unresolved(Files::current()).and_then(|files| either(&files, regs, nr)) else { return false };
        socket = found;
    }
    if nr == number::SPLICE && socket.which == socket_of::FIRST {
        direction = direction::INGRESS;
    }
    // SAFETY: plain places in a map.
    unsafe {
        (&raw mut working.sk).write_volatile(socket.sk as u64);
        (&raw mut working.ino).write_volatile(socket.ino);
        (&raw mut working.direction).write_volatile(direction);
        (&raw mut working.buffers).write_volatile(buffers);
    }
    true
}

#[inline(always)]
fn is_watched(nr: u64) -> bool {
    matches!(
        nr,
        number::READ
            | number::WRITE
            | number::READV
            | number::WRITEV
            | number::SENDFILE
            | number::SENDTO
            | number::RECVFROM
            | number::SENDMSG
            | number::RECVMSG
            | number::SPLICE
            | number::RECVMMSG
            | number::SENDMMSG
            | number::PREADV2
            | number::PWRITEV2
    )
}

/// A socket behind a descriptor.
struct Socket {
    sk: *const u8,
    ino: u64,
    /// `FIRST` or `SECOND` of [`socket_of`].
    which: u32,
}

/// The call's socket. Of splice one side is a pipe; the socket is the source or the target.
#[inline(always)]
fn either(files: &Files, regs: *const u8, nr: u64) -> Option<Socket> {
    let descriptor = |register| Direct::read::<u64>(regs, register).unwrap_or(u64::MAX) as u32;
    let first = resolve(files, descriptor(register::DI));
    if first.is_some() || nr != number::SPLICE {
        return first;
    }
    let second = resolve(files, descriptor(register::DX))?;
    Some(Socket { which: socket_of::SECOND, ..second })
}

/// Follows descriptor → file → socket → sock. `None`: not open, no socket.
#[inline(always)]
fn resolve(files: &Files, fd: u32) -> Option<Socket> {
    if fd >= files.max {
        return None;
    }
    let file: *const u8 = Probe::read(files.table, fd as usize * 8)?;
    if file.is_null() {
        return None;
    }
    let inode: *const u8 = unresolved(Probe::read(file, offset!(file_inode)))?;
    if unresolved(Probe::read::<u16>(inode, offset!(inode_mode)))? & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: *const u8 = unresolved(Probe::read(file, offset!(file_private_data)))?;
    let sk: *const u8 = unresolved(Probe::read(socket, offset!(socket_sk)))?;
    if sk.is_null() {
        return None;
    }
    Some(Socket { sk, ino: unresolved(Probe::read(inode, offset!(inode_ino)))?, which: socket_of::FIRST })
}

/// Counts a step that should have worked.
#[inline(always)]
fn unresolved<T>(step: Option<T>) -> Option<T> {
    if step.is_none() {
        count::add(counter::UNRESOLVED, 1);
    }
    step
}
