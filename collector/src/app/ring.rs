//! The ring thread: the one that reads the ring and runs the shard.
//!
//! In: the live source, a shard, the word to stop. Out: spans and metric snapshots into queue A, policies into the kernel,
//! ledgers into [`Health`]. A plain thread that never blocks on anything but its own sleep ([`Pace`]).

use std::{
    fs::File,
    io::BufWriter,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sidelight_events::maps::counter;
use sidelight_loader::{Hooks, discover::Discovery};
use sidelight_protocol_parsers::KernelTime;

use super::pace::{Pace, Read};
use crate::{
    pipeline::Shard,
    source::{
        Item,
        live::{Live, clock},
        recorded::Recorder,
    },
    telemetry::{Health, Metric},
};

/// Records between two looks at the clock: at a million a second, 1 ms.
const ROUND: usize = 1024;
/// Nice value of the thread.
const NICE: i32 = -10;
const SECOND: u64 = 1_000_000_000;

/// What the thread works with; given back by nobody: it ends with the thread.
pub(super) struct RingThread {
    /// Events.
    pub(super) live: Live,
    /// Stages.
    pub(super) shard: Shard,
    /// How often the ring is looked at.
    pub(super) pace: Pace,
    /// Commands to the kernel.
    pub(super) hooks: Hooks,
    /// Processes and libraries.
    pub(super) discovery: Option<Arc<Discovery>>,
    /// Ledgers.
    pub(super) health: Arc<Health>,
    /// `--record`.
    pub(super) recorder: Option<Recorder<BufWriter<File>>>,
    /// Nanoseconds between metric snapshots; `None`: metrics go nowhere.
    pub(super) metric_interval: Option<u64>,
    /// Set to stop it.
    pub(super) stop: Arc<AtomicBool>,
}

/// When things are due, in kernel time.
struct Due {
    tick: KernelTime,
    metrics: KernelTime,
}

impl RingThread {
    /// Runs until it is told to stop; then reads what is left in the ring and ends what is open.
    pub(super) fn run(mut self) {
        // On a machine whose cores are all taken the ring fills in tens of milliseconds: this thread must get its turn by
        // then. It uses no more time for it. (A thread's nice value is its own on Linux: setpriority(2).)
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "Cannot raise the priority of the ring thread");
        }
        let (now, offset) = clock();
        self.take(Item::Clock(offset), now);
        let mut due = Due { tick: later(now, SECOND), metrics: later(now, self.metric_interval.unwrap_or(0)) };
        let mut newest = now;
        let mut before = self.live.counts();
        loop {
            // Asked before the ring is read: what was submitted before the hooks were told to stop is read below.
            let stop = self.stop.load(Ordering::Acquire);
            let read = self.drain(&mut newest);
            let (now, offset) = clock();
            if read < ROUND {
                newest = newest.max(now);
            }
            self.shard.queue().turn(now);
            if now >= due.tick {
                self.take(Item::Clock(offset), newest);
                self.tick(newest);
                due.tick = later(now, SECOND);
            }
            if let Some(interval) = self.metric_interval
                && now >= due.metrics
            {
                self.shard.snapshot(now);
                due.metrics = later(due.metrics, interval);
            }
            if read == ROUND {
                continue;
            }
            if stop {
                break;
            }
            let counts = self.live.counts();
            let read = Read { bytes: counts.bytes - before.bytes, opened: counts.opened - before.opened };
            before = counts;
            idle(self.pace.next(read));
        }
        self.finish(newest);
    }

    fn take(&mut self, item: Item<'_>, now: KernelTime) {
        take(&mut self.recorder, &mut self.shard, item, now);
    }

    fn drain(&mut self, newest: &mut KernelTime) -> usize {
        let Self { live, shard, recorder, hooks, .. } = self;
        let read = live.poll(ROUND, |item| {
            if let Item::Event(event) = &item {
                *newest = (*newest).max(KernelTime(event.time_ns()));
            }
            take(recorder, shard, item, *newest);
        });
        let mut policies = shard.policies().peekable();
        if policies.peek().is_some()
            && let Err(error) = hooks.set_policies(policies)
        {
            // The connection keeps being captured as before: a cost, or long calls that are cut, which is counted.
            tracing::debug!(%error, "Cannot set the capture policy of a connection");
        }
        read
    }

    fn tick(&mut self, now: KernelTime) {
        self.shard.tick(now);
        self.report();
    }

    fn finish(mut self, now: KernelTime) {
        self.shard.shutdown(now);
        self.shard.queue().flush();
        if self.metric_interval.is_some() {
            self.shard.snapshot(clock().0);
        }
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.flush()
        {
            tracing::error!(%error, "The recording is not whole");
        }
        self.report();
    }

    fn report(&self) {
        let counts = self.live.counts();
        self.health.store(Metric::EventsRead, counts.read);
        self.health.store(Metric::EventsMalformed, counts.malformed);
        if let Some(discovery) = &self.discovery {
            let late = discovery.counts().late_library.load(Ordering::Relaxed);
            self.health.store(Metric::TlsLateLibrary, late);
        }
        if let Some(skipped) = self.hooks.skipped_runs() {
            self.health.store(Metric::HooksSkipped, skipped);
        }
        let kept_in_kernel = match self.hooks.counters() {
            Ok(counters) => kernel_counters(&counters, &self.health),
            Err(error) => {
                tracing::debug!(%error, "Cannot read the kernel's counters");
                0
            }
        };
        self.shard.report(&self.health, kept_in_kernel);
    }
}

fn take(recorder: &mut Option<Recorder<BufWriter<File>>>, shard: &mut Shard, item: Item<'_>, now: KernelTime) {
    if let Some(writer) = recorder
        && let Err(error) = writer.item(&item)
    {
        tracing::error!(%error, "The recording ends here");
        *recorder = None;
    }
    shard.take(item, now);
}

/// The kernel's side of the ledgers; gives the bytes a policy kept in the kernel.
fn kernel_counters(counters: &[u64; counter::COUNT as usize], health: &Health) -> u64 {
    let count = |index: u32| counters.get(index as usize).copied().unwrap_or_default();
    for (index, metric) in [
        (counter::ATTEMPTED, Metric::EventsAttempted),
        (counter::SUBMITTED, Metric::EventsSubmitted),
        (counter::RING_FULL, Metric::EventsRingFull),
        (counter::FAULT, Metric::EventsFault),
        (counter::BYTES_CIPHERTEXT, Metric::BytesCiphertext),
        (counter::CALLS, Metric::CallsSeen),
        (counter::UNDECIDED, Metric::CallsUndecided),
        (counter::UNRESOLVED, Metric::CallsUnresolved),
        (counter::MAP_FULL, Metric::CallsMapFull),
    ] {
        health.store(metric, count(index));
    }
    count(counter::BYTES_IGNORED)
}

fn later(time: KernelTime, nanoseconds: u64) -> KernelTime {
    KernelTime(time.0.saturating_add(nanoseconds))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the ring is not woken by its writers: a wake-up costs a request more than all hooks"
)]
fn idle(time: Duration) {
    std::thread::sleep(time);
}
