//! What was asked and waits for its answer.

use std::collections::VecDeque;
use std::sync::Arc;

use super::statements::Statement;
use crate::contract::{KernelTime, Mark};
use crate::exchange::ExchangeId;

/// One message that the server answers, or that ends something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    Bind = 1,
    Close,
    /// CopyDone or CopyFail. It has no answer, and stands here for what lies in front of it.
    CopyEnd,
    DescribePortal,
    DescribeStatement,
    Execute,
    Function,
    Parse,
    Query,
    Startup,
    Sync,
}

/// Up to eight steps in their order, four bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps(u32);

impl Steps {
    /// Appends one if there is room.
    pub(super) fn push(&mut self, step: Step) -> bool {
        let used = (32 - self.0.leading_zeros()).next_multiple_of(4);
        let room = used < 32;
        if room {
            self.0 |= u32::from(step as u8) << used;
        }
        room
    }

    pub(super) fn first(self) -> Option<Step> {
        Some(match self.0 & 15 {
            1 => Step::Bind,
            2 => Step::Close,
            3 => Step::CopyEnd,
            4 => Step::DescribePortal,
            5 => Step::DescribeStatement,
            6 => Step::Execute,
            7 => Step::Function,
            8 => Step::Parse,
            9 => Step::Query,
            10 => Step::Startup,
            11 => Step::Sync,
            _ => return None,
        })
    }

    pub(super) fn pop(&mut self) {
        self.0 >>= 4;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many of them ReadyForQuery answers.
    pub(super) fn cycles(mut self) -> u32 {
        let mut cycles = 0;
        while let Some(step) = self.first() {
            cycles += u32::from(matches!(step, Step::Function | Step::Query | Step::Startup | Step::Sync));
            self.pop();
        }
        cycles
    }

    /// Takes out every Sync behind the first step and in front of the next CopyEnd, which goes as well; whether there was one.
    pub(super) fn remove_syncs(&mut self, keep_first: bool) -> bool {
        let (mut rest, mut kept, mut ended, mut first) = (*self, Self::default(), false, keep_first);
        while let Some(step) = rest.first() {
            rest.pop();
            let goes = !first && !ended && matches!(step, Step::CopyEnd | Step::Sync);
            ended |= goes && step == Step::CopyEnd;
            first = false;
            if !goes {
                kept.push(step);
            }
        }
        *self = kept;
        ended
    }
}

/// What a unit gives when it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    /// An exchange, which was begun.
    Exchange,
    /// An exchange, if its Execute follows, or if it fails.
    Maybe,
    /// Nothing, or nothing more.
    Nothing,
}

/// A unit like the one in front of it: a pipeline may hold thousands of them.
#[derive(Clone, Copy)]
pub(super) struct Again {
    /// Nanoseconds behind the one in front.
    later: u32,
    /// Bytes from that one's first byte to its own.
    stride: u16,
    /// The same on the wire, where TLS adds to it.
    wire_stride: u16,
    bytes: u16,
}

/// Those behind one unit, oldest first.
struct Run {
    all: VecDeque<Again>,
    /// The first byte of the last of them.
    last: Mark,
}

/// Messages that follow each other and make one exchange, or none: `Parse? Bind? Describe? Execute`, or a Query; and what
/// else was sent behind them.
pub(super) struct Unit {
    pub(super) first: Mark,
    /// The last byte, if another call moved it than the first.
    later: Option<Box<Mark>>,
    pub(super) bytes: u64,
    pub(super) statement: Option<Arc<Statement>>,
    pub(super) id: ExchangeId,
    pub(super) steps: Steps,
    pub(super) gives: Gives,
    /// The statement's text came with it.
    pub(super) own: bool,
    /// Its text could not be kept.
    pub(super) textless: bool,
    /// The name it deallocates is forgotten already.
    pub(super) deallocates: bool,
    /// Its steps, before any was done.
    all_steps: Steps,
    /// What follows it.
    run: Option<Box<Run>>,
}

impl Unit {
    pub(super) fn new(step: Step, first: Mark, last: Mark, gives: Gives) -> Self {
        let mut steps = Steps::default();
        steps.push(step);
        let mut unit = Self {
            first,
            later: None,
            bytes: 0,
            statement: None,
            id: ExchangeId(u64::MAX),
            steps,
            gives,
            own: false,
            textless: false,
            deallocates: false,
            all_steps: steps,
            run: None,
        };
        unit.extend(last);
        unit
    }

