//! Life of processes: selection is inherited at fork, decided anew at exec, forgotten at the end.
//!
//! In: the scheduler's tracepoints. Out: the map `PROCS`, `Process` records of watched processes, and the processes whose
//! executable user space must judge.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, generated::bpf_ringbuf_output},
    programs::BtfTracePointContext,
};
use sidelight_events::{
    Process, kind, life,
    maps::{Control, Undecided, counter, mode, select as bits},
};

use crate::{
    conn, count,
    kernel::{Direct, Memory, offset},
    maps::{PROCS, UNDECIDED},
    select::{self, Verdict},
    socket::now,
    tls,
};

const TREE: u32 = bits::ONLY_TREE | bits::EXCEPT_TREE;
const EXE: u32 = bits::ONLY_EXE | bits::EXCEPT_EXE;

/// `sched_process_fork(parent, child)`: in the parent, before the child runs.
#[inline(always)]
pub fn forked(ctx: &BtfTracePointContext) -> i32 {
    let child: *const u8 = ctx.arg(1);
    let Some(child) = Direct::read::<u32>(child, offset!(task_tgid)) else { return 0 };
    let (parent, _) = conn::ids();
    if child == parent {
        return 0;
    }
    // SAFETY: a u32 is read whole.
    let inherited = unsafe { PROCS.get(parent) }.copied().unwrap_or(0) & (TREE | EXE | bits::UNDECIDED);
    if inherited != 0 {
        set(child, inherited);
        if inherited & bits::UNDECIDED != 0 {
            ask(child);
        }
    }
    0
}

/// `sched_process_exec`: in the process, which has its new program.
#[inline(always)]
pub fn executed(_: &BtfTracePointContext) -> i32 {
    let Some(control) = select::control() else { return 0 };
    let (tgid, _) = conn::ids();
    if tgid == control.own_tgid {
        return 0;
    }
    // SAFETY: a u32 is read whole.
    let old = unsafe { PROCS.get(tgid) }.copied();
    let mut new = old.unwrap_or(0) & !EXE;
    if control.mode & mode::DECIDE_ON_EXEC != 0 {
        new |= bits::UNDECIDED;
    }
    if new != old.unwrap_or(0) {
        set(tgid, new);
    }
    if new & bits::UNDECIDED != 0 {
        ask(tgid);
    }
    if is_watched(control, tgid) {
        tell(tgid, life::EXEC);
    }
    0
}

/// `sched_process_exit`: in the task that ends.
#[inline(always)]
pub fn exited(ctx: &BtfTracePointContext) -> i32 {
    let Some(control) = select::control() else { return 0 };
    let (tgid, tid) = conn::ids();
    tls::thread_ended(control, tgid, tid);
    let task: *const u8 = ctx.arg(0);
    let live = || {
        let signal: *const u8 = Direct::read(task, offset!(task_signal))?;
        Direct::read::<i32>(signal, offset!(signal_live))
    };
    if live() != Some(0) {
        return 0;
    }
    let watched = is_watched(control, tgid);
    let known = PROCS.remove(tgid).is_ok();
    if watched && (known || control.mode & mode::DEFAULT_ALL != 0) {
        tell(tgid, life::EXIT);
    }
    0
}

#[inline(always)]
fn is_watched(control: &Control, tgid: u32) -> bool {
    control.enabled != 0
        && control.mode & mode::PROCESS_RECORDS != 0
        && select::process(control, tgid) == Verdict::Watch
}

#[inline(always)]
fn set(tgid: u32, bits: u32) {
    if PROCS.insert(tgid, bits, 0).is_err() {
        count::add(counter::MAP_FULL, 1);
    }
}

/// Asks user space to judge the executable, and wakes it.
#[inline(always)]
fn ask(tgid: u32) {
    let mut question = Undecided { tgid, reserved: 0 };
    // SAFETY: UNDECIDED is a ring buffer map; the record lies on the stack.
    let failed = unsafe {
        bpf_ringbuf_output(
            (&raw const UNDECIDED).cast_mut().cast(),
            (&raw mut question).cast(),
            size_of::<Undecided>() as u64,
            0,
        )
    } != 0;
    if failed {
        count::add(counter::MAP_FULL, 1);
    }
}

#[inline(always)]
fn tell(tgid: u32, life: u8) {
    let comm = bpf_get_current_comm().unwrap_or([0; 16]);
    count::send(&Process {
        kind: kind::PROCESS,
        life,
        reserved: 0,
        tgid,
        parent: 0,
        reserved2: 0,
        time_ns: now(),
        comm,
    });
}
