//! Queue B: encoded payloads of one signal waiting for their destination.
//!
//! In: payloads, from the exporter's task and (the daemon's own metrics) from any thread. Out: one at a time, oldest first;
//! a payload stays here until it is delivered, so that what is on the wire is bounded too. When full the oldest payload that
//! is not on the wire is dropped and counted (`queue_full`): new telemetry is worth more than old.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::signal::{Loss, Signal};
use crate::telemetry::{Health, Metric};

const FULL: &str = "the end point takes less than there is to send (limits.export_queue)";

/// One encoded request, or some lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// As it is sent, before compression.
    pub body: Bytes,
    /// Spans or metric points in it.
    pub items: u64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Payload>,
    bytes: usize,
    /// The first payload is being sent.
    on_wire: bool,
    /// Nothing is added any more.
    closed: bool,
    /// The destination is gone: all that is added is lost.
    ended: bool,
    /// The last sending failed and is to be repeated.
    failing: bool,
}

/// The queue of one signal.
#[derive(Debug)]
pub(crate) struct Pending {
    signal: Signal,
    capacity: usize,
    health: Arc<Health>,
    state: Mutex<State>,
    changed: Notify,
    freed: Notify,
}

impl Pending {
    pub(crate) fn new(signal: Signal, capacity: usize, health: &Arc<Health>) -> Self {
        let shown = match signal {
            Signal::Metrics => Metric::CapacityMetrics,
            Signal::Traces => Metric::CapacityTraces,
        };
        health.store(shown, capacity as u64);
        Self {
            signal,
            capacity,
            health: Arc::clone(health),
            state: Mutex::new(State::default()),
            changed: Notify::new(),
            freed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State) {
        let metric = match self.signal {
            Signal::Metrics => Metric::QueueMetrics,
            Signal::Traces => Metric::QueueTraces,
        };
        self.health.store(metric, state.bytes as u64);
    }

    /// Adds a payload whose items are counted as built already.
    pub(crate) fn push(&self, payload: Payload) {
        let mut state = self.state();
        if state.closed || state.ended {
            let why = if state.ended { Loss::OutputClosed } else { Loss::Shutdown };
            self.signal.dropped(&self.health, why, payload.items, "the destination has ended");
            return;
        }
        let size = payload.body.len();
        let mut lost = match self.capacity.checked_sub(size) {
            Some(room) => self.drop_oldest(&mut state, room),
            None => 0,
        };
        if state.bytes + size > self.capacity {
            lost += payload.items;
        } else {
            state.bytes += size;
            state.waiting.push_back(payload);
        }
        self.show(&state);
        drop(state);
        self.signal.dropped(
            &self.health,
            Loss::QueueFull,
            lost,
            "the end point takes less than we see; limits.export_queue",
        );
        self.changed.notify_one();
    }

    /// Waits until a payload of this size fits without dropping any, or nothing is taken any more. Cancel-safe.
    pub(crate) async fn room(&self, size: usize) {
        loop {
            {
                let state = self.state();
                if state.bytes + size <= self.capacity || state.closed || state.ended {
                    return;
                }
            }
            self.freed.notified().await;
        }
    }

    /// As [`Pending::room`], but not behind a destination that fails: there, new telemetry is worth more than old. Cancel-safe.
    pub(crate) async fn room_while_healthy(&self, size: usize) {
        loop {
            {
                let state = self.state();
                let fits = state.bytes == 0 || state.bytes + size <= self.capacity;
                if fits || state.failing || state.closed || state.ended {
                    return;
                }
            }
            self.freed.notified().await;
        }
    }

    /// Drops the oldest payloads that are not on the wire until half of the queue is free.
    pub(crate) fn make_room(&self) {
        let mut state = self.state();
        let lost = self.drop_oldest(&mut state, self.capacity / 2);
        drop(state);
        self.signal.dropped(&self.health, Loss::QueueFull, lost, FULL);
    }

    /// Drops until at most `bytes` are left; gives the items lost.
    fn drop_oldest(&self, state: &mut State, bytes: usize) -> u64 {
        let mut lost = 0;
        while state.bytes > bytes {
            let Some(old) = state.waiting.remove(usize::from(state.on_wire)) else { break };
            state.bytes -= old.body.len();
            lost += old.items;
        }
        self.show(state);
        lost
    }

    /// The oldest payload, which counts as on the wire until [`Pending::delivered`] or [`Pending::again`]; `None`: closed and
    /// empty. Cancel-safe.
    pub(crate) async fn next(&self) -> Option<Payload> {
        loop {
            {
                let mut state = self.state();
                if let Some(payload) = state.waiting.front().cloned() {
                    state.on_wire = true;
                    return Some(payload);
                }
                if state.closed || state.ended {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Ends the sending of the oldest payload: `rejected` of its items were refused, the rest is delivered.
    pub(crate) fn delivered(&self, rejected: u64, message: &str) {
        if let Some(payload) = self.take() {
            let rejected = rejected.min(payload.items);
            self.signal.exported(&self.health, payload.items - rejected);
            self.signal.dropped(&self.health, Loss::Rejected, rejected, message);
        }
    }

    /// Ends the sending of the oldest payload: it will never be accepted.
    pub(crate) fn refused(&self, why: Loss, error: &str) {
        if let Some(payload) = self.take() {
            self.signal.dropped(&self.health, why, payload.items, error);
        }
    }

    /// Ends the sending of the oldest payload: it stays, and may be dropped for newer ones.
    pub(crate) fn again(&self) {
        let mut state = self.state();
        state.on_wire = false;
        state.failing = true;
        drop(state);
        self.freed.notify_one();
    }

    fn take(&self) -> Option<Payload> {
        let mut state = self.state();
        state.on_wire = false;
        state.failing = false;
        let payload = state.waiting.pop_front()?;
        state.bytes -= payload.body.len();
        self.show(&state);
        drop(state);
        self.freed.notify_one();
        Some(payload)
    }

    /// Nothing is added from now on; the queue ends when it is empty.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
        self.freed.notify_one();
    }

    /// The destination is gone: all that is here or comes later is lost, by `why`.
    pub(crate) fn end(&self, why: Loss, detail: &str) {
        let mut state = self.state();
        state.closed = why == Loss::Shutdown;
        state.ended = why != Loss::Shutdown;
        state.on_wire = false;
        state.bytes = 0;
        let lost = std::mem::take(&mut state.waiting).iter().map(|payload| payload.items).sum();
        self.show(&state);
        drop(state);
        self.signal.dropped(&self.health, why, lost, detail);
        self.changed.notify_one();
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(fill: u8, size: usize) -> Payload {
        Payload { body: Bytes::from(vec![fill; size]), items: 1 }
    }

    fn pending(capacity: usize) -> (Pending, Arc<Health>) {
        let health = Arc::new(Health::default());
        (Pending::new(Signal::Traces, capacity, &health), health)
    }

    fn push(pending: &Pending, health: &Health, payload: Payload) {
        Signal::Traces.built(health, payload.items);
        pending.push(payload);
    }

    #[tokio::test]
    async fn who_is_patient_waits_for_a_destination_that_works_and_not_for_one_that_fails() {
        let (pending, health) = pending(30);
        push(&pending, &health, payload(1, 20));
        assert_eq!(pending.next().await, Some(payload(1, 20)));
        pending.room_while_healthy(10).await;
        let waits = async |pending: &Pending| {
            let mut room = std::pin::pin!(pending.room_while_healthy(20));
            std::future::poll_fn(|context| std::task::Poll::Ready(room.as_mut().poll(context).is_pending())).await
        };
        assert!(waits(&pending).await, "20 of 30 bytes are taken by what is on the wire");
        pending.again();
        assert!(!waits(&pending).await, "the destination failed");
        assert_eq!(pending.next().await, Some(payload(1, 20)));
        assert!(!waits(&pending).await, "and is still to prove that it works");
        pending.delivered(0, "");
        assert!(!waits(&pending).await, "empty");
    }

    #[tokio::test]
    async fn when_full_the_oldest_not_on_the_wire_is_dropped_and_counted() {
        let (pending, health) = pending(30);
        for fill in 1..=3 {
            push(&pending, &health, payload(fill, 10));
        }
        assert_eq!(pending.next().await, Some(payload(1, 10)));
        push(&pending, &health, payload(4, 10));
        assert_eq!(health.load(Metric::SpansQueueFull), 1);
        pending.delivered(0, "");
        assert_eq!(pending.next().await, Some(payload(3, 10)), "the second was the oldest that could be dropped");
        pending.again();
        push(&pending, &health, payload(5, 20));
        assert_eq!(pending.next().await, Some(payload(4, 10)), "what waits for its retry is dropped like the rest");
        assert_eq!(health.load(Metric::SpansBuilt), 5);
        assert_eq!(health.load(Metric::SpansExported), 1);
        assert_eq!(health.load(Metric::SpansQueueFull), 2);
        assert_eq!(health.load(Metric::SpansQueued), 2);
        assert_eq!(health.load(Metric::QueueTraces), 30);
    }

    #[tokio::test]
    async fn a_payload_over_the_bound_is_dropped_itself() {
        let (pending, health) = pending(30);
        push(&pending, &health, payload(1, 31));
        pending.close();
        assert_eq!(pending.next().await, None);
        assert_eq!(health.load(Metric::SpansQueueFull), 1);
        assert_eq!(health.load(Metric::SpansQueued), 0);
    }

    #[tokio::test]
    async fn rejected_items_are_counted_apart_and_never_more_than_there_were() {
        let (pending, health) = pending(30);
        Signal::Traces.built(&health, 5);
        pending.push(Payload { body: Bytes::from_static(b"x"), items: 5 });
        pending.next().await.unwrap();
        pending.delivered(99, "no");
        assert_eq!((health.load(Metric::SpansExported), health.load(Metric::SpansRejected)), (0, 5));
    }
}
