//! Queue A: from the ring thread to the exporter's thread.
//!
//! In: whole batches of spans, metric snapshots. Out: the same, in order, on the exporter's thread. Bounded in bytes of the
//! unencoded spans, and to one snapshot; what does not fit is dropped at once and counted (`queue_full`). Pushing never blocks: one atomic
//! reservation and one append to a lock-free list, which wakes the exporter if it sleeps.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::signal::{Loss, Signal};
use crate::{
    metrics::Snapshot,
    model::Span,
    telemetry::{Health, Metric},
};

/// How many points a snapshot has.
pub(crate) fn points(snapshot: &Snapshot) -> u64 {
    snapshot.instances.iter().map(|(_, points)| points.len() as u64).sum()
}

/// Bytes of memory of a span; what it shares with others is not counted.
fn weight(span: &Span) -> usize {
    size_of::<Span>() + size_of_val(&*span.exchange) + span.exchange.text.capacity()
}

/// What the ring thread hands over.
#[derive(Debug)]
pub enum Batch {
    /// Finished spans.
    Spans(Vec<Span>),
    /// The state of all metric series at one time.
    Metrics(Snapshot),
}

impl Batch {
    /// Its ledger, and how many spans or points are in it.
    pub(crate) fn items(&self) -> (Signal, u64) {
        match self {
            Self::Spans(spans) => (Signal::Traces, spans.len() as u64),
            Self::Metrics(snapshot) => (Signal::Metrics, points(snapshot)),
        }
    }
}

/// What the exporter's thread takes out.
pub(crate) enum Message {
    /// Spans and the bytes they hold until [`Consumer::release`].
    Spans(Vec<Span>, usize),
    /// A snapshot; the next may be pushed once this one is taken out.
    Metrics(Snapshot),
    /// Nothing follows; everything must be delivered by then.
    Stop(Instant, Last),
}

/// Called when all spans are delivered, before metrics end: pushes the last of the daemon's own metrics.
pub(crate) type Last = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct Bound {
    capacity: usize,
    used: AtomicUsize,
    /// A snapshot is in the queue: they have their own bound in series, and one waits at most.
    snapshot: AtomicBool,
    health: Arc<Health>,
}

impl Bound {
    fn reserve(&self, weight: usize) -> bool {
        let fits = |used: usize| used.checked_add(weight).filter(|sum| *sum <= self.capacity);
        let reserved = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.show();
        reserved
    }

    fn release(&self, weight: usize) {
        self.used.fetch_sub(weight, Ordering::Relaxed);
        self.show();
    }

    /// Gives back what a message holds.
    fn taken(&self, message: &Message) {
        match message {
            Message::Spans(_, weight) => self.release(*weight),
            Message::Metrics(_) => self.snapshot.store(false, Ordering::Relaxed),
            Message::Stop(..) => {}
        }
    }

    fn show(&self) {
        self.health.store(Metric::QueueIntake, self.used.load(Ordering::Relaxed) as u64);
    }
}

/// The ring thread's end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Producer {
    sender: mpsc::UnboundedSender<Message>,
    bound: Arc<Bound>,
}

impl Producer {
    /// Hands a batch over and counts what is in it as built. What does not fit is dropped and counted, and `false`.
    pub fn push(&self, batch: Batch) -> bool {
        let health = &self.bound.health;
        let (signal, items) = batch.items();
        signal.built(health, items);
        let (fits, message) = match batch {
            Batch::Spans(spans) => {
                let weight = spans.iter().map(weight).sum::<usize>() + size_of::<Message>();
                (self.bound.reserve(weight), Message::Spans(spans, weight))
            }
            Batch::Metrics(snapshot) => {
                (!self.bound.snapshot.swap(true, Ordering::Relaxed), Message::Metrics(snapshot))
            }
        };
        if !fits {
            signal.dropped(health, Loss::QueueFull, items, "the queue to the exporter is full (limits.span_queue)");
            return false;
        }
        if let Err(mpsc::error::SendError(message)) = self.sender.send(message) {
            self.bound.taken(&message);
            signal.dropped(health, Loss::Shutdown, items, "the exporter has ended");
            return false;
        }
        true
    }

    /// Says that nothing follows. `false`: the exporter has ended already.
    pub(crate) fn stop(&self, deadline: Instant, last: Last) -> bool {
        self.sender.send(Message::Stop(deadline, last)).is_ok()
    }
}

/// The exporter's end.
pub(crate) struct Consumer {
    receiver: mpsc::UnboundedReceiver<Message>,
    bound: Arc<Bound>,
}

impl Consumer {
    /// The next message; `None`: every producer is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let message = self.receiver.recv().await?;
        if matches!(message, Message::Metrics(_)) {
            self.bound.taken(&message);
        }
        Some(message)
    }

    /// Gives back the room of spans that are encoded now.
    pub(crate) fn release(&self, weight: usize) {
        self.bound.release(weight);
    }

    /// Refuses what is pushed from now on and gives back what is still there.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = Batch> {
        self.receiver.close();
        std::iter::from_fn(|| {
            let message = self.receiver.try_recv().ok()?;
            self.bound.taken(&message);
            Some(message)
        })
        .filter_map(|message| match message {
            Message::Spans(spans, _) => Some(Batch::Spans(spans)),
            Message::Metrics(snapshot) => Some(Batch::Metrics(snapshot)),
            Message::Stop(..) => None,
        })
    }
}

/// A queue of at most `capacity` bytes.
pub(crate) fn queue(capacity: usize, health: &Arc<Health>) -> (Producer, Consumer) {
    health.store(Metric::CapacityIntake, capacity as u64);
    let (sender, receiver) = mpsc::unbounded_channel();
    let bound = Arc::new(Bound {
        capacity,
        used: AtomicUsize::new(0),
        snapshot: AtomicBool::new(false),
        health: Arc::clone(health),
    });
    (Producer { sender, bound: Arc::clone(&bound) }, Consumer { receiver, bound })
}
