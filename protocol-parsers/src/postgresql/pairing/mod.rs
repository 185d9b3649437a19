//! Which answer belongs to which request, and how sure that is.
//!
//! In: the messages of both sides, already read, and losses. Out: `Begun`, `Answered` and `Done`.
//!
//! The server answers in the order of the messages, each kind in its own way, and ends every cycle (a Query, or what a Sync
//! ends) with ReadyForQuery. So a queue pairs them while every byte is accounted for, and an answer that does not fit shows
//! at once. After a loss the number of requests under way is unknown. A request that comes when nothing known is outstanding
//! and the last thing the server said is ReadyForQuery is then taken for a *quiet point*; that is an error only if the client
//! pipelines and something invisible is still outstanding, which shows later as an answer too many or of another kind. So what
//! is paired behind a supposed quiet point is *on trial*: finished exchanges are held until the connection has drained and
//! gone on [`DRAINS`] times, was idle for two seconds, or ended in order; an answer that does not fit takes the answers from
//! all of them.
//!
//! What remains supposed: a client that pipelines does not stay silent for two seconds with nothing but invisible requests
//! outstanding, nor does it send each of sixteen requests just when the answer to the one before the last has come, and the
//! server does not end a connection in order that it owes answers to invisible requests.

mod answered;
mod asked;
mod given;
mod lasting;

use std::collections::VecDeque;

use self::given::not_executed;
pub(super) use self::lasting::Lasting;
use crate::contract::{Mark, Role};
use crate::exchange::{Exchange, ExchangeId, Incomplete, Output};
use crate::postgresql::answer::{Answer, exchange};
use crate::postgresql::statements::{Statements, Verb};
use crate::postgresql::unit::{Gives, Step, Unit};

/// Requests that may wait for their answer, those not counted that are like the one in front (many executions of one prepared
/// statement). Beyond, all are given up as `evicted`.
const MAX_UNITS: usize = 512;

/// Those that are: psycopg's `executemany` sends thousands before it reads. 24 KiB, or 48 where they are allotted in vain.
const MAX_FOLDED: usize = 2048;

/// Requests that may wait besides half as many as that.
const MAX_UNITS_BESIDE: usize = 128;

/// How often a connection must drain before a trial ends.
const DRAINS: u8 = 16;

/// Seconds of silence that end one.
const IDLE_TICKS: u8 = 2;

/// Bytes that one connection may hold: requests under way and what they ask, exchanges on trial (beyond, they are given out
/// without their answers) and prepared statements, which give way first.
const MAX_HEAP: usize = 54 << 10;

/// How well the queue is known to stand for the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    /// Nothing was lost, or it no longer matters.
    #[default]
    Sure,
    /// It is supposed to; see the module's documentation.
    Trial { drains: u8 },
    /// It is not.
    Unsure,
}

/// First and last byte of a message, as far as it was seen.
#[derive(Clone, Copy, Debug)]
pub(in crate::postgresql) struct Place {
    pub(in crate::postgresql) first: Mark,
    pub(in crate::postgresql) last: Mark,
}

/// The queue of one connection.
pub(in crate::postgresql) struct Pairing {
    pub(in crate::postgresql) role: Role,
    database: Box<[u8]>,
    pub(in crate::postgresql) statements: Statements,
    units: VecDeque<Unit>,
    /// Units that are part of another's run.
    folded: usize,
    /// Heap of the units.
    heap: usize,
    /// A unit that is built while the queue is not kept.
    aside: Option<Box<Unit>>,
    /// The newest unit may go on: the number of its Bind, if it has one.
    open: Option<Option<u64>>,
    /// Of the oldest unit.
    answer: Option<Answer>,
    #[expect(clippy::vec_box, reason = "they came in boxes and leave in them")]
    held: Vec<Box<Exchange>>,
    /// Heap of those.
    held_heap: usize,
    trust: Trust,
    next: u64,
    /// The last thing the server said is ReadyForQuery, and nothing was asked since.
    ready: bool,
    /// So many times ReadyForQuery is known to come for requests that were given up, while nothing is lost.
    owed: u32,
    /// The server passes over everything up to the next Sync, which is still to be sent.
    skipping: bool,
    /// The server reads COPY data, whose end is still to be sent: it passes over Sync.
    copying: bool,
    /// Something happened since the last tick.
    active: bool,
    idle: u8,
}

