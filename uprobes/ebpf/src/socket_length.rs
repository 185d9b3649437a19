//! Mechanism (a): `tp_btf/sock_send_length` and `sock_recv_length`, once per socket call, when it ended.
//!
//! In: the sock, the result, the `MSG_*` flags, and the system call's registers (`bpf_task_pt_regs`, 5.15). Out: a
//! [`Call`]. There is no entry hook, so when the call began is unknown.
//!
//! splice(2) from a socket passes by these tracepoints (`tcp_splice_read` is not `sock_recvmsg`): such bytes are a gap in
//! the positions of TCP, and the next call after them is CONTENDED.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    programs::BtfTracePointContext,
};
use sidelight_events::{direction, mechanism};

use crate::{
    conn,
    copy::Buffers,
    deep::Hook,
    kernel::{Direct, Memory, offset},
    select::{self, Verdict},
    socket::{self, Call, MSG_OOB, MSG_TRUNC, NOT_THE_STREAM},
    syscall::{number, register},
};

/// PF_IO_WORKER, PF_KTHREAD: threads without a system call of their own.
const PF_NO_CALL: u32 = 0x10 | 0x20_0000;

/// Both hooks.
#[inline(always)]
pub fn ended(ctx: &BtfTracePointContext, direction: u8) -> i32 {
    let len: i32 = ctx.arg(1);
    if len <= 0 {
        return 0;
    }
    let msg_flags: i32 = ctx.arg(2);
    if direction == direction::INGRESS && msg_flags & NOT_THE_STREAM != 0 {
        return 0;
    }
    let Some(control) = select::enabled() else { return 0 };
    let sk: *const u8 = ctx.arg(0);
    let Some(kind) = socket::classify::<Direct>(sk) else { return 0 };
    let (tgid, tid) = conn::ids();
    let verdict = select::process(control, tgid);
    if verdict == Verdict::Leave {
        return 0;
    }
    let call = Call {
        tgid,
        tid,
        direction,
        mechanism: mechanism::SOCK_LENGTH,
        len: len as u32,
        begin_ns: 0,
        buffers: if msg_flags & MSG_TRUNC != 0 { Buffers::NONE } else { buffers() },
        scratch: None,
        hook: if direction == direction::EGRESS { Hook::Send } else { Hook::Recv },
        ctx: ctx.as_ptr(),
    };
    let ino = conn::ino::<Direct>(sk);
    socket::moved::<Direct>(control, verdict, sk, Some(kind), ino, &call);
    0
}

/// Where the current system call has its bytes.
#[inline(always)]
fn buffers() -> Buffers {
    // SAFETY: the helpers have no preconditions; they give pointers of known type.
    let (task, regs) = unsafe {
        let task = bpf_get_current_task_btf();
        (task.cast::<u8>().cast_const(), bpf_task_pt_regs(task) as *const u8)
    };
    let Some(flags) = Direct::read::<u32>(task, offset!(task_flags)) else { return Buffers::NONE };
    if flags & PF_NO_CALL != 0 || !register::is_64_bit::<Direct>(regs) {
        return Buffers::NONE;
    }
    let get = |offset| Direct::read::<u64>(regs, offset).unwrap_or(0);
    let (nr, second, third) = (get(register::ORIG_AX), get(register::SI), get(register::DX));
    match nr {
        number::READ | number::WRITE | number::RECVFROM => Buffers::flat(second),
        number::SENDTO if get(register::R10) as i32 & MSG_OOB == 0 => Buffers::flat(second),
        number::READV | number::WRITEV | number::PREADV2 | number::PWRITEV2 => Buffers::vector(second, third),
        number::RECVMSG => Buffers::message(second),
        number::SENDMSG if third as i32 & MSG_OOB == 0 => Buffers::message(second),
        // Called once for each message, and nothing tells which one this is.
        number::SENDMMSG | number::RECVMMSG if third == 1 => Buffers::message(second),
        _ => Buffers::NONE,
    }
}
