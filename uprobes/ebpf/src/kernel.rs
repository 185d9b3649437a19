//! Reading kernel structures: offsets from BTF, and the two ways to follow a pointer.

use aya_ebpf::helpers::{
    bpf_probe_read_kernel,
    generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_skc_to_tcp_sock},
};
use sidelight_events::maps::Offsets;

/// Filled in by the loader. Frozen before the programs are verified, so that each offset is a constant to the verifier.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets {
    task_files: 0,
    task_flags: 0,
    task_tgid: 0,
    task_signal: 0,
    signal_live: 0,
    files_count: 0,
    files_fdt: 0,
    fdt_fd: 0,
    fdt_max_fds: 0,
    file_inode: 0,
    file_private_data: 0,
    inode_mode: 0,
    inode_ino: 0,
    socket_sk: 0,
    socket_file: 0,
    sk_family: 0,
    sk_state: 0,
    sk_num: 0,
    sk_dport: 0,
    sk_daddr: 0,
    sk_rcv_saddr: 0,
    sk_v6_daddr: 0,
    sk_v6_rcv_saddr: 0,
    sk_flags: 0,
    sk_type: 0,
    sk_protocol: 0,
    sk_socket: 0,
    sk_err: 0,
    sk_max_ack_backlog: 0,
    sk_kern_sock: 0,
    sk_kern_sock_mask: 0,
    tcp_write_seq: 0,
    tcp_copied_seq: 0,
    tcp_rcv_nxt: 0,
    tcp_snd_una: 0,
    tcp_bytes_received: 0,
    tcp_bytes_acked: 0,
    icsk_ulp_ops: 0,
    unix_addr: 0,
    unix_peer: 0,
    unix_address_len: 0,
    unix_address_name: 0,
    has_current_task_btf: 0,
};

/// The offset of a field, e.g. `offset!(sk_family)`.
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: OFFSETS is a static; volatile, since its value in this file is not the one it has when loaded.
        let offset = unsafe { core::ptr::read_volatile(&raw const $crate::kernel::OFFSETS.$field) };
        offset as usize
    }};
}
pub(crate) use offset;

/// A way to read kernel memory. All pointers are kernel addresses; what cannot be read is `None`.
pub trait Memory {
    /// The `T` that lies `offset` bytes behind `base`.
    fn read<T: Copy>(base: *const u8, offset: usize) -> Option<T>;

    /// The `struct tcp_sock` of a TCP `struct sock`.
    fn tcp(sk: *const u8) -> Option<*const u8>;
}

/// Plain loads through pointers whose type the verifier knows (arguments of tp_btf programs and what they lead to).
pub struct Direct;

impl Memory for Direct {
    #[inline(always)]
    fn read<T: Copy>(base: *const u8, offset: usize) -> Option<T> {
        // SAFETY: the verifier has checked type and offset, and the kernel handles a fault of such a load.
        Some(unsafe { base.add(offset).cast::<T>().read_volatile() })
    }

    #[inline(always)]
    fn tcp(sk: *const u8) -> Option<*const u8> {
        // SAFETY: `sk` is a trusted `struct sock` pointer.
        let tcp = unsafe { bpf_skc_to_tcp_sock(sk.cast_mut().cast()) }.cast::<u8>();
        if tcp.is_null() { None } else { Some(tcp.cast_const()) }
    }
}

/// `bpf_probe_read_kernel`: through any address.
pub struct Probe;

impl Memory for Probe {
    #[inline(always)]
    fn read<T: Copy>(base: *const u8, offset: usize) -> Option<T> {
        // SAFETY: the helper fails on an address that cannot be read.
        unsafe { bpf_probe_read_kernel(base.wrapping_add(offset).cast::<T>()) }.ok()
    }

    #[inline(always)]
    fn tcp(sk: *const u8) -> Option<*const u8> {
        Some(sk)
    }
}

/// The current task's open files.
pub struct Files {
    /// Tasks that have them (`files_struct.count`); who looks at them from outside may count too.
    pub users: u32,
    /// Length of `table`.
    pub max: u32,
    /// By descriptor: pointers to `struct file`.
    pub table: *const u8,
}

impl Files {
    /// `None`: a step that should work did not.
    #[inline(always)]
    pub fn current() -> Option<Self> {
        if offset!(has_current_task_btf) != 0 {
            // SAFETY: has no preconditions.
            Self::of::<Direct>(unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const())
        } else {
            // SAFETY: has no preconditions.
            Self::of::<Probe>(unsafe { bpf_get_current_task() } as *const u8)
        }
    }

    #[inline(always)]
    fn of<M: Memory>(task: *const u8) -> Option<Self> {
        let files: *const u8 = M::read(task, offset!(task_files))?;
        let fdt: *const u8 = M::read(files, offset!(files_fdt))?;
        Some(Self {
            users: M::read(files, offset!(files_count))?,
            max: M::read(fdt, offset!(fdt_max_fds))?,
            table: M::read(fdt, offset!(fdt_fd))?,
        })
    }
}