impl Pairing {
    pub(in crate::postgresql) fn new(role: Role) -> Self {
        Self {
            role,
            database: Box::default(),
            statements: Statements::default(),
            units: VecDeque::new(),
            folded: 0,
            heap: 0,
            aside: None,
            open: None,
            answer: None,
            held: Vec::new(),
            held_heap: 0,
            trust: Trust::Sure,
            next: 0,
            ready: false,
            owed: 0,
            skipping: false,
            copying: false,
            active: false,
            idle: 0,
        }
    }

    /// Bytes of heap.
    pub(in crate::postgresql) fn heap(&self) -> usize {
        let aside = self.aside.as_ref().map_or(0, |unit| size_of::<Unit>() + unit.heap());
        aside + self.database.len() + self.statements.heap() + self.queue_heap()
    }

    fn queue_heap(&self) -> usize {
        self.heap
            + self.units.capacity() * size_of::<Unit>()
            + self.held_heap
            + self.held.capacity() * size_of::<Box<Exchange>>()
    }

    /// The connection was opened, with this database.
    pub(in crate::postgresql) fn opened(&mut self, database: &[u8], place: &Place, out: &mut Output) {
        if self.trust != Trust::Sure {
            self.distrust(Incomplete::Gap, out);
        }
        self.trust = Trust::Sure;
        self.statements.forget();
        self.statements.cycle(false);
        self.database = database.into();
        self.push(Unit::new(Step::Startup, place.first, place.last, Gives::Nothing), out);
    }

    /// The client's direction lost its place: requests may be hidden from here on.
    pub(in crate::postgresql) fn request_lost(&mut self, why: Incomplete, out: &mut Output) {
        self.active = true;
        if matches!(self.trust, Trust::Trial { .. }) {
            return self.distrust(why, out);
        }
        // Requests from before the loss are still answered first, in their order.
        self.close_unit();
        self.statements.forget();
        self.trust = Trust::Unsure;
        (self.ready, self.owed, self.skipping, self.copying, self.aside) = (false, 0, false, false, None);
    }

    /// COPY in both directions begins: the connection speaks something else from here on.
    pub(in crate::postgresql) fn streams(&mut self, last: Mark, out: &mut Output) {
        self.finish(last, out);
        self.give_up_all(Incomplete::Desync, out);
    }

    /// In a direction that was lost, the server has said ReadyForQuery last, or not.
    pub(in crate::postgresql) fn tail(&mut self, ready: bool) {
        self.active = true;
        self.ready = ready;
    }

    /// The server's direction lost its place.
    pub(in crate::postgresql) fn answer_lost(&mut self, why: Incomplete, out: &mut Output) {
        self.active = true;
        if matches!(self.trust, Trust::Trial { .. }) {
            return self.distrust(why, out);
        }
        self.give_up_all(why, out);
        self.untrusted();
    }

    /// The connection ended, or the server's direction: nothing will be answered any more. `proven`: nor was anything that is
    /// not known of.
    pub(in crate::postgresql) fn end(&mut self, why: Incomplete, proven: bool, out: &mut Output) {
        match self.trust {
            Trust::Trial { .. } if proven && self.answer.is_none() => self.release(out),
            Trust::Trial { .. } => self.distrust(why, out),
            Trust::Sure | Trust::Unsure => {}
        }
        self.give_up_all(why, out);
    }

    /// About a second passed.
    pub(in crate::postgresql) fn tick(&mut self, out: &mut Output) {
        let idle = !std::mem::take(&mut self.active);
        self.idle = if idle { self.idle.saturating_add(1) } else { 0 };
        if self.idle >= IDLE_TICKS && self.units.is_empty() && matches!(self.trust, Trust::Trial { .. }) {
            self.release(out);
        }
    }

    /// Units are built, but not kept: their answers could not be told, or there will be none.
    fn beside(&self) -> bool {
        self.trust == Trust::Unsure || self.skipping
    }

