//! Queue A: from the ring thread to the exporter's thread.
//!
//! In: spans, metric snapshots. Out: encoded payloads of spans, and the snapshots, in order, on the exporter's thread. A span is encoded at
//! once, while what it is made of is still in the cache of the core that made it; gathered until there are many or they have waited
//! long enough. Bounded in bytes of the payloads, and to one snapshot; what does not fit is dropped at once and counted (`queue_full`).
//! Pushing never blocks: one atomic reservation and one append to a lock-free list, which wakes the exporter if it sleeps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;
use tokio::time::Instant;

use sidelight_protocol_parsers::KernelTime;

use super::{
    format::Format,
    pending::Payload,
    signal::{Loss, Signal},
};
use crate::{
    metrics::Snapshot,
    model::Span,
    telemetry::{Health, Metric},
};

/// How many points a snapshot has.
pub(crate) fn points(snapshot: &Snapshot) -> u64 {
    snapshot.instances.iter().map(|(_, points)| points.len() as u64).sum()
}

/// What the exporter's thread takes out.
pub(crate) enum Message {
    /// Encoded spans; their room is free once they are taken out.
    Spans(Payload),
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
            Message::Spans(payload) => self.release(weight(payload)),
            Message::Metrics(_) => self.snapshot.store(false, Ordering::Relaxed),
            Message::Stop(..) => {}
        }
    }

    fn show(&self) {
        self.health.store(Metric::QueueIntake, self.used.load(Ordering::Relaxed) as u64);
    }
}

/// Bytes a payload takes in the queue.
fn weight(payload: &Payload) -> usize {
    size_of::<Message>() + payload.body.len()
}

/// When gathered spans become a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Size of a payload.
    pub(crate) bytes: usize,
    /// Longest wait of a span.
    pub(crate) delay: Duration,
}

/// The ring thread's end. What is still gathered when it is dropped is handed over then.
#[derive(Debug)]
pub struct Producer {
    sender: mpsc::UnboundedSender<Message>,
    bound: Arc<Bound>,
    /// None: spans go nowhere.
    format: Option<Format>,
    cut: Cut,
    /// Spans that are encoded and not handed over.
    gathered: u64,
    /// Spans that were given and are not counted as built yet.
    untold: u64,
    /// When what is gathered has waited long enough.
    due: Option<KernelTime>,
}

impl Producer {
    /// Takes a span: encodes it, and hands a payload over when that is full.
    pub fn span(&mut self, span: &Span) {
        self.untold += 1;
        let Some(format) = &mut self.format else { return };
        self.gathered += 1;
        if let Some(payload) = format.add(span, self.gathered, self.cut.bytes) {
            self.hand_over(payload);
        }
    }

    /// Time passes: counts what came, and hands over what has waited long enough.
    pub fn turn(&mut self, now: KernelTime) {
        self.tell();
        if self.gathered > 0 {
            let wait = u64::try_from(self.cut.delay.as_nanos()).unwrap_or(u64::MAX);
            let due = *self.due.get_or_insert_with(|| KernelTime(now.0.saturating_add(wait)));
            if now >= due {
                self.flush();
            }
        }
    }

    /// Hands over what is gathered. What does not fit is dropped and counted, and `false`.
    pub fn flush(&mut self) -> bool {
        self.tell();
        let payload = self.format.as_mut().and_then(|format| format.finish(self.gathered));
        payload.is_none_or(|payload| self.hand_over(payload))
    }

    /// Hands a snapshot over and counts what is in it as built. If the last one was not taken out yet it is dropped and counted, and
    /// `false`.
    pub fn metrics(&self, snapshot: Snapshot) -> bool {
        let items = points(&snapshot);
        Signal::Metrics.built(&self.bound.health, items);
        let fits = !self.bound.snapshot.swap(true, Ordering::Relaxed);
        self.send(Signal::Metrics, items, fits, Message::Metrics(snapshot))
    }

    /// Who can say that nothing follows.
    pub(crate) fn stop(&self) -> Stop {
        Stop(self.sender.clone())
    }

    fn tell(&mut self) {
        let health = &self.bound.health;
        let new = std::mem::take(&mut self.untold);
        if new > 0 {
            Signal::Traces.built(health, new);
        }
        if self.format.is_none() {
            Signal::Traces.unwanted(health, new);
        }
    }

    fn hand_over(&mut self, payload: Payload) -> bool {
        self.tell();
        self.due = None;
        self.gathered -= payload.items;
        let fits = self.bound.reserve(weight(&payload));
        self.send(Signal::Traces, payload.items, fits, Message::Spans(payload))
    }

