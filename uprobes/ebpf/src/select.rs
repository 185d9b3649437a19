//! Selection: whose calls are looked at. The rules of `maps::select`, applied before anything else is read.

use sidelight_events::maps::{Control, mode, select};

use crate::maps::{CONTROL, OWN_TUPLES, PORTS, PROCS};

const ONLY: u32 = select::ONLY | select::ONLY_TREE | select::ONLY_EXE;
const EXCEPT: u32 = select::EXCEPT | select::EXCEPT_TREE | select::EXCEPT_EXE;

/// What selection says of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// Not watched, whatever the port.
    Leave = 0,
    /// Watched if one of the connection's ports is selected.
    ByPort = 1,
    /// Watched unless one of the connection's ports is excepted.
    Watch = 2,
    /// User space has not decided yet.
    Undecided = 3,
}

impl Verdict {
    /// The verdict with this number; `Undecided` where there is none.
    #[inline(always)]
    pub fn from_code(code: u32) -> Self {
        match code {
            1 => Self::ByPort,
            2 => Self::Watch,
            _ => Self::Undecided,
        }
    }
}

/// Addresses and ports of a connection, as its owner sees them.
///
/// In words: the compiler would clear bytes with a loop in a function of its own, which verifiers before 6.5 pay for dearly
/// (a program with functions has no imprecise scalars there, so almost no two states are alike).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tuple {
    /// Local address, IPv4 as `::ffff:a.b.c.d`.
    pub local_addr: [u32; 4],
    /// Remote address.
    pub remote_addr: [u32; 4],
    /// Local port, host order.
    pub local_port: u32,
    /// Remote port, host order.
    pub remote_port: u32,
}

/// What user space told the hooks; `None` only if the map is broken.
#[inline(always)]
pub fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// As [`control`], but only while capture is on.
#[inline(always)]
pub fn enabled() -> Option<&'static Control> {
    control().filter(|control| control.enabled != 0)
}

/// What selection says of this process.
#[inline(always)]
pub fn process(control: &Control, tgid: u32) -> Verdict {
    if tgid == control.own_tgid {
        return Verdict::Leave;
    }
    // SAFETY: a u32 is read whole; a concurrent change is seen by the next call.
    let bits = unsafe { PROCS.get(tgid) }.copied().unwrap_or(0);
    if bits & EXCEPT != 0 {
        Verdict::Leave
    } else if bits & select::UNDECIDED != 0 {
        Verdict::Undecided
    } else if bits & ONLY != 0 || control.mode & mode::DEFAULT_ALL != 0 {
        Verdict::Watch
    } else if control.mode & mode::PORTS != 0 {
        Verdict::ByPort
    } else {
        Verdict::Leave
    }
}

/// Joins the process's verdict with the ports of the connection.
#[inline(always)]
pub fn connection(control: &Control, process: Verdict, local: u16, remote: u16) -> bool {
    if control.mode & mode::PORTS == 0 {
        return process == Verdict::Watch;
    }
    // SAFETY: written by user space before capture begins, only read here.
    let bits = unsafe { PORTS.get(local).copied().unwrap_or(0) | PORTS.get(remote).copied().unwrap_or(0) };
    bits & EXCEPT == 0 && (process == Verdict::Watch || bits & ONLY != 0)
}

/// The connection is the other end of one of the daemon's own.
#[inline(always)]
pub fn is_other_end_of_own(tuple: &Tuple) -> bool {
    // SAFETY: only the presence of the value is looked at.
    unsafe { OWN_TUPLES.get(tuple) }.is_some()
}
