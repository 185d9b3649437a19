//! The exporter's task: empties queue A, fills queue B.
//!
//! In: payloads of spans, metric snapshots, and the word to stop. Out: payloads. A metric snapshot is encoded piece by piece.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    intake::{Consumer, Last, Message, points},
    pending::{Payload, Pending},
    pieces::Pieces,
    signal::{Loss, Signal},
};
use crate::{metrics::Snapshot, telemetry::Health};

/// How long a destination that works may take to make room.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the task works with.
pub(crate) struct Task {
    /// Size of a payload of metrics.
    piece: usize,
    pub(crate) queues: [Option<Arc<Pending>>; 2],
    health: Arc<Health>,
    pieces: Pieces,
    /// Bytes of the largest payload of spans so far: room is made for such a one.
    largest: usize,
    /// The destination of spans was waited for in vain.
    impatient: bool,
}

impl Task {
    /// `bytes`, `piece`: of a payload of spans, of metrics. `queues`: of spans, of metrics.
    pub(crate) fn new((bytes, piece): (usize, usize), queues: [Option<Arc<Pending>>; 2], health: &Arc<Health>) -> Self {
        let health = Arc::clone(health);
        Self { piece, queues, health, pieces: Pieces::default(), largest: bytes, impatient: false }
    }

    /// Runs until it is told to stop and gives back the deadline. Cancel-safe.
    pub(crate) async fn run(&mut self, intake: &mut Consumer) -> (Instant, Option<Last>) {
        loop {
            // What was just put into queue B gets its turn to be sent before more of a backlog pushes it out.
            tokio::task::yield_now().await;
            self.patience().await;
            let [_, metrics] = &self.queues;
            let room = room(metrics.as_deref(), &self.pieces, self.piece);
            tokio::select! {
                biased;
                () = room => self.piece(),
                message = intake.next() => match message {
                    Some(Message::Spans(payload)) => self.spans(payload),
                    Some(Message::Metrics(snapshot)) => self.snapshot(snapshot),
                    Some(Message::Stop(deadline, last)) => return (deadline, Some(last)),
                    None => return (Instant::now(), None),
                },
            }
        }
    }

    /// A destination that works gets a moment to take what waits: meanwhile spans stay in queue A, and nothing is pushed out of
    /// queue B. Once, so that one that hangs delays no stop; then the oldest payload makes room until it has moved on.
    async fn patience(&mut self) {
        let [traces, _] = &self.queues;
        if let Some(pending) = traces {
            let room = pending.room_while_healthy(self.largest);
            let limit = if self.impatient { Duration::ZERO } else { PATIENCE };
            self.impatient = tokio::time::timeout(limit, room).await.is_err();
        }
    }

    fn spans(&mut self, payload: Payload) {
        let [traces, _] = &self.queues;
        self.largest = self.largest.max(payload.body.len());
        match traces {
            Some(pending) => pending.push(payload),
            None => Signal::Traces.unwanted(&self.health, payload.items),
        }
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        let [_, metrics] = &self.queues;
        let Some(pending) = metrics else { return Signal::Metrics.unwanted(&self.health, points(&snapshot)) };
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
        if let (Some(pending), Some(payload)) = (metrics, self.pieces.next(self.piece)) {
            pending.push(payload);
        }
    }

    /// Puts what is left of the snapshot into queue B, as room comes up. Cancel-safe.
    pub(crate) async fn rest(&mut self) {
        while !self.pieces.is_empty() {
            let [_, metrics] = &self.queues;
            room(metrics.as_deref(), &self.pieces, self.piece).await;
            self.piece();
        }
    }

    /// Counts what is left of the snapshot as lost.
    pub(crate) fn abandon(&mut self) {
        let left = self.pieces.abandon();
        Signal::Metrics.dropped(&self.health, Loss::Shutdown, left, "not sent before the daemon stopped");
    }
}

/// Waits until there is a piece and room for it.
async fn room(metrics: Option<&Pending>, pieces: &Pieces, size: usize) {
    match metrics {
        Some(pending) if !pieces.is_empty() => pending.room(size).await,
        _ => std::future::pending().await,
    }
}
