//! Keeps an internal event that repeats from flooding the log.
//!
//! In: one call per event. Out: whether to write it, and how many were not written since the last one.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// One line of a kind in this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// One per kind of event.
#[derive(Debug)]
pub(crate) struct Repeat {
    /// Milliseconds since the first event of the process from which on the next line may be written.
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl Repeat {
    pub(crate) const fn new() -> Self {
        Self { next: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// `Some(n)`: write it, n were suppressed since the last one. `None`: do not.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(now())
    }

    fn admit_at(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let interval = u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let due = now >= next
            && self.next.compare_exchange(next, now + interval, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if due {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how often a line is logged is no part of what the pipeline computes")]
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_within_the_interval_are_counted_and_told_with_the_next_line() {
        let repeat = Repeat::new();
        assert_eq!(repeat.admit_at(5), Some(0));
        assert_eq!(repeat.admit_at(6), None);
        assert_eq!(repeat.admit_at(10_004), None);
        assert_eq!(repeat.admit_at(10_005), Some(2));
        assert_eq!(repeat.admit_at(10_006), None);
    }
}
