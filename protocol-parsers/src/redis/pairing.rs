//! Which reply answers which command, and how sure that is.
//!
//! In: commands and replies, already told apart from what is out of band. Out: `Begun`, `Answered` and `Done`.
//!
//! Redis answers in the order of the commands, so a queue pairs them while every byte is accounted for. After a loss, or when
//! the connection was joined in the middle, commands nobody saw may still be owed a reply. Each of their replies comes when no
//! known command is waiting, or is of a kind its command is never answered with; so what is paired from then on is *on
//! trial*: finished exchanges are held, and such a reply takes the replies from all of them. The trial ends well when the queue
//! has drained [`DRAINS`] times without one (behind a loss of replies alone: [`DRAINS_REPLIES`]), after a second of silence with nothing waiting, or with a connection that ends in
//! order.
//!
//! What remains supposed: a client that keeps exactly as many more commands under way than are known never lets go of them for
//! that long. Clients that were seen to send while they wait (multiplexers) have to drain [`MULTIPLEXED`] times as often.

use std::collections::VecDeque;

use super::given::{exchange, unpaired};
use super::reply::Code;
use super::table::{Effect, replies};
use super::waiting::{Answer, Asked, Entry, Fate, Waiting};
use crate::contract::{Mark, Role};
use crate::exchange::{Details, Emitted, Exchange, ExchangeId, Incomplete, Outcome, Output, Shape, Side};

/// Commands that may wait for their reply: 32 KiB of them. What comes beyond is given out at once as `desync`, and its reply
/// counted.
const MAX_WAITING: usize = 255;

/// Texts of waiting commands.
const MAX_TEXTS: usize = 13 * 1024;

/// Exchanges that may be held on trial, about 600 bytes each. Beyond, they are given up.
const MAX_HELD: usize = 24;

/// Drains that end a trial: behind a loss of commands, or where the connection was joined.
const DRAINS: u8 = 16;
/// Behind a loss of replies alone: every command is known, so that the replies still owed come first, and soon.
const DRAINS_REPLIES: u8 = 2;
/// Times as many for a multiplexer.
const MULTIPLEXED: u8 = 4;

/// How well the queue is known to stand for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Sure,
    /// `asked`: a command came since it began. `left`: times to drain.
    Trial {
        left: u8,
        asked: bool,
    },
}

/// The queue of one connection.
pub(super) struct Pairing {
    queue: VecDeque<Entry>,
    /// Texts of the queue's known commands, then that of the command being read.
    pub(super) texts: String,
    /// Where the first one begins.
    read: usize,
    #[expect(clippy::vec_box, reason = "they leave in their boxes")]
    held: Vec<Box<Exchange>>,
    /// `MONITOR`, whose reply never ends.
    monitor: Option<Box<Exchange>>,
    trust: Trust,
    next: u64,
    /// The reply to the first command in the queue, as far as it came.
    answer: Option<Side>,
    /// What was known of it from its first bytes.
    said: Answer,
    /// The selected database, where known.
    database: Option<u32>,
    /// A `SELECT` waits for `EXEC`.
    select_queued: bool,
    /// A command came while others waited, behind a reply.
    multiplexed: bool,
    /// Replies came since the last command.
    turned: bool,
    /// Something happened since the last tick.
    active: bool,
}

/// What of it stays while nothing waits.
pub(super) struct Lasting {
    trust: Trust,
    next: u64,
    database: Option<u32>,
    select_queued: bool,
    multiplexed: bool,
    turned: bool,
}

impl Default for Lasting {
    fn default() -> Self {
        // "New connections always use the database 0."
        Self { trust: Trust::Sure, next: 0, database: Some(0), select_queued: false, multiplexed: false, turned: false }
    }
}

impl Pairing {
    pub(super) fn new(Lasting { trust, next, database, select_queued, multiplexed, turned }: Lasting) -> Self {
        Self {
            queue: VecDeque::new(),
            texts: String::new(),
            read: 0,
            held: Vec::new(),
            monitor: None,
            trust,
            next,
            answer: None,
            said: Answer::default(),
            database,
            select_queued,
            multiplexed,
            turned,
            active: false,
        }
    }

