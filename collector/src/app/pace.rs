//! How long the ring thread sleeps between two looks at the ring.
//!
//! In: what it read since it last slept. Out: the next sleep. Each wake-up takes a core from what is watched, so they are as
//! rare as the ring allows: twice as long as long as that fills less than a quarter of it. New connections want policies, and
//! those want them soon; after a pause nobody knows what follows: both begin with the shortest.

use std::time::Duration;

/// The shortest sleep.
const MIN: Duration = Duration::from_millis(1);
/// The longest while records come: what one costs a policy that is late.
const BUSY: Duration = Duration::from_millis(5);
/// The longest while none come.
const IDLE: Duration = Duration::from_millis(20);

/// What was read since the last sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Bytes of the ring.
    pub(super) bytes: u64,
    /// Connections that were announced.
    pub(super) opened: u64,
}

/// The pace of one ring.
pub(super) struct Pace {
    /// Bytes a sleep may bring.
    target: u64,
    sleep: Duration,
}

impl Pace {
    /// For a ring of so many bytes.
    pub(super) fn new(ring: u32) -> Self {
        Self { target: u64::from(ring) / 4, sleep: MIN }
    }

    /// How long to sleep now.
    pub(super) fn next(&mut self, read: Read) -> Duration {
        self.sleep = match read {
            Read { bytes: 0, .. } => (self.sleep * 2).min(IDLE),
            Read { opened: 1.., .. } => MIN,
            _ if self.sleep > BUSY => MIN,
            Read { bytes, .. } if bytes > self.target => (self.sleep / 2).max(MIN),
            Read { bytes, .. } if bytes < self.target / 2 => (self.sleep * 2).min(BUSY),
            _ => self.sleep,
        };
        self.sleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: u32 = 4 << 20;

    /// Sleeps after `n` rounds at a rate of `bytes` a millisecond.
    fn at(pace: &mut Pace, bytes: u64, n: usize) -> u64 {
        for _ in 0..n {
            let slept = pace.sleep.as_millis() as u64;
            pace.next(Read { bytes: bytes * slept, opened: 0 });
        }
        pace.sleep.as_millis() as u64
    }

    #[test]
    fn light_traffic_is_read_every_five_milliseconds_and_none_every_twenty() {
        let mut pace = Pace::new(RING);
        assert_eq!(at(&mut pace, 100, 10), 5);
        assert_eq!(at(&mut pace, 0, 10), 20);
        assert_eq!(at(&mut pace, 100, 1), 1, "what follows a pause is not known");
    }

    #[test]
    fn a_steady_rate_never_fills_more_than_a_quarter_and_settles() {
        for rate in [1_000, 50_000, 135_000, 200_000, 260_000] {
            let mut pace = Pace::new(RING);
            let settled = at(&mut pace, rate, 20);
            assert!(rate * settled <= u64::from(RING) / 4, "{rate} bytes a millisecond, {settled} ms");
            assert!(
                settled == 5 || rate * settled * 2 > u64::from(RING) / 4,
                "{rate} bytes a millisecond, {settled} ms"
            );
            assert_eq!(at(&mut pace, rate, 1), settled);
        }
    }

    #[test]
    fn more_than_the_ring_takes_is_read_as_soon_as_can_be() {
        assert_eq!(at(&mut Pace::new(RING), 2_000_000, 5), 1);
    }

    #[test]
    fn new_connections_are_answered_soon() {
        let mut pace = Pace::new(RING);
        at(&mut pace, 100, 10);
        assert_eq!(pace.next(Read { bytes: 100, opened: 1 }), MIN);
    }
}
