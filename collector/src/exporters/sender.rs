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
    /// Runs until the queue is closed and empty, or the output has ended, or a shutdown leaves no time to repeat or cuts a
    /// sending off. Gives back the last error, if the last sending failed.
    pub(crate) async fn run(mut self, mut transport: impl Transport) -> Option<String> {
        let mut failures = 0_u32;
        let mut last = None;
        while let Some(payload) = self.pending.next().await {
            let sent = tokio::select! {
                biased;
                sent = tokio::time::timeout(self.timeout, transport.send(&payload)) => sent,
                () = passed(self.deadline.clone()) => {
                    self.pending.again();
                    let error = last.as_deref().unwrap_or("not taken before the stop");
                    return Some(format!("{}: {error}", self.destination));
                }
            };
            let outcome = match sent {
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
                    last = None;
                }
                Outcome::Ended => {
                    self.pending.end(Loss::OutputClosed, "the reader of the output has gone");
                    return None;
                }
                Outcome::Refused(error) => {
                    self.pending.refused(Loss::Refused, &format!("{}: {error}", self.destination));
                    failures = 0;
                    last = None;
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
                    last = Some(error);
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

/// Waits until the deadline of a shutdown has passed.
async fn passed(mut deadline: watch::Receiver<Option<Instant>>) {
    let known = deadline.wait_for(Option::is_some).await.map(|deadline| *deadline);
    match known {
        Ok(Some(at)) => tokio::time::sleep_until(at).await,
        // No shutdown can come any more.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use bytes::Bytes;

    use super::*;
    use crate::telemetry::{Health, Metric};

    /// Gives these outcomes, one a sending, and writes down when it was asked; then it accepts everything.
    #[derive(Clone, Default)]
    struct Script {
        outcomes: Arc<Mutex<VecDeque<Outcome>>>,
        asked: Arc<Mutex<Vec<Duration>>>,
        start: Option<Instant>,
    }

    impl Transport for Script {
        async fn send(&mut self, _: &Payload) -> Outcome {
            let start = *self.start.get_or_insert_with(Instant::now);
            self.asked.lock().unwrap().push(start.elapsed());
            let next = self.outcomes.lock().unwrap().pop_front();
            next.unwrap_or(Outcome::Delivered { rejected: 0, message: String::new() })
        }
    }

    fn down() -> Outcome {
        Outcome::Retry { after: None, error: "down".to_owned() }
    }

    fn pending() -> (Arc<Pending>, Arc<Health>) {
        let health = Arc::new(Health::default());
        let pending = Arc::new(Pending::new(Signal::Traces, 1000, &health));
        Signal::Traces.built(&health, 1);
        pending.push(Payload { body: Bytes::from_static(b"x"), items: 1 });
        (pending, health)
    }

    async fn run(pending: &Pending, script: Script, deadline: watch::Receiver<Option<Instant>>) -> Option<String> {
        let (timeout, backoff) = (Duration::from_secs(10), Backoff::default());
        let destination = "there".to_owned();
        Sender { signal: Signal::Traces, destination, timeout, backoff, pending, deadline }.run(script).await
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_limit_with_jitter_of_a_half() {
        let (pending, health) = pending();
        pending.close();
        let script = Script::default();
        script.outcomes.lock().unwrap().extend((0..8).map(|_| down()));
        let (_sender, deadline) = watch::channel(None);
        assert_eq!(run(&pending, script.clone(), deadline).await, None);
        let asked = script.asked.lock().unwrap();
        let waits: Vec<f64> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        for (wait, whole) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
            assert!((whole / 2.0 - 0.01..=whole + 0.01).contains(wait), "{waits:?}");
        }
        assert_eq!((waits.len(), health.load(Metric::SpansExported)), (8, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_the_end_point_asks_for_is_kept() {
        let (pending, _) = pending();
        pending.close();
        let script = Script::default();
        let after = Some(Duration::from_secs(90));
        script.outcomes.lock().unwrap().push_back(Outcome::Retry { after, error: String::new() });
        let (_sender, deadline) = watch::channel(None);
        run(&pending, script.clone(), deadline).await;
        let waited = script.asked.lock().unwrap()[1];
        assert!((90.0..90.1).contains(&waited.as_secs_f64()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_for_one_more_attempt_and_gives_up_at_the_deadline() {
        let (pending, health) = pending();
        let script = Script::default();
        script.outcomes.lock().unwrap().extend((0..100).map(|_| down()));
        let (stop, deadline) = watch::channel(None);
        let stopped = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            stop.send_replace(Some(Instant::now() + Duration::from_secs(5)));
            pending.close();
        };
        let (error, ()) = tokio::join!(run(&pending, script.clone(), deadline), stopped);
        assert_eq!(error.as_deref(), Some("there: down"));
        let last = *script.asked.lock().unwrap().last().unwrap();
        assert!((100.0..100.1).contains(&last.as_secs_f64()), "{last:?}: at once, and not after the deadline");
        assert_eq!(health.load(Metric::SpansQueued), 1);
    }

    /// Fails so often, and then does not answer.
    struct Silent(u32);

    impl Transport for Silent {
        async fn send(&mut self, _: &Payload) -> Outcome {
            match self.0.checked_sub(1) {
                Some(left) => self.0 = left,
                None => std::future::pending().await,
            }
            down()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_that_cuts_a_sending_off_tells_the_last_error() {
        for (failures, error) in [(2, "there: down"), (0, "there: not taken before the stop")] {
            let (pending, health) = pending();
            let at = Instant::now() + Duration::from_secs(8);
            let (_stop, deadline) = watch::channel(Some(at));
            let (timeout, backoff) = (Duration::from_secs(10), Backoff::default());
            let destination = "there".to_owned();
            let sender = Sender { signal: Signal::Traces, destination, timeout, backoff, pending: &pending, deadline };
            let sent = tokio::time::timeout_at(at, sender.run(Silent(failures))).await;
            assert_eq!(sent.unwrap().as_deref(), Some(error), "though whoever waits gives up at the same moment");
            assert_eq!(health.load(Metric::SpansQueued), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_in_time_is_repeated() {
        let (pending, health) = pending();
        let (_stop, deadline) = watch::channel(Some(Instant::now() + Duration::from_secs(12)));
        let (timeout, backoff) =
            (Duration::from_secs(10), Backoff { first: Duration::from_secs(9), max: Duration::MAX });
        let destination = "there".to_owned();
        let sender = Sender { signal: Signal::Traces, destination, timeout, backoff, pending: &pending, deadline };
        assert_eq!(sender.run(Silent(0)).await.as_deref(), Some("there: no answer within 10s"));
        assert_eq!(health.load(Metric::SpansQueued), 1);
    }
}