    /// What stays, if nothing waits.
    pub(super) fn rest(&self) -> Option<Lasting> {
        let Self { trust, next, database, select_queued, multiplexed, turned, .. } = *self;
        let waits = !self.queue.is_empty() || !self.held.is_empty() || self.monitor.is_some() || self.answer.is_some();
        (!waits).then_some(Lasting { trust, next, database, select_queued, multiplexed, turned })
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        let exchange = |exchange: &Exchange| size_of::<Exchange>() + exchange.text.capacity();
        self.queue.capacity() * size_of::<Entry>()
            + self.texts.capacity()
            + self.held.capacity() * size_of::<Box<Exchange>>()
            + self.held.iter().chain(&self.monitor).map(|held| exchange(held)).sum::<usize>()
    }

    /// What the oldest waiting command does.
    pub(super) fn front(&self) -> Option<Effect> {
        match self.queue.front()? {
            Entry::Known(waiting) => Some(waiting.asked.effect),
            Entry::Told(_) => Some(Effect::None),
        }
    }

    /// Whether a reply may be that of the oldest waiting command, as far as its kind tells. Where nothing was lost it is,
    /// whatever the table says: a module or a proxy may answer otherwise.
    pub(super) fn may_be_answered_with(&self, kind: u8) -> bool {
        match self.queue.front() {
            Some(Entry::Known(Waiting { asked, sure: false, .. })) => asked.replies & (kind | replies::ANY) != 0,
            Some(Entry::Known(_) | Entry::Told(_)) => true,
            None => false,
        }
    }

    /// The reply to the oldest waiting command began.
    pub(super) fn is_answering(&self) -> bool {
        self.answer.is_some()
    }

    pub(super) fn is_monitored(&self) -> bool {
        self.monitor.is_some()
    }

    /// A command begins.
    #[inline(always)]
    pub(super) fn begins(&mut self, role: Role, first: Mark, out: &mut Output) -> ExchangeId {
        let id = ExchangeId(self.next);
        self.next += 1;
        self.active = true;
        let multiplexed = self.multiplexed || self.turned && !self.queue.is_empty();
        self.turned = false;
        if !std::mem::replace(&mut self.multiplexed, multiplexed)
            && multiplexed
            && let Trust::Trial { left, .. } = &mut self.trust
        {
            *left = left.saturating_mul(MULTIPLEXED);
        }
        if let Trust::Trial { left, asked } = self.trust {
            let left = left.saturating_sub(u8::from(asked && self.queue.is_empty()));
            self.trust = Trust::Trial { left, asked: true };
            if left == 0 {
                self.release(out);
            }
        }
        if self.texts.capacity() == 0 {
            // Doubled from here, it ends at 16 KiB.
            self.texts.reserve_exact(256);
        }
        out.begun(id, role.requests(), first);
        id
    }

    /// A command was read; its reply is to come.
    #[inline(always)]
    pub(super) fn asked(&mut self, id: ExchangeId, role: Role, asked: Asked, out: &mut Output) {
        self.active = true;
        let answers = u64::from(asked.answers.max(1));
        if self.queue.len() < MAX_WAITING && self.texts.len() - self.read <= MAX_TEXTS {
            let sure = self.trust == Trust::Sure;
            return self.queue.push_back(Entry::Known(Waiting { id, asked, sure }));
        }
        self.give_out(id, role, asked, Some(Incomplete::Desync), out);
        match self.queue.back_mut() {
            Some(Entry::Told(replies)) => *replies += answers,
            _ => self.queue.push_back(Entry::Told(answers)),
        }
    }

    /// A command was read that is not answered, or whose reply cannot be known.
    pub(super) fn give_out(
        &mut self,
        id: ExchangeId,
        role: Role,
        mut asked: Asked,
        why: Option<Incomplete>,
        out: &mut Output,
    ) {
        let start = self.texts.len().saturating_sub(usize::from(asked.text));
        if !asked.known {
            asked.unname();
        }
        let mut exchange = exchange(id, role, &asked, self.texts.get(start..).unwrap_or_default(), "", None);
        match why {
            Some(why) => exchange.incomplete.insert(why),
            None => exchange.shape = Shape::OneWay,
        }
        self.texts.truncate(start);
        out.emitted.push(Emitted::Done(exchange));
    }

    /// The reply to the oldest command begins.
    #[inline(always)]
    pub(super) fn answer_begins(&mut self, first: Mark, said: Answer, out: &mut Output) {
        self.turned();
        self.said = said;
        if let Some(Entry::Known(Waiting { id, .. })) = self.queue.front()
            && self.answer.is_none()
        {
            out.answered(*id, first);
            self.answer = Some(Side { first, last: first, bytes: 0 });
        }
    }

