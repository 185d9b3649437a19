//! What the client's messages mean for the queue.
//!
//! In: messages already read, in their order. Out: units of the queue, and `Begun`.

use std::sync::Arc;

use super::{DRAINS, Pairing, Place, Trust};
use crate::contract::Mark;
use crate::exchange::Output;
use crate::postgresql::statements::{Bound, Statement};
use crate::postgresql::unit::{Gives, Step, Unit};

impl Pairing {
    /// Something that will be answered is sent. Whether what the server says next begins a message.
    pub(in crate::postgresql) fn asks(&mut self, out: &mut Output) -> bool {
        self.active = true;
        let quiet = std::mem::take(&mut self.ready) && self.units.is_empty();
        match self.trust {
            Trust::Trial { drains } if quiet && drains + 1 >= DRAINS => self.release(out),
            Trust::Trial { drains } if quiet => self.trust = Trust::Trial { drains: drains + 1 },
            Trust::Unsure if quiet => {
                self.trust = Trust::Trial { drains: 0 };
                self.statements.lose_answers();
                (self.aside, self.open) = (None, None);
                return true;
            }
            Trust::Sure | Trust::Trial { .. } | Trust::Unsure => {}
        }
        false
    }

    pub(in crate::postgresql) fn query(
        &mut self,
        statement: Statement,
        deallocates: Option<&[u8]>,
        place: &Place,
        out: &mut Output,
    ) {
        self.close_unit();
        let mut unit = Unit::new(Step::Query, place.first, place.last, Gives::Maybe);
        (unit.statement, unit.own, unit.deallocates) = (Some(Arc::new(statement)), true, deallocates.is_some());
        if !self.skipping {
            self.statements.cycle(true);
            deallocates.into_iter().for_each(|name| self.statements.close(name));
        }
        self.push(unit, out);
        self.begin(out);
    }

    pub(in crate::postgresql) fn function(&mut self, place: &Place, out: &mut Output) {
        self.close_unit();
        if !self.skipping {
            self.statements.cycle(false);
        }
        self.push(Unit::new(Step::Function, place.first, place.last, Gives::Maybe), out);
        self.begin(out);
    }

    pub(in crate::postgresql) fn parse(&mut self, name: &[u8], statement: Statement, place: &Place, out: &mut Output) {
        self.close_unit();
        let mut unit = Unit::new(Step::Parse, place.first, place.last, Gives::Maybe);
        let statement = Arc::new(statement);
        (unit.statement, unit.own) = (Some(statement.clone()), true);
        self.push(unit, out);
        if !self.beside() {
            self.statements.parse(name, &statement);
            self.limit();
        } else {
            if self.trust == Trust::Unsure {
                // Whether it succeeds will not be known. If an unnamed one does not, nothing can be bound to it.
                self.statements.close(name);
            }
            self.statements.unnamed(name, statement);
        }
        self.open = Some(None);
    }

    pub(in crate::postgresql) fn bind(&mut self, bound: Bound, place: &Place, out: &mut Output) {
        let parsed_here = self.open == Some(None)
            && self.newest().is_some_and(|unit| match (&unit.statement, &bound.statement) {
                (Some(parsed), Some(bound)) => unit.own && Arc::ptr_eq(parsed, bound),
                _ => false,
            });
        if !(parsed_here && self.join(Step::Bind, place)) {
            self.close_unit();
            let mut unit = Unit::new(Step::Bind, place.first, place.last, Gives::Maybe);
            unit.statement = bound.statement;
            self.push(unit, out);
        }
        self.open = Some(Some(bound.bind));
    }

    pub(in crate::postgresql) fn describe(&mut self, step: Step, place: &Place, out: &mut Output) {
        if !(self.open.is_some() && self.join(step, place)) {
            self.append(step, place, out);
        }
    }

    pub(in crate::postgresql) fn execute(&mut self, bound: Option<Bound>, place: &Place, out: &mut Output) {
        let bound_here = self.open.flatten().is_some() && self.open.flatten() == bound.as_ref().map(|bound| bound.bind);
        if !(bound_here && self.join(Step::Execute, place)) {
            self.close_unit();
            let mut unit = Unit::new(Step::Execute, place.first, place.last, Gives::Maybe);
            unit.statement = bound.and_then(|bound| bound.statement);
            self.push(unit, out);
        }
        self.open = None;
        self.begin(out);
    }

    /// Close: of a statement or a portal.
    pub(in crate::postgresql) fn close_name(&mut self, place: &Place, out: &mut Output) {
        self.close_unit();
        self.append(Step::Close, place, out);
    }

    /// What was asked will be answered without more being asked.
    pub(in crate::postgresql) fn flush(&mut self) {
        self.close_unit();
    }

    pub(in crate::postgresql) fn sync(&mut self, place: &Place, out: &mut Output) {
        self.close_unit();
        self.aside = None;
        if std::mem::take(&mut self.skipping) {
            // What was parsed meanwhile was not.
            self.statements.close(b"");
        }
        if self.trust == Trust::Unsure {
            self.owe(1);
        } else if !self.copying {
            self.statements.cycle(false);
            self.append(Step::Sync, place, out);
        }
    }

    /// CopyDone or CopyFail.
    pub(in crate::postgresql) fn copy_ends(&mut self, place: &Place, out: &mut Output) {
        if !std::mem::take(&mut self.copying) && !self.units.is_empty() {
            self.append(Step::CopyEnd, place, out);
        }
    }

    /// More of the newest request, or of its COPY data; those of one of several requests are not told apart.
    pub(in crate::postgresql) fn request_bytes(&mut self, last: Mark, copy: bool) {
        self.active = true;
        if !copy || self.units.len() == 1 {
            self.extend(last);
        }
    }
}
