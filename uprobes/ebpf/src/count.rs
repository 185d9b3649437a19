//! Counting, and the ledger of the ring: each record attempted is submitted, or lost for one counted reason.

use core::arch::asm;

use aya_ebpf::helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_reserve, bpf_ringbuf_submit};
use sidelight_events::maps::counter;

use crate::maps::{COUNTERS, RING};

/// User space looks at the ring every few milliseconds; waking it costs the traced thread 5 µs.
const NO_WAKEUP: u64 = 1;

/// Adds to one counter. Atomic, since uprobe programs are preemptible and interrupts run programs of their own.
#[inline(always)]
pub fn add(index: u32, n: u64) {
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return };
    add_at(counters.cast(), index, n);
}

/// Adds to two counters, for one look at the map.
#[inline(always)]
pub fn add_both((first, n): (u32, u64), (second, m): (u32, u64)) {
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return };
    add_at(counters.cast(), first, n);
    add_at(counters.cast(), second, m);
}

#[inline(always)]
fn add_at(counters: *mut u64, index: u32, n: u64) {
    // SAFETY: the value holds COUNT counters, and `index` is a constant below that.
    let counter = unsafe { counters.add(index as usize) };
    // SAFETY: `counter` is a place in a map.
    unsafe { atomic_add(counter, n) };
}

/// The atomic addition every kernel has; `core` offers none for this target.
///
/// # Safety
/// `place` must be a u64 in a map value.
#[inline(always)]
pub unsafe fn atomic_add(place: *mut u64, n: u64) {
    // SAFETY: one instruction, which writes to `place` alone.
    unsafe { asm!("lock *(u64 *)({place} + 0) += {n}", place = in(reg) place, n = in(reg) n, options(nostack)) };
}

/// Reserves `size` bytes (a constant where it is called) in the ring, or counts why not.
#[inline(always)]
pub fn reserve(size: u64) -> Option<*mut u8> {
    // SAFETY: RING is a ring buffer map.
    let place = unsafe { bpf_ringbuf_reserve((&raw const RING).cast_mut().cast(), size, 0) }.cast::<u8>();
    if place.is_null() {
        add_both((counter::ATTEMPTED, 1), (counter::RING_FULL, 1));
        return None;
    }
    Some(place)
}

/// Submits what [`reserve`] gave.
#[inline(always)]
pub fn submit(place: *mut u8) {
    // SAFETY: `place` came from `reserve` and was not submitted yet.
    unsafe { bpf_ringbuf_submit(place.cast(), NO_WAKEUP) };
    add_both((counter::ATTEMPTED, 1), (counter::SUBMITTED, 1));
}

/// Copies a whole small record into the ring; false when it was full.
#[inline(always)]
pub fn send<T: Copy>(record: &T) -> bool {
    let Some(place) = reserve(size_of::<T>() as u64) else { return false };
    // SAFETY: `place` has room for a T and ring places are aligned to 8 bytes.
    unsafe { place.cast::<T>().write(*record) };
    submit(place);
    true
}

/// Copies a record of `size` bytes into the ring; false when it was full.
///
/// # Safety
/// `record` must point to at least so many bytes.
#[inline(always)]
pub unsafe fn output(record: *const u8, size: u32) -> bool {
    let ring = (&raw const RING).cast_mut().cast();
    // SAFETY: RING is a ring buffer map; of the bytes the caller vouches.
    let sent = unsafe { bpf_ringbuf_output(ring, record.cast_mut().cast(), size.into(), NO_WAKEUP) } == 0;
    add_both((counter::ATTEMPTED, 1), (if sent { counter::SUBMITTED } else { counter::RING_FULL }, 1));
    sent
}