    /// Bytes of it.
    #[inline(always)]
    pub(super) fn answer_bytes(&mut self, len: u64, last: Mark) {
        if let Some(side) = &mut self.answer {
            side.bytes += len;
            side.last = last;
        }
    }

    /// It ended. `failed`: with this error among its elements. `more`: this was one confirmation, of which more are to come.
    /// Whether what was asked for is done.
    pub(super) fn answer_ends(&mut self, role: Role, failed: Option<Code>, more: bool, out: &mut Output) -> bool {
        if failed.is_some() && self.said.error.is_none() {
            self.said.error = failed;
        }
        let done = self.said.error.is_none() && !self.said.queued;
        match self.queue.front_mut() {
            Some(Entry::Told(left @ 2..)) => *left -= 1,
            Some(Entry::Known(waiting)) if more => waiting.asked.answers = waiting.asked.answers.saturating_sub(1),
            Some(_) => self.finish(role, None, out),
            None => {}
        }
        done
    }

    /// Confirmations that the oldest command still waits for; 0: not known how many.
    pub(super) fn answers(&self) -> u32 {
        match self.queue.front() {
            Some(Entry::Known(waiting)) => waiting.asked.answers,
            Some(Entry::Told(_)) | None => 1,
        }
    }

    /// The oldest command is done.
    fn finish(&mut self, role: Role, why: Option<Incomplete>, out: &mut Output) {
        // What it has said of another is of no use to a command without an answer.
        let answer = if self.answer.is_some() { &self.said } else { &Answer::default() };
        let Some(Entry::Known(Waiting { id, asked, sure })) = self.queue.front_mut() else {
            self.queue.pop_front();
            return;
        };
        let (id, sure) = (*id, *sure);
        let side = self.answer.take();
        let end = self.read + usize::from(asked.text);
        let code = answer.error.as_ref().map(Code::str).unwrap_or_default();
        let answered = side.is_some() && why.is_none();
        // Cut short, but for a transaction its beginning says whether it failed.
        let known = answered || asked.effect != Effect::Exec || answer.error.is_some();
        // What the server took for a command is one; nothing of what may be anything else.
        let named = asked.known || side.is_some() && answer.error.is_none();
        let text = if named { self.texts.get(self.read..end).unwrap_or_default() } else { "" };
        if !named {
            asked.unname();
        }
        let mut exchange = exchange(id, role, asked, text, code, self.database);
        self.read = end;
        exchange.response = side;
        if side.is_some() {
            exchange.outcome = match answer {
                Answer { error: Some(_), .. } => Some(Outcome::Error),
                _ if answer.queued || !known => None,
                _ => Some(Outcome::Ok),
            };
            if let Details::Db(db) = &mut exchange.details {
                db.batch = answer
                    .batch
                    .filter(|_| answered)
                    .and_then(|batch| u32::try_from(batch).ok())
                    .filter(|batch| *batch != 1);
            }
        }
        if let Some(why) = why {
            exchange.incomplete.insert(why);
        }
        let (effect, index) = (asked.effect, asked.index);
        let fate = match answer {
            _ if !answered => Fate::Unknown,
            Answer { error: Some(_), .. } => Fate::Failed,
            Answer { queued: true, .. } => Fate::Queued,
            Answer { .. } => Fate::Done,
        };
        self.queue.pop_front();
        self.selected(effect, index, fate);
        self.tidy();
        if effect == Effect::Monitor && sure && fate == Fate::Done {
            exchange.shape = Shape::Stream;
            self.monitor = Some(exchange);
        } else if sure {
            out.emitted.push(Emitted::Done(exchange));
        } else if self.held.len() < MAX_HELD {
            self.held.push(exchange);
        } else {
            unpaired(exchange, out);
        }
    }

    /// What a command and its fate say of the selected database. `index`: the one it asked for.
    fn selected(&mut self, effect: Effect, index: Option<u32>, fate: Fate) {
        match (effect, fate) {
            (Effect::Select | Effect::Reset, Fate::Unknown) => self.database = None,
            (Effect::Select, Fate::Queued) => self.select_queued = true,
            (Effect::Select, Fate::Done) => self.database = index,
            (Effect::Reset, Fate::Done | Fate::Queued) => (self.database, self.select_queued) = (Some(0), false),
            // Whether what was queued succeeded is not looked at.
            (Effect::Exec, _) if std::mem::take(&mut self.select_queued) => self.database = None,
            _ => {}
        }
    }

