//! The system calls that have no safe wrapper: the only module of this crate with `unsafe`.
//!
//! In: checked values. Out: owned descriptors, copied bytes, memory given back.

#![expect(unsafe_code, reason = "system calls and shared memory; each block says why it holds")]

use aya_obj::generated::{bpf_insn, bpf_prog_type::BPF_PROG_TYPE_KPROBE};
use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

/// The first 128 bytes of `struct perf_event_attr`: all that kernels since 5.10 need here. `flags` are its bit fields.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
    aux_sample_size: u32,
    reserved2: u32,
    sig_data: u64,
}

const _: () = assert!(size_of::<PerfEventAttr>() == 128);

const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
const TYPE_SOFTWARE: u32 = 1;
const COUNT_SW_DUMMY: u64 = 9;
const SAMPLE_TIME: u64 = 1 << 2;
/// Bits of `flags`: mmap, comm, task, watermark, sample_id_all, mmap2, comm_exec, use_clockid.
const PROCESS_EVENTS: u64 = 1 << 8 | 1 << 9 | 1 << 13 | 1 << 14 | 1 << 18 | 1 << 23 | 1 << 24 | 1 << 25;

/// Opens a perf event: of all processes on one CPU, or (`cpu` -1) wherever they run.
fn perf_event_open(attr: &mut PerfEventAttr, pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    attr.size = size_of::<PerfEventAttr>() as u32;
    let (group, flags) = (-1i32, PERF_FLAG_FD_CLOEXEC);
    // SAFETY: `attr` is a whole, initialised structure that outlives the call, and says its size.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, ptr::from_mut(attr), pid, cpu, group, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel gave a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The control page of a perf ring, as far as it is used (`struct perf_event_mmap_page`).
#[repr(C)]
struct ControlPage {
    before: [u8; 1024],
    head: AtomicU64,
    tail: AtomicU64,
}

/// A ring of process events (fork, exec, exit, executable mappings) of one CPU.
#[derive(Debug)]
pub(crate) struct PerfRing {
    fd: OwnedFd,
    base: *mut u8,
    page: usize,
    size: usize,
}

// SAFETY: the mapping belongs to this value alone, wherever it is.
unsafe impl Send for PerfRing {}

impl PerfRing {
    /// Opens the ring of `cpu` with `size` bytes, a power of two and at least a page.
    pub(crate) fn open(cpu: i32, size: usize) -> io::Result<Self> {
        let mut attr = PerfEventAttr {
            kind: TYPE_SOFTWARE,
            config: COUNT_SW_DUMMY,
            sample_period: 1,
            sample_type: SAMPLE_TIME,
            flags: PROCESS_EVENTS,
            wakeup_watermark: 1,
            clockid: libc::CLOCK_MONOTONIC,
            ..PerfEventAttr::default()
        };
        let fd = perf_event_open(&mut attr, -1, cpu)?;
        // SAFETY: has no preconditions.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address the kernel chooses.
        let base = unsafe { libc::mmap(ptr::null_mut(), page + size, protection, flags, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { fd, base: base.cast(), page, size })
    }

    /// Appends everything in the ring to `out` and frees its room.
    pub(crate) fn drain(&mut self, out: &mut Vec<u8>) {
        // SAFETY: the first page of the mapping is the control page; its positions are only accessed atomically.
        let control = unsafe { &*self.base.cast::<ControlPage>() };
        let (head, tail) = (control.head.load(Ordering::Acquire), control.tail.load(Ordering::Relaxed));
        let len = usize::try_from(head.wrapping_sub(tail)).unwrap_or(usize::MAX).min(self.size);
        // `size` is a power of two and fits usize.
        let start = (tail % self.size as u64) as usize;
        let first = len.min(self.size - start);
        for (at, len) in [(start, first), (0, len - first)] {
            // SAFETY: `at + len` is at most `size`, and `size` bytes of data follow the control page. The kernel does not
            // write between tail and head.
            out.extend_from_slice(unsafe { std::slice::from_raw_parts(self.base.add(self.page + at), len) });
        }
        control.tail.store(head, Ordering::Release);
    }
}

impl AsFd for PerfRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for PerfRing {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `open`, and nothing borrowed from it outlives a call of `drain`.
        unsafe { libc::munmap(self.base.cast(), self.page + self.size) };
    }
}

/// Attaches a program to `offset` in the file `path`, for every process; dropping the descriptor detaches it. `pmu` is the
/// type of the uprobe event source; `returning` makes it a return probe.
pub(crate) fn attach_uprobe(
    pmu: u32,
    path: &CStr,
    offset: u64,
    returning: bool,
    program: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    // Bit 0 of the event source's config is `retprobe` (its format/retprobe file), since the first kernel with uprobe events.
    let mut attr = PerfEventAttr {
        kind: pmu,
        config: u64::from(returning),
        config1: path.as_ptr() as u64,
        config2: offset,
        ..PerfEventAttr::default()
    };
    let event = perf_event_open(&mut attr, -1, 0)?;
    // SAFETY: both descriptors are open; the request takes a program's descriptor as its argument.
    let set = unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()) };
    if set < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above; the request takes no argument.
    if unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_ENABLE, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(event)
}

