//! The exporter's task: empties queue A, encodes, fills queue B.
//!
//! In: batches, and the word to stop. Out: payloads. Spans are gathered, still counted in queue A, until they are many enough
//! or have waited long enough; metric snapshots are encoded at once.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    intake::{Batch, Consumer, Last, Message, Snapshot},
    pending::{Payload, Pending},
    signal::{Loss, Signal},
};
use crate::{model::Span, telemetry::Health};

/// Makes payloads of spans, in one of the output formats.
pub trait Encode: Send + 'static {
    /// Appends these spans as payloads of about `max_bytes` at most.
    fn encode(&mut self, spans: &[Span], max_bytes: usize, out: &mut Vec<Payload>);
}

/// When spans are encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Bytes of spans gathered, and the size of a payload.
    pub(crate) bytes: usize,
    /// Longest wait of a span.
    pub(crate) delay: Duration,
}

/// What the task works with.
pub(crate) struct Task<E> {
    pub(crate) encoder: E,
    pub(crate) cut: Cut,
    pub(crate) traces: Option<Arc<Pending>>,
    pub(crate) metrics: Option<Arc<Pending>>,
    pub(crate) health: Arc<Health>,
    gathered: Vec<Span>,
    weight: usize,
    due: Option<Instant>,
}

impl<E: Encode> Task<E> {
    pub(crate) fn new(
        encoder: E,
        cut: Cut,
        [traces, metrics]: [Option<Arc<Pending>>; 2],
        health: &Arc<Health>,
    ) -> Self {
        let health = Arc::clone(health);
        Self { encoder, cut, traces, metrics, health, gathered: Vec::new(), weight: 0, due: None }
    }

    /// Runs until it is told to stop, then puts what is left into queue B and gives back the deadline. Cancel-safe.
    pub(crate) async fn run<S: Snapshot>(&mut self, intake: &mut Consumer<S>) -> (Instant, Option<Last>) {
        loop {
            let due = self.due;
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
        match &self.metrics {
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
        match &self.traces {
            Some(pending) => {
                let mut payloads = Vec::new();
                self.encoder.encode(&self.gathered, self.cut.bytes, &mut payloads);
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