    /// Gives back the texts nobody needs any more.
    fn tidy(&mut self) {
        if self.read == self.texts.len() {
            self.texts.clear();
            self.read = 0;
        } else if self.read > 1024 {
            self.texts.drain(..self.read);
            self.read = 0;
        }
    }

    /// A reply came that no known command can be answered with: somebody else's.
    pub(super) fn surplus(&mut self, out: &mut Output) {
        self.turned();
        self.retract(out);
        self.doubt(DRAINS);
        self.database = None;
    }

    /// Commands may be hidden from here on. Older ones are answered before them.
    pub(super) fn requests_lost(&mut self) {
        self.active = true;
        self.doubt(DRAINS);
        self.database = None;
    }

    fn doubt(&mut self, drains: u8) {
        let times = if self.multiplexed { MULTIPLEXED } else { 1 };
        self.trust = Trust::Trial { left: drains.saturating_mul(times), asked: false };
    }

    /// Replies may be hidden from here on: which of the commands are still to be answered is not known.
    pub(super) fn responses_lost(&mut self, role: Role, why: Incomplete, out: &mut Output) {
        self.turned();
        self.retract(out);
        if let Some(monitor) = &mut self.monitor {
            monitor.incomplete.insert(why);
        }
        if self.trust == Trust::Sure {
            self.give_up(role, why, out);
            self.doubt(DRAINS_REPLIES);
        } else {
            self.give_up(role, why, out);
            self.doubt(DRAINS);
            self.database = None;
        }
    }

    /// Gives out all that waits.
    pub(super) fn give_up(&mut self, role: Role, why: Incomplete, out: &mut Output) {
        while let Some(entry) = self.queue.front_mut() {
            match entry {
                Entry::Told(_) => {
                    self.queue.pop_front();
                }
                Entry::Known(waiting) => {
                    if !std::mem::replace(&mut waiting.sure, true) {
                        // What began may be another's.
                        self.answer = None;
                    }
                    self.finish(role, Some(why), out);
                }
            }
        }
    }

    /// A line of `MONITOR`.
    pub(super) fn monitored(&mut self, len: u64, last: Mark) {
        self.turned();
        if let Some(side) = self.monitor.as_mut().and_then(|monitor| monitor.response.as_mut()) {
            side.bytes += len;
            side.last = last;
        }
    }

    /// `MONITOR` ended: by another reply, or with the connection.
    pub(super) fn monitor_ends(&mut self, why: Option<Incomplete>, out: &mut Output) {
        if let Some(mut monitor) = self.monitor.take() {
            if let Some(why) = why {
                monitor.incomplete.insert(why);
            }
            out.emitted.push(Emitted::Done(monitor));
        }
    }

    /// Bytes of the response direction came.
    pub(super) fn turned(&mut self) {
        self.turned = true;
        self.active = true;
    }

    /// Nothing will be answered any more. `proven`: nor was anything that is not known of.
    pub(super) fn end(&mut self, role: Role, why: Incomplete, proven: bool, out: &mut Output) {
        if proven && self.queue.is_empty() && matches!(self.trust, Trust::Trial { asked: true, .. }) {
            self.release(out);
        }
        self.retract(out);
        self.give_up(role, why, out);
        self.monitor_ends((!proven).then_some(why), out);
    }

    /// About a second passed.
    pub(super) fn tick(&mut self, reading: bool, out: &mut Output) {
        if std::mem::take(&mut self.active) {
            return;
        }
        if self.queue.is_empty() && !reading && matches!(self.trust, Trust::Trial { asked: true, .. }) {
            self.release(out);
        }
    }

    /// The trial ended well.
    fn release(&mut self, out: &mut Output) {
        out.emitted.extend(self.held.drain(..).map(Emitted::Done));
        self.trust = Trust::Sure;
        self.queue.iter_mut().for_each(|entry| {
            if let Entry::Known(waiting) = entry {
                waiting.sure = true;
            }
        });
    }

    /// The trial ended badly: the held replies may belong to other commands.
    fn retract(&mut self, out: &mut Output) {
        self.held.drain(..).for_each(|exchange| unpaired(exchange, out));
    }
}