const PERF_EVENT_IOC_ENABLE: libc::Ioctl = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;

/// `BPF_TRACE_UPROBE_MULTI`.
const UPROBE_MULTI: u32 = 48;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;

/// The beginning of `union bpf_attr` of `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

const _: () = assert!(size_of::<ProgLoad>() == 72);

/// `union bpf_attr` of `BPF_LINK_CREATE` with its member `uprobe_multi`.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    reference_counters: u64,
    cookies: u64,
    count: u32,
    multi_flags: u32,
    pid: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<LinkCreate>() == 64);

/// A command that makes a descriptor.
///
/// # Safety
/// `attr` must be what the command reads, and what it points to must be there.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` outlives the call and its size is told; the rest is the caller's word.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel gave a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Loads a relocated program that [`attach_uprobe_multi`] takes.
pub(crate) fn load_uprobe_multi(instructions: &[bpf_insn]) -> io::Result<OwnedFd> {
    let mut attr = ProgLoad {
        kind: BPF_PROG_TYPE_KPROBE as u32,
        instruction_count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        licence: c"GPL".as_ptr() as u64,
        attach_type: UPROBE_MULTI,
        ..ProgLoad::default()
    };
    // SAFETY: a slice of instructions and a string, both alive.
    unsafe { bpf(PROG_LOAD, &mut attr) }
}

/// Attaches a program to all `offsets` in the file `path`, for every process; dropping the descriptor detaches it. The program
/// finds the place's cookie, if there are any: then as many as offsets. `returning` makes return probes.
pub(crate) fn attach_uprobe_multi(
    program: BorrowedFd<'_>,
    path: &CStr,
    offsets: &[u64],
    cookies: &[u64],
    returning: bool,
) -> io::Result<OwnedFd> {
    if !cookies.is_empty() && cookies.len() != offsets.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut attr = LinkCreate {
        program: program.as_raw_fd() as u32,
        attach_type: UPROBE_MULTI,
        path: path.as_ptr() as u64,
        offsets: offsets.as_ptr() as u64,
        cookies: if cookies.is_empty() { 0 } else { cookies.as_ptr() as u64 },
        count: u32::try_from(offsets.len()).unwrap_or(u32::MAX),
        // Bit 0: BPF_F_UPROBE_MULTI_RETURN.
        multi_flags: u32::from(returning),
        ..LinkCreate::default()
    };
    // SAFETY: a string and one or two slices of `count` numbers, all alive.
    unsafe { bpf(LINK_CREATE, &mut attr) }
}

/// Gives memory that was freed back to the system: loading parses the kernel's type information, once.
pub(crate) fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions; it only looks at the allocator's own free lists.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Brings these bytes into the cache of this core, without waiting for them.
pub(crate) fn prefetch(place: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it has no effect but on the cache, whatever lies there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(at).cast()) };
    }
}
