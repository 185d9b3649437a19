//! The tracker's ledgers: plain numbers that must balance whenever no event is being handled.
//!
//! In: what each step did with bytes and exchanges. Out: [`Counts`], read by the health metrics, `doctor` and tests.

use sidelight_protocol_parsers::{Emitted, Incomplete};

/// Everything the tracker counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Where every byte went.
    pub bytes: Bytes,
    /// What became of every exchange.
    pub exchanges: Exchanges,
    /// What became of every connection.
    pub connections: Connections,
    /// Holes told to parsers: bytes missing between events.
    pub gaps: u64,
    /// Times a parser found bytes that are not of its protocol.
    pub malformed: u64,
}

/// `presented = parsed + skipped + gap + truncated + unclassified + ignored + buffered`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// True length of all data events, and of the gaps between them.
    pub presented: u64,
    /// Consumed by parsers.
    pub parsed: u64,
    /// Not at hand, and not needed: inside a body that is counted.
    pub skipped: u64,
    /// Missing between events.
    pub gap: u64,
    /// Not copied by the hook, or unreadable, where a parser needed them.
    pub truncated: u64,
    /// Of connections whose protocol is unknown, not ours, or was given up.
    pub unclassified: u64,
    /// Not delivered; the reasons are below.
    pub ignored: u64,
    /// Waiting in the tracker now.
    pub buffered: u64,
    /// Part of `ignored`: seen before (retransmissions, late events of a range given up).
    pub duplicate: u64,
    /// Part of `ignored`: two threads moved the same direction at once, order unknown; or overlapping events.
    pub contended: u64,
    /// Part of `ignored`: ciphertext of a connection whose plaintext is read.
    pub ciphertext: u64,
    /// Part of `ignored`: of the end of a captured connection that is not looked at.
    pub other_side: u64,
    /// Part of `ignored`: plaintext of a TLS object that was not tied to a connection in time.
    pub tls_unbound: u64,
    /// Part of `ignored`: plaintext of a TLS object tied to more than one connection.
    pub tls_conflict: u64,
}

impl Bytes {
    /// Whether the ledger balances.
    #[must_use]
    pub fn balanced(&self) -> bool {
        let Self { presented, parsed, skipped, gap, truncated, unclassified, ignored, buffered, .. } = self;
        let Self { duplicate, contended, ciphertext, other_side, tls_unbound, tls_conflict, .. } = self;
        *presented == [*parsed, *skipped, *gap, *truncated, *unclassified, *ignored, *buffered].iter().sum::<u64>()
            && *ignored
                == [*duplicate, *contended, *ciphertext, *other_side, *tls_unbound, *tls_conflict].iter().sum::<u64>()
    }
}

/// `begun = done + incomplete + open`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchanges {
    /// Requests recognised.
    pub begun: u64,
    /// Ended whole.
    pub done: u64,
    /// Ended with something missing, by the first reason in the order of [`Incomplete::ALL`].
    pub incomplete: [u64; Incomplete::ALL.len()],
}

impl Exchanges {
    /// Begun and not yet ended.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.begun - self.done - self.incomplete.iter().sum::<u64>()
    }

    /// Counts what a parser said.
    pub(super) fn count(&mut self, what: &Emitted) {
        match what {
            Emitted::Begun { .. } => self.begun += 1,
            Emitted::Done(exchange) => {
                let reason = Incomplete::ALL.into_iter().position(|why| exchange.incomplete.contains(why));
                match reason.and_then(|index| self.incomplete.get_mut(index)) {
                    Some(count) => *count += 1,
                    None => self.done += 1,
                }
            }
            Emitted::Answered { .. } | Emitted::Switch(_) => {}
        }
    }
}

/// `opened = closed + idle + limit + memory + shutdown + live`. TLS objects count as connections of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Seen for the first time.
    pub opened: u64,
    /// Ended by their own.
    pub closed: u64,
    /// Dropped: nothing happened for too long.
    pub idle: u64,
    /// Dropped: there were too many.
    pub limit: u64,
    /// Dropped: buffers were full.
    pub memory: u64,
    /// Dropped at the end.
    pub shutdown: u64,
    /// Tracked now.
    pub live: u64,
    /// The parser did not understand three chunks in a row: judged anew, or given up.
    pub desync: u64,
    /// Given up: a protocol that is recognised and not ours.
    pub opaque: u64,
    /// Given up: nothing we know.
    pub unknown: u64,
    /// TLS objects whose plaintext waited too long for its connection.
    pub tls_unbound: u64,
    /// TLS objects tied to more than one connection.
    pub tls_conflict: u64,
}
