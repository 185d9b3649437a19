//! What the queue gives out: exchanges that were answered, that never will be, and those on trial.
//!
//! In: the oldest unit and its answer, or why there is none. Out: `Done`.

use super::{MAX_HEAP, Pairing, Trust};
use crate::contract::Mark;
use crate::exchange::{Details, Emitted, Exchange, Incomplete, Outcome, Output};
use crate::postgresql::answer::{Answer, exchange};
use crate::postgresql::unit::{Gives, Unit};

impl Pairing {
    /// The oldest unit was answered, up to this byte.
    pub(super) fn finish(&mut self, last: Mark, out: &mut Output) {
        let Some(answer) = self.answer.take() else { return };
        let exchange = self.take_first(Some(Answer { last, complete: true, ..answer }));
        exchange.into_iter().for_each(|exchange| self.give(exchange, out));
    }

    /// The exchange of the oldest unit, which stays for what was sent behind it.
    pub(super) fn take_first(&mut self, answer: Option<Answer>) -> Option<Box<Exchange>> {
        let unit = self.units.front_mut().filter(|unit| unit.gives == Gives::Exchange)?;
        let before = unit.heap();
        let exchange = exchange(unit, answer, self.role, &self.database);
        self.heap = self.heap + unit.heap() - before;
        Some(exchange)
    }

    pub(super) fn give(&mut self, exchange: Box<Exchange>, out: &mut Output) {
        let heap = size_of::<Exchange>() + exchange.text.capacity();
        if !matches!(self.trust, Trust::Trial { .. }) {
            out.emitted.push(Emitted::Done(exchange));
        } else if self.queue_heap() + heap <= MAX_HEAP {
            self.held_heap += heap;
            self.held.push(exchange);
            self.limit();
        } else {
            unpaired(exchange, out);
        }
    }

    pub(super) fn give_up(&self, mut unit: Unit, why: Incomplete, out: &mut Output) {
        let mut exchange = exchange(&mut unit, None, self.role, &self.database);
        exchange.incomplete.insert(why);
        out.emitted.push(Emitted::Done(exchange));
    }

    /// Nothing known will be answered.
    pub(super) fn give_up_all(&mut self, why: Incomplete, out: &mut Output) {
        while !self.units.is_empty() {
            let answer = self.answer.take();
            if let Some(mut exchange) = self.take_first(answer) {
                exchange.incomplete.insert(why);
                out.emitted.push(Emitted::Done(exchange));
            }
            self.drop_first();
        }
        (self.open, self.aside, self.skipping, self.copying) = (None, None, false, false);
    }

    /// The trial ended well.
    pub(super) fn release(&mut self, out: &mut Output) {
        self.held_heap = 0;
        out.emitted.extend(std::mem::take(&mut self.held).into_iter().map(Emitted::Done));
        self.trust = Trust::Sure;
    }

    /// Nothing known is known to belong together: held answers may be other requests'.
    pub(super) fn distrust(&mut self, why: Incomplete, out: &mut Output) {
        self.held_heap = 0;
        std::mem::take(&mut self.held).into_iter().for_each(|exchange| unpaired(exchange, out));
        self.statements.forget();
        // What is being answered may be another's answer as well.
        self.answer = None;
        self.give_up_all(why, out);
        self.untrusted();
    }

    pub(super) fn untrusted(&mut self) {
        self.statements.lose_answers();
        (self.trust, self.ready, self.owed) = (Trust::Unsure, false, 0);
    }
}

/// The server has not looked at it, for an error in front of it.
pub(super) fn not_executed(mut exchange: Box<Exchange>) -> Box<Exchange> {
    exchange.outcome = Some(Outcome::Error);
    exchange
}

/// Gives an exchange out without the answer, which may be another's.
fn unpaired(mut exchange: Box<Exchange>, out: &mut Output) {
    (exchange.response, exchange.outcome) = (None, None);
    exchange.incomplete.insert(Incomplete::Gap);
    if let Details::Db(db) = &mut exchange.details {
        (db.batch, db.rows, db.status) = (None, None, None);
    }
    out.emitted.push(Emitted::Done(exchange));
}