    fn newest(&mut self) -> Option<&mut Unit> {
        if self.beside() { self.aside.as_deref_mut() } else { self.units.back_mut() }
    }

    fn push(&mut self, mut unit: Unit, out: &mut Output) {
        self.fold();
        let most = if self.folded > MAX_FOLDED / 2 { MAX_UNITS_BESIDE } else { MAX_UNITS };
        if !self.beside() && self.units.len() >= most {
            let owed = self.units.iter().map(Unit::cycles).sum();
            self.distrust(Incomplete::Evicted, out);
            self.owed = owed;
        }
        if self.beside() {
            self.aside = Some(Box::new(unit));
            return;
        }
        if unit.own && self.queue_heap() + unit.heap() > MAX_HEAP {
            (unit.statement, unit.textless) = (None, true);
        }
        self.heap += unit.heap();
        if self.units.capacity() == 0 {
            // Most connections have one request under way.
            self.units.reserve_exact(1);
        }
        let grows = self.units.len() == self.units.capacity();
        self.units.push_back(unit);
        if grows {
            self.drop_texts();
            self.limit();
        }
    }

    /// The newest unit becomes part of the run in front of it, if it is like those.
    fn fold(&mut self) {
        let newest = self.units.len().wrapping_sub(1);
        let before = self.units.get(newest.wrapping_sub(1)).zip(self.units.get(newest));
        let Some(again) = before.and_then(|(before, unit)| before.again(unit)) else { return };
        if self.folded >= MAX_FOLDED {
            return;
        }
        self.units.pop_back();
        self.folded += 1;
        if let Some(unit) = self.units.back_mut() {
            let heap = unit.heap();
            unit.repeat(again);
            self.heap = self.heap + unit.heap() - heap;
        }
    }

    /// Gives up texts, the newest first, for which there is no room.
    fn drop_texts(&mut self) {
        let mut excess = self.queue_heap().saturating_sub(MAX_HEAP);
        for unit in self.units.iter_mut().rev().filter(|unit| unit.own) {
            if excess == 0 {
                break;
            }
            let before = unit.heap();
            unit.textless |= unit.statement.take().is_some();
            let freed = before - unit.heap();
            self.heap -= freed;
            excess = excess.saturating_sub(freed);
        }
    }

    /// Forgets statements for which there is no room.
    fn limit(&mut self) {
        let room = MAX_HEAP.saturating_sub(self.queue_heap());
        self.statements.limit(room);
    }

    /// One more message of the newest unit.
    fn join(&mut self, step: Step, place: &Place) -> bool {
        let joined = self.newest().is_some_and(|unit| unit.push(step));
        if joined {
            self.extend(place.last);
        }
        joined
    }

    /// The newest unit reaches to this byte.
    fn extend(&mut self, last: Mark) {
        let Some(unit) = self.newest() else { return };
        let before = unit.heap();
        unit.extend(last);
        let after = unit.heap();
        if !self.beside() {
            self.heap = self.heap + after - before;
        }
    }

    /// A message that belongs to no exchange.
    fn append(&mut self, step: Step, place: &Place, out: &mut Output) {
        if self.beside() || self.units.back_mut().is_some_and(|unit| unit.push(step)) {
            return;
        }
        self.push(Unit::new(step, place.first, place.last, Gives::Nothing), out);
    }

    /// The newest unit does not go on.
    fn close_unit(&mut self) {
        self.open = None;
        if self.units.back().is_some_and(|unit| unit.steps.is_empty()) {
            // It was answered already, and is alone therefore.
            self.drop_first();
        }
    }

    /// The newest unit is an exchange.
    fn begin(&mut self, out: &mut Output) {
        if !self.beside() {
            return self.begin_at(self.units.len().saturating_sub(1), out);
        }
        let Some(mut unit) = self.aside.take() else { return };
        self.owe(unit.cycles());
        unit.id = self.id();
        out.begun(unit.id, self.role.requests(), unit.first);
        if self.trust == Trust::Unsure {
            self.give_up(*unit, Incomplete::Gap, out);
        } else {
            let exchange = exchange(&mut unit, None, self.role, &self.database);
            self.give(not_executed(exchange), out);
        }
    }

