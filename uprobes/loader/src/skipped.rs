//! Runs of our programs that the kernel skipped because the same program was running on that CPU already.
//!
//! In: the loaded programs. Out: one number. No hook sees such a call, so no counter of theirs has it: the kernel's own
//! `recursion_misses` does (`bpf_prog_show_fdinfo`, Linux 5.12). Calls of processes that are not watched are in it too.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::Ebpf;

/// The sum over all programs of the object; programs of which the kernel does not say count nothing.
pub(crate) fn runs(ebpf: &Ebpf) -> u64 {
    ebpf.programs().filter_map(|(_, program)| of(program.fd().ok()?.as_fd())).sum()
}

fn of(program: BorrowedFd<'_>) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?;
    misses(&text)
}

fn misses(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_count_is_read() {
        let text =
            "pos:\t0\nflags:\t02000002\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t17\nverified_insns:\t94\n";
        assert_eq!(misses(text), Some(17));
        assert_eq!(misses("pos:\t0\nprog_type:\t26\n"), None, "before 5.12");
    }
}
