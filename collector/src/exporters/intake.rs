//! Queue A: from the ring thread to the exporter's thread.
//!
//! In: whole batches of spans, metric snapshots. Out: the same, in order, on the exporter's thread. Bounded in bytes of the
//! unencoded batches; what does not fit is dropped at once and counted (`queue_full`). Pushing never blocks: one atomic
//! reservation and one append to a lock-free list, which wakes the exporter if it sleeps.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{
    pending::Payload,
    signal::{Loss, Signal},
};
use crate::{
    model::Span,
    telemetry::{Health, Metric},
};

/// The state of all metric series at one time, as the queue sees it.
pub trait Snapshot: Send + 'static {
    /// Bytes of memory, the heap included, roughly.
    fn weight(&self) -> usize;
    /// How many points are in it.
    fn points(&self) -> u64;
    /// Appends it as payloads of about `max_bytes` at most.
    fn encode(&self, max_bytes: usize, out: &mut Vec<Payload>);
}

/// Bytes of memory of a span; what it shares with others is not counted.
fn weight(span: &Span) -> usize {
    size_of::<Span>() + size_of_val(&*span.exchange) + span.exchange.text.capacity()
}

/// What the ring thread hands over.
#[derive(Debug)]
pub enum Batch<S> {
    /// Finished spans.
    Spans(Vec<Span>),
    /// The state of all metric series at one time.
    Metrics(S),
}

impl<S: Snapshot> Batch<S> {
    /// Its ledger, and how many spans or points are in it.
    pub(crate) fn items(&self) -> (Signal, u64) {
        match self {
            Self::Spans(spans) => (Signal::Traces, spans.len() as u64),
            Self::Metrics(snapshot) => (Signal::Metrics, snapshot.points()),
        }
    }

    fn weight(&self) -> usize {
        let content: usize = match self {
            Self::Spans(spans) => spans.iter().map(weight).sum(),
            Self::Metrics(snapshot) => snapshot.weight(),
        };
        content + size_of::<Self>()
    }
}

/// What the exporter's thread takes out.
pub(crate) enum Message<S> {
    /// A batch and the bytes it holds until [`Consumer::release`].
    Batch(Batch<S>, usize),
    /// Nothing follows; everything must be delivered by then.
    Stop(Instant, Last),
}

/// Called when all spans are delivered, before metrics end: pushes the last of the daemon's own metrics.
pub(crate) type Last = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct Bound {
    capacity: usize,
    used: AtomicUsize,
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

    fn show(&self) {
        self.health.store(Metric::QueueIntake, self.used.load(Ordering::Relaxed) as u64);
    }
}

/// The ring thread's end. Cheap to clone.
#[derive(Debug)]
pub struct Producer<S> {
    sender: mpsc::UnboundedSender<Message<S>>,
    bound: Arc<Bound>,
}

impl<S> Clone for Producer<S> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bound: Arc::clone(&self.bound) }
    }
}

impl<S: Snapshot> Producer<S> {
    /// Hands a batch over and counts what is in it as built. What does not fit is dropped and counted, and `false`.
    pub fn push(&self, batch: Batch<S>) -> bool {
        let (signal, items) = batch.items();
        let weight = batch.weight();
        let health = &self.bound.health;
        signal.built(health, items);
        if !self.bound.reserve(weight) {
            signal.dropped(health, Loss::QueueFull, items, "the queue to the exporter is full; limits.span_queue");
            return false;
        }
        if self.sender.send(Message::Batch(batch, weight)).is_err() {
            self.bound.release(weight);
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
pub(crate) struct Consumer<S> {
    receiver: mpsc::UnboundedReceiver<Message<S>>,
    bound: Arc<Bound>,
}

impl<S> Consumer<S> {
    /// The next message; `None`: every producer is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Message<S>> {
        self.receiver.recv().await
    }

    /// Gives back the room of batches that are encoded now.
    pub(crate) fn release(&self, weight: usize) {
        self.bound.release(weight);
    }

    /// Refuses what is pushed from now on and gives back what is still there.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = Message<S>> {
        self.receiver.close();
        std::iter::from_fn(|| self.receiver.try_recv().ok())
    }
}

/// A queue of at most `capacity` bytes.
pub(crate) fn queue<S>(capacity: usize, health: &Arc<Health>) -> (Producer<S>, Consumer<S>) {
    health.store(Metric::CapacityIntake, capacity as u64);
    let (sender, receiver) = mpsc::unbounded_channel();
    let bound = Arc::new(Bound { capacity, used: AtomicUsize::new(0), health: Arc::clone(health) });
    (Producer { sender, bound: Arc::clone(&bound) }, Consumer { receiver, bound })
}