    /// More was asked while it is known how much is owed.
    fn owe(&mut self, cycles: u32) {
        if self.owed > 0 {
            self.owed = self.owed.saturating_add(cycles);
        }
    }

    fn begin_at(&mut self, index: usize, out: &mut Output) {
        let id = self.id();
        let Some(unit) = self.units.get_mut(index) else { return };
        (unit.id, unit.gives) = (id, Gives::Exchange);
        out.begun(id, self.role.requests(), unit.first);
        if let Some(answer) = self.answer.as_ref().filter(|_| index == 0) {
            out.answered(id, answer.first);
        }
    }

    fn id(&mut self) -> ExchangeId {
        let id = ExchangeId(self.next);
        self.next += 1;
        id
    }

    fn first_step(&mut self) -> Option<Step> {
        loop {
            match self.units.front()?.steps.first()? {
                Step::CopyEnd => self.pop(),
                step => return Some(step),
            }
        }
    }

    /// The oldest step is done with.
    fn pop(&mut self) {
        let Some(unit) = self.units.front_mut() else { return };
        unit.steps.pop();
        if unit.steps.is_empty() && (self.units.len() > 1 || self.open.is_none()) {
            self.drop_first();
        }
    }

    /// The oldest unit is done with; the next like it takes its place.
    fn drop_first(&mut self) {
        self.answer = None;
        let Some(unit) = self.units.front_mut() else { return };
        let heap = unit.heap();
        if unit.advance() {
            self.heap = self.heap + unit.heap() - heap;
            self.folded -= 1;
            return;
        }
        self.units.pop_front();
        self.heap = if self.units.is_empty() { 0 } else { self.heap - heap };
        if self.units.is_empty() && self.units.capacity() > 1 {
            self.units = VecDeque::new();
        }
    }

    /// The oldest unit is being answered.
    fn answering(&mut self, first: Mark, out: &mut Output) {
        let Some(unit) = self.units.front().filter(|unit| unit.gives != Gives::Nothing) else { return };
        if self.answer.is_none() {
            self.answer = Some(Answer::new(first));
            if unit.gives == Gives::Exchange {
                out.answered(unit.id, first);
            }
        }
    }

    /// A command tag that does not belong to the oldest unit's statement. Only looked at on trial: while nothing is lost, the
    /// order is proof enough.
    fn contradicts(&self, kind: u8, tag: &[u8]) -> bool {
        let first = self.answer.as_ref().is_none_or(|answer| answer.results == 0);
        if kind != b'C' || !first || !matches!(self.trust, Trust::Trial { .. }) {
            return false;
        }
        let asked = self.units.front().and_then(|unit| unit.statement.as_ref()?.verb);
        matches!((asked, Verb::of(tag)), (Some(asked), Some(done)) if asked != done)
    }

    /// The server reads COPY data: it passes over Sync up to their end.
    fn copy_begins(&mut self) {
        self.copying = true;
        let mut first = true;
        for unit in &mut self.units {
            if unit.steps.remove_syncs(first) {
                self.copying = false;
                break;
            }
            first = false;
        }
    }

    /// What follows an error in the extended protocol is passed over up to the next Sync.
    fn pass_over(&mut self, out: &mut Output) {
        while let Some(unit) = self.units.front_mut() {
            let Some(step) = unit.steps.first() else {
                self.drop_first();
                continue;
            };
            if step == Step::Sync {
                return;
            }
            unit.steps.pop();
            match step {
                Step::Parse => self.statements.not_parsed(),
                Step::Function | Step::Query => self.statements.cycle_ended(false),
                _ => {}
            }
            if matches!(step, Step::Execute | Step::Function | Step::Query) && unit.gives == Gives::Exchange {
                let exchange = self.take_first(None);
                exchange.into_iter().for_each(|exchange| self.give(not_executed(exchange), out));
            }
        }
        self.open = None;
        self.skipping = true;
    }

    fn unexpected(&mut self, out: &mut Output) {
        if self.trust != Trust::Unsure || !self.units.is_empty() {
            self.distrust(Incomplete::Desync, out);
        }
    }
}
