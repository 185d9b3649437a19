//! What the daemon itself uses.
//!
//! In: `/proc/self/statm` and the process' clock. Out: [`Metric::MemoryUsage`] and [`Metric::CpuTime`].

use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};

use super::{Health, Metric};

/// Reads both now; a value that cannot be read stays what it was.
pub fn sample(health: &Health) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    if let Some(pages) = statm.split(' ').nth(1).and_then(|text| text.parse::<u64>().ok()) {
        health.store(Metric::MemoryUsage, pages.saturating_mul(page_size() as u64));
    }
    let time = clock_gettime(ClockId::ProcessCPUTime);
    if let (Ok(seconds), Ok(nanos)) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)) {
        health.store(Metric::CpuTime, seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_test_uses_memory_and_time() {
        let health = Health::default();
        sample(&health);
        assert!((1 << 20..1 << 40).contains(&health.load(Metric::MemoryUsage)));
        assert!(health.load(Metric::CpuTime) > 0);
    }
}
