//! Sends one signal's payloads, one at a time, and repeats what may be accepted later.
//!
//! In: the payloads of [`Pending`], a [`Transport`]. Out: each payload's end in the ledger.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    outcome::Outcome,
    pending::{Payload, Pending},
    signal::{Loss, Signal},
};
use crate::telemetry::events;

/// Takes payloads to their destination.
pub(crate) trait Transport {
    /// Sends one payload. Cancelling it gives up the connection.
    fn send(&mut self, payload: &Payload) -> impl Future<Output = Outcome> + Send;
}

/// Exponential back-off with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer, unless the end point asks for it.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row, at least one: doubling, and between half and the whole of it, so that
    /// many agents do not come back together.
    fn delay(self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.max);
        let share = RandomState::new().hash_one(failures) % 1000;
        doubled / 2 + (doubled / 2).mul_f64(share as f64 / 1000.0)
    }
}

/// What a sender needs to know besides its queue.
pub(crate) struct Sender<'a> {
    pub(crate) signal: Signal,
    pub(crate) destination: String,
    pub(crate) timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) pending: &'a Pending,
    /// The deadline of the shutdown, once there is one.
    pub(crate) deadline: watch::Receiver<Option<Instant>>,
}

impl Sender<'_> {
    /// Runs until the queue is closed and empty, or the output has ended, or a shutdown leaves no time to repeat.
    /// Gives back the last error, if the last sending failed.
    pub(crate) async fn run(mut self, mut transport: impl Transport) -> Option<String> {
        let mut failures = 0_u32;
        while let Some(payload) = self.pending.next().await {
            let outcome = match tokio::time::timeout(self.timeout, transport.send(&payload)).await {
                Ok(outcome) => outcome,
                Err(_) => Outcome::Retry { after: None, error: format!("no answer within {:?}", self.timeout) },
            };
            match outcome {
                Outcome::Delivered { rejected, message } => {
                    if rejected == 0 && !message.is_empty() {
                        events::ExportWarning { signal: self.signal.name(), message: &message }.emit();
                    }
                    self.pending.delivered(rejected, &message);
                    self.recovered(&mut failures);
                }
                Outcome::Ended => {
                    self.pending.end(Loss::OutputClosed, "the reader of the output has gone");
                    return None;
                }
                Outcome::Refused(error) => {
                    self.pending.refused(Loss::Refused, &format!("{}: {error}", self.destination));
                    failures = 0;
                }
                Outcome::Retry { after, error } => {
                    self.pending.again();
                    failures = failures.saturating_add(1);
                    let own = self.backoff.delay(failures);
                    let delay = after.map_or(own, |after| after.max(self.backoff.first / 2));
                    let (signal, destination) = (self.signal.name(), self.destination.as_str());
                    events::ExportRetry { signal, destination, error: &error, delay }.emit();
                    if !self.wait(delay).await {
                        return Some(format!("{}: {error}", self.destination));
                    }
                }
            }
        }
        None
    }

    fn recovered(&self, failures: &mut u32) {
        if std::mem::take(failures) > 0 {
            events::ExportRecovered { signal: self.signal.name(), destination: &self.destination }.emit();
        }
    }

    /// Waits; a shutdown that begins meanwhile ends the wait at once for one more attempt. `false`: it would end after the
    /// deadline.
    async fn wait(&mut self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        let known = *self.deadline.borrow_and_update();
        match known {
            Some(deadline) if until >= deadline => false,
            Some(_) => {
                tokio::time::sleep_until(until).await;
                true
            }
            None => {
                // An error means that no shutdown can come any more.
                let stop = async {
                    if self.deadline.changed().await.is_err() {
                        std::future::pending().await
                    }
                };
                drop(tokio::time::timeout_at(until, stop).await);
                true
            }
        }
    }
}
