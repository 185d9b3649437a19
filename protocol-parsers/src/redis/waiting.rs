//! A command that waits for its reply, and what the reply says of it.

use super::reply::Code;
use super::table::Effect;
use crate::contract::Mark;
use crate::exchange::{ExchangeId, Incomplete};

/// A command that was read to its end, or as far as it was seen.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) first: Mark,
    pub(super) last: Mark,
    pub(super) bytes: u64,
    /// Bytes of its text, the newest in the buffer.
    pub(super) text: u16,
    pub(super) operation: u8,
    pub(super) procedure: Option<(u16, u16)>,
    pub(super) effect: Effect,
    /// What it may be answered with, of [`super::table::replies`].
    pub(super) replies: u8,
    /// The table has it.
    pub(super) known: bool,
    /// Replies to come: confirmations of subscriptions; 0: until something else comes.
    pub(super) answers: u32,
    /// The argument of `SELECT`.
    pub(super) index: Option<u32>,
    pub(super) flaw: Option<Incomplete>,
}

impl Asked {
    /// Takes its text away.
    pub(super) fn unname(&mut self) {
        (self.operation, self.text, self.procedure) = (0, 0, None);
    }
}

/// One command in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: ExchangeId,
    pub(super) asked: Asked,
    /// Nothing was lost in front of it.
    pub(super) sure: bool,
}

#[derive(Debug)]
pub(super) enum Entry {
    Known(Waiting),
    /// So many replies to commands that were given out already.
    Told(u64),
}

/// What a reply said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer {
    /// It was an error.
    pub(super) error: Option<Code>,
    /// `+QUEUED`: the command is executed later.
    pub(super) queued: bool,
    /// Results in the reply to `EXEC`.
    pub(super) batch: Option<u64>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Failed,
    /// It waits for `EXEC`.
    Queued,
    /// Its reply was not seen, or not to its end.
    Unknown,
}
