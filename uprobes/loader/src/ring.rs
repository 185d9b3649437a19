//! Reading the ring.
//!
//! In: the memory the hooks write to. Out: records as bytes, aligned to 8, in the order of their reservation.

use aya::maps::{MapData, RingBuf};

use crate::sys;

/// Bytes of the next record that are fetched ahead: its header and the beginning of what it carries.
const NEXT: usize = 320;

/// The reading end; one thread has it.
pub struct Reader {
    ring: RingBuf<MapData>,
}

impl Reader {
    pub(crate) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }

    /// Hands at most `limit` records to `each` and says how many there were. The bytes end where the hook's reservation
    /// did: trailing bytes are to be ignored, as `Event::parse` does.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < limit {
            let Some(record) = self.ring.next() else { break };
            // Records are rounded up to 8 bytes. The next one was written by another core, and comes while this one is looked at.
            sys::prefetch(record.as_ptr().wrapping_add(record.len().next_multiple_of(8)), NEXT);
            each(&record);
            count += 1;
        }
        count
    }
}
