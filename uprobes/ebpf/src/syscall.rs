//! Mechanism (b): `tp_btf/sys_enter` and `sys_exit`, switching on the call's number.
//!
//! In: the registers of a system call. At enter the descriptor is followed to its socket and noted in `CALLS`; at exit
//! the bytes are there and so is the result. Out: a [`Call`], with the time it began.

use aya_ebpf::programs::BtfTracePointContext;
use sidelight_events::{direction, maps::counter, mechanism};

use crate::{
    conn::ids,
    copy::{self, Buffers, Scratch, layout},
    count,
    kernel::{Direct, Memory, Probe, descriptors, offset},
    maps::CALLS,
    select::{self, Verdict},
    socket::{self, Call, Kind, MSG_OOB, MSG_TRUNC, NOT_THE_STREAM, now},
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

/// A socket call that has begun.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct InFlight {
    begun: Begun,
    scratch: Scratch,
}

/// What was found at its beginning.
#[repr(C)]
#[derive(Clone, Copy)]
struct Begun {
    sk: u64,
    ino: u64,
    begin_ns: u64,
    buffers: Buffers,
    /// Of several messages: bytes moved in all.
    sum: u32,
    direction: u8,
    kind: Kind,
    reserved: [u8; 2],
}

/// A call as its number and arguments describe it.
struct Described {
    direction: u8,
    fd: u64,
    buffers: Buffers,
}

#[inline(always)]
fn describe(regs: *const u8, nr: u64) -> Option<Described> {
    let get = |offset| Direct::read::<u64>(regs, offset).unwrap_or(0);
    let (fd, second, third) = (get(register::DI), get(register::SI), get(register::DX));
    let fourth = || get(register::R10);
    let reads = |buffers| Some(Described { direction: direction::INGRESS, fd, buffers });
    let writes = |buffers| Some(Described { direction: direction::EGRESS, fd, buffers });
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
    if select::process(control, tgid) == Verdict::Leave {
        return 0;
    }
    let regs: *const u8 = ctx.arg(0);
    if !register::is_64_bit::<Direct>(regs) {
        return 0;
    }
    let Some(mut call) = describe(regs, nr) else { return 0 };
    let mut socket = resolve(call.fd);
    if nr == number::SPLICE {
        // One side is a pipe; the socket is the source or the target.
        if socket.is_some() {
            call.direction = direction::INGRESS;
        } else {
            socket = resolve(Direct::read(regs, register::DX).unwrap_or(u64::MAX));
        }
    }
    let Some(Socket { sk, ino, kind }) = socket else { return 0 };
    let begun = Begun {
        sk: sk as u64,
        ino,
        begin_ns: now(),
        buffers: call.buffers,
        sum: 0,
        direction: call.direction,
        kind,
        reserved: [0; 2],
    };
    let pid_tgid = (u64::from(tgid) << 32) | u64::from(tid);
    if CALLS.insert(pid_tgid, InFlight { begun, scratch: Scratch::EMPTY }, 0).is_err() {
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
    let Some(control) = select::enabled() else { return 0 };
    let (tgid, tid) = ids();
    let pid_tgid = (u64::from(tgid) << 32) | u64::from(tid);
    let Some(entry) = CALLS.get_ptr_mut(pid_tgid) else { return 0 };
    let result: i64 = ctx.arg(1);
    let mut len = result as u32;
    if result > 0 && (nr == number::SENDMMSG || nr == number::RECVMMSG) {
        let address = Direct::read(regs, register::SI).unwrap_or(0);
        let Some(sum) = copy::messages_len(address, len) else {
            count::add(counter::UNRESOLVED, 1);
            let _ = CALLS.remove(pid_tgid);
            return 0;
        };
        // Both go through memory that the verifier does not track: having counted, it knows each value they can have, and
        // would follow all of them through the rest of the program.
        // SAFETY: `entry` points to a value of the map, which only this thread uses.
        unsafe {
            (&raw mut (*entry).begun.buffers.count).write_volatile(len);
            (&raw mut (*entry).begun.sum).write_volatile(sum);
            len = (&raw const (*entry).begun.sum).read_volatile();
        }
    }
    if result > 0 {
        // SAFETY: as above; volatile for the same reason.
        let (begun, scratch) = unsafe { ((&raw const (*entry).begun).read_volatile(), &raw mut (*entry).scratch) };
        let Begun { sk, ino, begin_ns, buffers, kind, direction, .. } = begun;
        let scratch = Some(scratch);
        let call = Call { tgid, tid, direction, mechanism: mechanism::SYSCALL, len, begin_ns, buffers, scratch };
        let verdict = select::process(control, tgid);
        if verdict != Verdict::Leave {
            socket::moved::<Probe>(control, verdict, sk as *const u8, kind, ino, &call);
        }
    }
    let _ = CALLS.remove(pid_tgid);
    0
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

/// A stream socket behind a descriptor.
struct Socket {
    sk: *const u8,
    ino: u64,
    kind: Kind,
}

/// Follows task → files → descriptor table → file → socket → sock. `None`: not open, no stream socket.
#[inline(always)]
fn resolve(fd: u64) -> Option<Socket> {
    let fdt = unresolved(descriptors())?;
    let max: u32 = unresolved(Probe::read(fdt, offset!(fdt_max_fds)))?;
    let fd = fd as u32;
    if fd >= max {
        return None;
    }
    let table: *const u8 = Probe::read(fdt, offset!(fdt_fd))?;
    let file: *const u8 = Probe::read(table, fd as usize * 8)?;
    if file.is_null() {
        return None;
    }
    let inode: *const u8 = unresolved(Probe::read(file, offset!(file_inode)))?;
    if unresolved(Probe::read::<u16>(inode, offset!(inode_mode)))? & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: *const u8 = unresolved(Probe::read(file, offset!(file_private_data)))?;
    let sk: *const u8 = unresolved(Probe::read(socket, offset!(socket_sk)))?;
    let kind = socket::classify::<Probe>(sk)?;
    Some(Socket { sk, ino: unresolved(Probe::read(inode, offset!(inode_ino)))?, kind })
}

/// Counts a step that should have worked.
#[inline(always)]
fn unresolved<T>(step: Option<T>) -> Option<T> {
    if step.is_none() {
        count::add(counter::UNRESOLVED, 1);
    }
    step
}
