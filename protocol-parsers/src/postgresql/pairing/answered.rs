//! What the server's messages mean for the queue.
//!
//! In: messages already read, in their order. Out: `Answered` and `Done`.

use super::{Pairing, Place};
use crate::contract::Mark;
use crate::exchange::Output;
use crate::postgresql::message::Failure;
use crate::postgresql::unit::{Gives, Step};

impl Pairing {
    /// Something other than ReadyForQuery comes, asynchronous messages apart.
    pub(in crate::postgresql) fn turn(&mut self) {
        self.active = true;
        self.ready = false;
    }

    /// A whole message, or the head of one that only its length is asked of.
    pub(in crate::postgresql) fn message(&mut self, kind: u8, tag: &[u8], place: &Place, out: &mut Output) {
        self.turn();
        let Some(step) = self.first_step() else { return self.unexpected(out) };
        let answers = match (step, kind) {
            (Step::Bind, b'2')
            | (Step::Close, b'3')
            | (Step::DescribePortal | Step::DescribeStatement, b'T' | b'n')
            | (Step::DescribeStatement, b't')
            | (Step::Execute, b'C' | b'D' | b'G' | b'H' | b'I' | b'c' | b'd' | b's')
            | (Step::Function, b'V')
            | (Step::Parse, b'1')
            | (Step::Query, b'C' | b'G' | b'H' | b'I' | b'T' | b'W' | b'c' | b'd')
            | (Step::Startup, b'K' | b'R' | b'v') => true,
            // Rows are described before they come.
            (Step::Query, b'D') => self.answer.as_ref().is_some_and(|answer| answer.described),
            _ => false,
        };
        if !answers || self.contradicts(kind, tag) {
            return self.unexpected(out);
        }
        self.answering(place.first, out);
        if let Some(answer) = &mut self.answer {
            answer.take(kind, tag);
        }
        match (step, kind) {
            (Step::Execute | Step::Query, b'C') => {
                let own = self.units.front().is_some_and(|unit| unit.deallocates);
                if tag == b"DEALLOCATE ALL" || tag == b"DISCARD ALL" || (tag == b"DEALLOCATE" && !own) {
                    self.statements.deallocated();
                }
            }
            (Step::Execute | Step::Query, b'G') => self.copy_begins(),
            (Step::Parse, _) => self.statements.parsed(),
            _ => {}
        }
        match (step, kind) {
            (Step::DescribeStatement, b't') | (Step::Query | Step::Function | Step::Startup, _) => {}
            (Step::Execute, b'C' | b'I' | b's') => {
                self.finish(place.last, out);
                self.pop();
            }
            (Step::Execute, _) => {}
            _ => self.pop(),
        }
    }

    /// More rows, directly behind one.
    pub(in crate::postgresql) fn more_rows(&mut self, rows: u64) {
        if let Some(answer) = &mut self.answer {
            answer.rows += rows;
        }
    }

    /// ReadyForQuery; `idle`: no transaction is open.
    pub(in crate::postgresql) fn ready(&mut self, idle: bool, place: &Place, out: &mut Output) {
        self.active = true;
        let ends = match self.first_step() {
            Some(Step::Startup | Step::Sync) => true,
            Some(Step::Function | Step::Query) => self.answer.as_ref().is_some_and(|answer| answer.ended),
            Some(_) | None => false,
        };
        if ends {
            self.statements.cycle_ended(idle);
            self.finish(place.last, out);
            self.pop();
        } else {
            self.unexpected(out);
        }
        self.owed = self.owed.saturating_sub(1);
        self.ready = self.owed == 0;
    }

    /// An ErrorResponse begins.
    pub(in crate::postgresql) fn fails(&mut self, first: Mark, out: &mut Output) {
        self.turn();
        if !matches!(self.first_step(), None | Some(Step::Startup | Step::Sync)) {
            self.answering(first, out);
        }
    }

    /// It has come to its end.
    pub(in crate::postgresql) fn failed(&mut self, failure: Failure, last: Mark, out: &mut Output) {
        match self.first_step() {
            None if failure.fatal => {}
            None => self.unexpected(out),
            // What fails at a Sync is the commit; its statements have their answers. A start that fails is no query.
            Some(Step::Startup | Step::Sync) => {}
            Some(Step::Function | Step::Query) => {
                self.copying = false;
                if let Some(answer) = &mut self.answer {
                    (answer.failure, answer.ended) = (Some(failure), true);
                }
                if failure.fatal {
                    self.finish(last, out);
                    self.pop();
                }
            }
            Some(_) => {
                self.copying = false;
                if let Some(answer) = &mut self.answer {
                    answer.failure = Some(failure);
                }
                if self.units.front().is_some_and(|unit| unit.gives == Gives::Maybe) {
                    // Its Execute will not come, or is passed over.
                    self.begin_at(0, out);
                }
                self.finish(last, out);
                self.pass_over(out);
            }
        }
    }

    /// The oldest request is being answered.
    pub(in crate::postgresql) fn is_answering(&self) -> bool {
        self.answer.is_some()
    }

    /// Bytes of the answer up to here were seen.
    pub(in crate::postgresql) fn answer_bytes(&mut self, last: Mark) {
        if let Some(answer) = &mut self.answer {
            answer.last = last;
        }
    }
}
