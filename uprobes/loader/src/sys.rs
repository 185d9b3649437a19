//! The only unsafe code of this crate: calls without a safe wrapper.

#![expect(unsafe_code, reason = "calls of the C library")]

/// Gives memory that was freed back to the system: loading parses the kernel's type information, once.
pub(crate) fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions; it only looks at the allocator's own free lists.
    unsafe {
        libc::malloc_trim(0);
    }
}
