//! `sidelight replay`: the pipeline over a capture file or a recording, without privileges.
//!
//! In: the file, the side, the configuration. Out: spans and metrics to the configured output, the ledgers on standard
//! error. Time is the packets' own.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use sidelight_config::Config;
use sidelight_protocol_parsers::KernelTime;

use super::{DRAIN, report, say, shard};
use crate::{
    exporters::{self, Console, Settings},
    identity::Host,
    source::{FileSource, Item, Side},
    telemetry::{Health, Metric},
};

/// Nanoseconds of the file's time between ticks.
const TICK: u64 = 1_000_000_000;

/// Replays a file.
///
/// # Errors
/// When it cannot be read (to its end), or the output cannot be used.
pub fn replay(config: &Config, file: &Path, side: Side) -> anyhow::Result<ExitCode> {
    let mut source = FileSource::open(file, side)?;
    let health = Arc::new(Health::default());
    let settings = Settings::of(config.export.output);
    let (queue, exporter) = exporters::start((&config.export, &config.limits), Console::Stdout, settings, &health)?;
    let mut shard = shard(config, Host::default(), queue)?.looking_at(side);
    let (mut now, mut due) = (KernelTime::default(), KernelTime::default());
    let read = loop {
        let more = source.read(|item| {
            if let Item::Event(event) = &item {
                now = now.max(KernelTime(event.time_ns()));
            }
            shard.take(item, now);
        });
        match more {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(problem) => break Err(problem.in_file(file)),
        }
        // There is no kernel to tell.
        shard.policies().for_each(drop);
        if now >= due {
            shard.tick(now);
            due = KernelTime(now.0.saturating_add(TICK));
        }
        wait_for_room(&health);
    };
    shard.shutdown(now);
    shard.queue().flush();
    wait_for_room(&health);
    if config.export.metrics.endpoint.is_some() {
        shard.snapshot(now);
    }
    shard.report(&health, 0);
    let report = exporter.shutdown(DRAIN, || {});
    say(&report::ledgers(&health));
    read.with_context(|| "the file was replayed up to this place")?;
    anyhow::ensure!(report.spans == 0, "{} spans could not be sent: {}", report.spans, report.errors.join("; "));
    Ok(ExitCode::SUCCESS)
}

/// A file is read faster than it is sent: it waits, instead of dropping, until queue A is empty and half of queue B.
#[expect(clippy::disallowed_methods, reason = "the queues have no writer that waits but this one")]
fn wait_for_room(health: &Health) {
    while health.load(Metric::QueueIntake) > 0
        || health.load(Metric::QueueTraces) > health.load(Metric::CapacityTraces) / 2
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}