    fn send(&self, signal: Signal, items: u64, fits: bool, message: Message) -> bool {
        let health = &self.bound.health;
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
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Tells the exporter to stop, from any thread.
#[derive(Debug)]
pub(crate) struct Stop(mpsc::UnboundedSender<Message>);

impl Stop {
    /// Says that nothing follows. `false`: the exporter has ended already.
    pub(crate) fn at(&self, deadline: Instant, last: Last) -> bool {
        self.0.send(Message::Stop(deadline, last)).is_ok()
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
        self.bound.taken(&message);
        Some(message)
    }

    /// Refuses what is pushed from now on and gives the ledgers and the numbers of what is still there.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = (Signal, u64)> {
        self.receiver.close();
        std::iter::from_fn(|| {
            let message = self.receiver.try_recv().ok()?;
            self.bound.taken(&message);
            Some(message)
        })
        .filter_map(|message| match message {
            Message::Spans(payload) => Some((Signal::Traces, payload.items)),
            Message::Metrics(snapshot) => Some((Signal::Metrics, points(&snapshot))),
            Message::Stop(..) => None,
        })
    }
}

/// A queue of at most `capacity` bytes, of which one payload is being gathered. Without a `format` spans go nowhere.
pub(crate) fn queue(capacity: usize, format: Option<Format>, cut: Cut, health: &Arc<Health>) -> (Producer, Consumer) {
    let capacity = capacity - cut.bytes;
    health.store(Metric::CapacityIntake, capacity as u64);
    let (sender, receiver) = mpsc::unbounded_channel();
    let bound = Arc::new(Bound {
        capacity,
        used: AtomicUsize::new(0),
        snapshot: AtomicBool::new(false),
        health: Arc::clone(health),
    });
    let producer = Producer { sender, bound: Arc::clone(&bound), format, cut, gathered: 0, untold: 0, due: None };
    (producer, Consumer { receiver, bound })
}

#[cfg(test)]
mod tests {
    use sidelight_config::OutputFormat;

    use super::*;
    use crate::testing::Case;

    const OUTPUTS: [OutputFormat; 3] = [OutputFormat::Console, OutputFormat::Otlp, OutputFormat::OtlpJson];

    fn setup(output: Option<OutputFormat>, bytes: usize) -> (Producer, Consumer, Arc<Health>) {
        let health = Arc::new(Health::default());
        let cut = Cut { bytes, delay: Duration::from_nanos(10) };
        let (producer, consumer) = queue(1 << 24, output.map(|output| Format::new(output, false)), cut, &health);
        (producer, consumer, health)
    }

    /// Spans of each payload that was handed over.
    fn taken(consumer: &mut Consumer) -> Vec<u64> {
        std::iter::from_fn(|| match consumer.receiver.try_recv().ok()? {
            Message::Spans(payload) => Some(payload.items),
            Message::Metrics(_) | Message::Stop(..) => None,
        })
        .collect()
    }

    #[test]
    fn a_span_waits_for_others_and_no_longer_than_it_may() {
        for output in OUTPUTS {
            let (mut producer, mut consumer, health) = setup(Some(output), 1 << 16);
            producer.span(&Case::server("GET", "/").span());
            producer.turn(KernelTime(100));
            assert_eq!(health.load(Metric::SpansQueued), 1, "it is told while it waits");
            producer.span(&Case::server("GET", "/").span());
            producer.turn(KernelTime(109));
            assert!(taken(&mut consumer).is_empty());
            producer.turn(KernelTime(110));
            assert_eq!(taken(&mut consumer), [2]);
            producer.span(&Case::server("GET", "/").span());
            producer.turn(KernelTime(111));
            assert_eq!((taken(&mut consumer), producer.gathered), (vec![], 1), "the next wait is its own");
        }
    }

    #[test]
    fn a_payload_that_is_full_goes_at_once_and_what_is_left_at_the_end() {
        for output in OUTPUTS {
            let (mut producer, mut consumer, health) = setup(Some(output), 4096);
            (0..1000).for_each(|_| producer.span(&Case::server("GET", "/").span()));
            let full = taken(&mut consumer);
            assert!(full.len() > 10, "{full:?}");
            assert_eq!(full.iter().sum::<u64>() + producer.gathered, 1000);
            let left = producer.gathered;
            drop(producer);
            assert_eq!(taken(&mut consumer), if left > 0 { vec![left] } else { vec![] });
            assert_eq!((health.load(Metric::SpansBuilt), health.load(Metric::SpansQueued)), (1000, 1000));
        }
    }

    #[test]
    fn spans_that_go_nowhere_are_counted() {
        let (mut producer, mut consumer, health) = setup(None, 4096);
        (0..10).for_each(|_| producer.span(&Case::server("GET", "/").span()));
        producer.turn(KernelTime(1));
        assert_eq!((taken(&mut consumer), producer.gathered), (vec![], 0));
        assert_eq!(health.load(Metric::SpansUnconfigured), 10);
    }
}
