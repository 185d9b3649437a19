//! The exporter's task: empties queue A, encodes, fills queue B.
//!
//! In: batches, and the word to stop. Out: payloads. Spans are gathered, still counted in queue A, until they are many enough
//! or have waited long enough; a metric snapshot is encoded piece by piece.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    format::Format,
    intake::{Consumer, Last, Message, points},
    pending::Pending,
    pieces::Pieces,
    signal::{Loss, Signal},
};
use crate::{metrics::Snapshot, model::Span, telemetry::Health};

/// How long a destination that works may take to make room.
const PATIENCE: Duration = Duration::from_secs(1);

/// When spans are encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Bytes of spans gathered, and the size of a payload.
    pub(crate) bytes: usize,
    /// Longest wait of a span.
    pub(crate) delay: Duration,
    /// Size of a payload of metrics.
    pub(crate) piece: usize,
}

/// What the task works with.
pub(crate) struct Task {
    format: Format,
    cut: Cut,
    pub(crate) queues: [Option<Arc<Pending>>; 2],
    health: Arc<Health>,
    pieces: Pieces,
    gathered: Vec<Span>,
    weight: usize,
    due: Option<Instant>,
    /// Bytes of the largest of the newest payloads of spans. The next may be up to twice as large: room is made for that.
    largest: usize,
    /// The destination of spans was waited for in vain.
    impatient: bool,
}

impl Task {
    /// `queues`: of spans, of metrics.
    pub(crate) fn new(format: Format, cut: Cut, queues: [Option<Arc<Pending>>; 2], health: &Arc<Health>) -> Self {
        let health = Arc::clone(health);
        let (pieces, gathered) = (Pieces::default(), Vec::new());
        Self { format, cut, queues, health, pieces, gathered, weight: 0, due: None, largest: 0, impatient: false }
    }

    /// Runs until it is told to stop, then puts what is left into queue B and gives back the deadline. Cancel-safe.
    pub(crate) async fn run(&mut self, intake: &mut Consumer) -> (Instant, Option<Last>) {
        loop {
            let due = self.due;
            if due.is_none() && self.gathered.is_empty() {
                // What was just encoded gets its turn to be sent before more of a backlog pushes it out of queue B.
                tokio::task::yield_now().await;
            }
            self.patience().await;
            let flush = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let [_, metrics] = &self.queues;
            let room = room(metrics.as_deref(), &self.pieces, self.cut.piece);
            tokio::select! {
                biased;
                () = flush => self.flush(intake),
                () = room => self.piece(),
                message = intake.next() => match message {
                    Some(Message::Spans(spans, weight)) => self.gather(spans, weight, intake),
                    Some(Message::Metrics(snapshot)) => self.snapshot(snapshot),
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

    /// A destination that works gets a moment to take what waits: meanwhile spans stay in queue A, and nothing is pushed out of
    /// queue B. Once, so that one that hangs delays no stop; then the oldest payload makes room until it has moved on.
    async fn patience(&mut self) {
        let [traces, _] = &self.queues;
        if let Some(pending) = traces {
            let room = pending.room_while_healthy((2 * self.largest).max(self.cut.bytes));
            let limit = if self.impatient { Duration::ZERO } else { PATIENCE };
            self.impatient = tokio::time::timeout(limit, room).await.is_err();
        }
    }

    fn gather(&mut self, mut spans: Vec<Span>, weight: usize, intake: &Consumer) {
        self.gathered.append(&mut spans);
        self.weight += weight;
        if self.weight >= self.cut.bytes {
            self.flush(intake);
        } else if self.due.is_none() {
            self.due = Some(Instant::now() + self.cut.delay);
        }
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        let [_, metrics] = &self.queues;
        let Some(pending) = metrics else { return self.unwanted(Signal::Metrics, points(&snapshot)) };
        pending.make_room();
        let left = self.pieces.begin(snapshot);
        Signal::Metrics.dropped(
            &self.health,
            Loss::QueueFull,
            left,
            "a newer snapshot came before this one was through",
        );
    }

    fn piece(&mut self) {
        let [_, metrics] = &self.queues;
        if let (Some(pending), Some(payload)) = (metrics, self.pieces.next(self.cut.piece)) {
            pending.push(payload);
        }
    }

    /// Puts what is left of the snapshot into queue B, as room comes up. Cancel-safe.
    pub(crate) async fn rest(&mut self) {
        while !self.pieces.is_empty() {
            let [_, metrics] = &self.queues;
            room(metrics.as_deref(), &self.pieces, self.cut.piece).await;
            self.piece();
        }
    }

    /// Counts what is left of the snapshot as lost.
    pub(crate) fn abandon(&mut self) {
        let left = self.pieces.abandon();
        Signal::Metrics.dropped(&self.health, Loss::Shutdown, left, "not sent before the daemon stopped");
    }

    fn flush(&mut self, intake: &Consumer) {
        self.due = None;
        let [traces, _] = &self.queues;
        match traces {
            Some(pending) => {
                let mut payloads = Vec::new();
                self.format.encode(&self.gathered, self.cut.bytes, &mut payloads);
                self.largest = payloads.iter().map(|payload| payload.body.len()).max().unwrap_or(0);
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

/// Waits until there is a piece and room for it.
async fn room(metrics: Option<&Pending>, pieces: &Pieces, size: usize) {
    match metrics {
        Some(pending) if !pieces.is_empty() => pending.room(size).await,
        _ => std::future::pending().await,
    }
}