    /// Appends a step if there is room.
    pub(super) fn push(&mut self, step: Step) -> bool {
        let pushed = self.steps.push(step);
        if pushed {
            self.all_steps.push(step);
        }
        pushed
    }

    /// A unit behind it and its run, if it is just like this one, but for its place.
    pub(super) fn again(&self, next: &Self) -> Option<Again> {
        let (len, last) = self.run.as_ref().map_or((0, self.first), |run| (run.all.len() as u64, run.last));
        let Mark { time, offset, wire_seq, .. } = next.first;
        let stride = u16::try_from(offset.wrapping_sub(last.offset)).ok()?;
        let wire_stride = u16::try_from(wire_seq.wrapping_sub(last.wire_seq)).ok()?;
        let plain = |unit: &Self| !unit.own && !unit.textless && !unit.deallocates;
        let same = match (&self.statement, &next.statement) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        let alike = plain(self)
            && plain(next)
            && same
            && next.gives == Gives::Exchange
            && next.later.is_none()
            && next.id.0 == self.id.0.wrapping_add(len + 1)
            && next.steps == self.all_steps
            && next.all_steps == self.all_steps
            && Mark { time, offset, wire_seq, ..last } == next.first;
        let later = u32::try_from(time.0.checked_sub(last.time.0)?).ok()?;
        alike.then_some(Again { later, stride, wire_stride, bytes: u16::try_from(next.bytes).ok()? })
    }

    /// Such a unit follows it.
    pub(super) fn repeat(&mut self, again: Again) {
        let first = self.first;
        let run = self.run.get_or_insert_with(|| Box::new(Run { all: VecDeque::new(), last: first }));
        run.last = run.last.behind(again);
        run.all.push_back(again);
    }

    /// It is done with: becomes the one that follows it, if there is one.
    pub(super) fn advance(&mut self) -> bool {
        let Some(again) = self.run.as_mut().and_then(|run| run.all.pop_front()) else { return false };
        self.run.take_if(|run| run.all.is_empty());
        (self.first, self.later, self.bytes) = (self.first.behind(again), None, u64::from(again.bytes));
        (self.steps, self.gives) = (self.all_steps, Gives::Exchange);
        self.id.0 += 1;
        true
    }

    /// Whether others like it follow it.
    pub(super) fn repeats(&self) -> bool {
        self.run.is_some()
    }

    /// How often ReadyForQuery answers it and those that follow.
    pub(super) fn cycles(&self) -> u32 {
        let repeats = self.run.as_ref().map_or(0, |run| u32::try_from(run.all.len()).unwrap_or(u32::MAX));
        self.steps.cycles().saturating_add(self.all_steps.cycles().saturating_mul(repeats))
    }

    /// It reaches to this byte.
    pub(super) fn extend(&mut self, last: Mark) {
        self.bytes = last.offset.wrapping_sub(self.first.offset).wrapping_add(1);
        self.later = (self.derived() != last).then(|| Box::new(last));
    }

    /// The last byte.
    pub(super) fn last(&self) -> Mark {
        self.later.as_deref().copied().unwrap_or_else(|| self.derived())
    }

    /// The last byte, moved by the call that moved the first.
    fn derived(&self) -> Mark {
        self.first.last_of(self.bytes)
    }

    /// Bytes of heap that go when it goes.
    pub(super) fn heap(&self) -> usize {
        let text = self.statement.as_ref().filter(|_| self.own).map_or(0, |statement| statement.heap());
        let run = self.run.as_ref().map_or(0, |run| size_of::<Run>() + run.all.capacity() * size_of::<Again>());
        text + run + self.later.as_ref().map_or(0, |_| size_of::<Mark>())
    }
}

impl Mark {
    /// That of the unit behind the one whose first byte this is.
    fn behind(self, again: Again) -> Self {
        Self {
            time: KernelTime(self.time.0 + u64::from(again.later)),
            offset: self.offset.wrapping_add(again.stride.into()),
            wire_seq: self.wire_seq.wrapping_add(again.wire_stride.into()),
            ..self
        }
    }
}
