//! Reading the ring.
//!
//! In: the memory the hooks write to. Out: records as bytes, aligned to 8, in the order of their reservation.

use aya::maps::{MapData, RingBuf};

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
            each(&record);
            count += 1;
        }
        count
    }
}
