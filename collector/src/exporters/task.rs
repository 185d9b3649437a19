//! The exporter's task: empties queue A, encodes, fills queue B.
//!
//! In: batches, and the word to stop. Out: payloads. Spans are gathered, still counted in queue A, until they are many enough
//! or have waited long enough; metric snapshots are encoded at once.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    format::Format,
    intake::{Batch, Consumer, Last, Message, Snapshot},
    pending::Pending,
    signal::{Loss, Signal},
};
use crate::{model::Span, telemetry::Health};

/// When spans are encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Bytes of spans gathered, and the size of a payload.
    pub(crate) bytes: usize,
    /// Longest wait of a span.
    pub(crate) delay: Duration,
}

/// What the task works with.
pub(crate) struct Task {
    format: Format,
    cut: Cut,
    pub(crate) queues: [Option<Arc<Pending>>; 2],
    health: Arc<Health>,
    gathered: Vec<Span>,
    weight: usize,
    due: Option<Instant>,
}

impl Task {
    /// `queues`: of spans, of metrics.
    pub(crate) fn new(format: Format, cut: Cut, queues: [Option<Arc<Pending>>; 2], health: &Arc<Health>) -> Self {
        let health = Arc::clone(health);
        Self { format, cut, queues, health, gathered: Vec::new(), weight: 0, due: None }
    }

    /// Runs until it is told to stop, then puts what is left into queue B and gives back the deadline. Cancel-safe.
    pub(crate) async fn run<S: Snapshot>(&mut self, intake: &mut Consumer<S>) -> (Instant, Option<Last>) {
        loop {
            let due = self.due;
            if due.is_none() && self.gathered.is_empty() {
                // What was just encoded gets its turn to be sent before more of a backlog pushes it out of queue B.
                tokio::task::yield_now().await;
            }
            let flush = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = flush => self.flush(intake),
                message = intake.next() => match message {
                    Some(Message::Batch(Batch::Spans(spans), weight)) => self.gather(spans, weight, intake),
                    Some(Message::Batch(Batch::Metrics(snapshot), weight)) => {
                        self.snapshot(&snapshot);
                        intake.release(weight);
                    }
                    Some(Message::Stop(deadline, last)) => {
                        self.flush(intake);
                        return (deadline, Some(last));
                    }
                    None => {
                        self.flush(intake);
                        return (Instant::now(), None);
                    }
                },
            }
        }
    }

    fn gather<S>(&mut self, mut spans: Vec<Span>, weight: usize, intake: &Consumer<S>) {
        self.gathered.append(&mut spans);
        self.weight += weight;
        if self.weight >= self.cut.bytes {
            self.flush(intake);
        } else if self.due.is_none() {
            self.due = Some(Instant::now() + self.cut.delay);
        }
    }

    fn snapshot(&self, snapshot: &impl Snapshot) {
        let [_, metrics] = &self.queues;
        match metrics {
            Some(pending) => {
                let mut payloads = Vec::new();
                snapshot.encode(self.cut.bytes, &mut payloads);
                payloads.into_iter().for_each(|payload| pending.push(payload));
            }
            None => self.unwanted(Signal::Metrics, snapshot.points()),
        }
    }

    fn flush<S>(&mut self, intake: &Consumer<S>) {
        self.due = None;
        let [traces, _] = &self.queues;
        match traces {
            Some(pending) => {
                let mut payloads = Vec::new();
                self.format.encode(&self.gathered, self.cut.bytes, &mut payloads);
                payloads.into_iter().for_each(|payload| pending.push(payload));
            }
            None => self.unwanted(Signal::Traces, self.gathered.len() as u64),
        }
        self.gathered.clear();
        intake.release(std::mem::take(&mut self.weight));
    }

    fn unwanted(&self, signal: Signal, items: u64) {
        signal.dropped(&self.health, Loss::Unconfigured, items, "no output is configured for it");
    }
}
