//! Which answer belongs to which command, and how sure that is.
//!
//! In: commands, packets of answers and losses, already told apart by direction. Out: `Begun`, `Answered` and `Done`.
//!
//! A server answers in the order of the commands, so a queue pairs them; sequence ids must fit as well. After a loss it goes on
//! as [`crate::trial`] says (of the clients, MariaDB's connectors may pipeline), with finished exchanges held while on trial. An
//! answer too many takes from all of them the answers, and what was learnt from answers: the namespace, the texts of prepared
//! statements.

use std::collections::VecDeque;

use super::answer::{Answer, Ending, Then, Walk};
use super::command::Reply;
use super::packets::Front;
use super::session::{Effect, Session};
use super::waiting::{Command, Waiting, push_number, unpaired};
use crate::contract::{Malformed, Mark, Role};
use crate::exchange::{Db, Details, Emitted, Exchange, ExchangeId, Incomplete, Output, Side};
use crate::trial::{Trial, Verdict};

/// Commands that may wait for their answer: deeper pipelines than connectors build. Beyond, all are given up as `desync`.
const MAX_WAITING: usize = 48;

/// Exchanges that may be held on trial. Beyond, they are given up.
const MAX_HELD: usize = 16;

/// Bytes of waiting and held exchanges above which new ones go without their text.
const MAX_HEAP: usize = 20 * 1024;

/// The queue of one connection, and its session.
pub(super) struct Pairing {
    pub(super) session: Session,
    waiting: VecDeque<Waiting>,
    /// With what their `Waiting::learnt` was.
    held: Vec<(Box<Exchange>, bool)>,
    trial: Trial,
    next: u64,
    /// Commands that left the queue: another number, another command is the oldest.
    pub(super) gone: u32,
    /// The newest command in the queue is still being received.
    receiving: bool,
    /// The oldest is: a packet of a file, or of an authentication.
    sending: bool,
    /// The oldest command in the queue is being answered.
    pub(super) answering: bool,
    walk: Walk,
    /// How the answer ends with its current packet.
    ending: Option<Ending>,
    /// The server asked for a file.
    uploading: bool,
    /// The sequence id of the frame of the compressed protocol that begins with the next packet.
    frame: Option<u8>,
}

/// What of it stays while nothing waits.
#[derive(Default)]
pub(super) struct Lasting {
    session: Session,
    trial: Trial,
    next: u64,
    gone: u32,
}

impl Lasting {
    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.session.heap()
    }
}

impl Pairing {
    pub(super) fn new(Lasting { session, trial, next, gone }: Lasting) -> Self {
        Self {
            session,
            waiting: VecDeque::new(),
            held: Vec::new(),
            trial,
            next,
            gone,
            receiving: false,
            sending: false,
            answering: false,
            walk: Walk::new(),
            ending: None,
            uploading: false,
            frame: None,
        }
    }

    /// What stays, if nothing waits.
    pub(super) fn rest(&mut self) -> Option<Lasting> {
        let Self { trial, next, gone, receiving, sending, answering, uploading, .. } = *self;
        let waits = !self.waiting.is_empty() || !self.held.is_empty() || receiving || sending || answering || uploading;
        (!waits).then(|| Lasting { session: std::mem::take(&mut self.session), trial, next, gone })
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.waiting.capacity() * size_of::<Waiting>()
            + self.held.capacity() * size_of::<(Box<Exchange>, bool)>()
            + self.exchanges()
            + self.session.heap()
    }

    fn exchanges(&self) -> usize {
        let waiting = self.waiting.iter().filter_map(|waiting| waiting.exchange.as_deref());
        let held = self.held.iter().map(|(held, _)| &**held);
        waiting.chain(held).map(|exchange| size_of::<Exchange>() + exchange.text.capacity()).sum()
    }

    fn on_trial(&self) -> bool {
        self.trial.is_on()
    }

    /// Whether the answer that is being received may have ended with what was received.
    pub(super) fn may_have_ended(&self) -> bool {
        self.answering && self.walk.may_have_ended(&self.session.format)
    }

    /// The sequence id with which the next answer must begin, and what it answers; `None`: none is expected.
    pub(super) fn expects(&self) -> Option<(u8, Reply)> {
        self.waiting.front().filter(|_| !self.answering).map(|first| (first.next, first.reply))
    }

    /// A frame of the compressed protocol begins; with a packet, if its sequence id is given: when a server has sent what it had, it
    /// goes on with the frames' sequence ids (`net_flush` of MySQL and MariaDB).
    pub(super) fn frame_begins(&mut self, seq: Option<u8>) {
        self.frame = seq;
    }

    /// The answer's end is not recognisable in its own bytes.
    pub(super) fn adrift(&self) -> bool {
        self.answering && self.walk.at == Answer::Open
    }

    /// The answer is among rows: what is expected of the next one's sequence id.
    pub(super) fn rows(&self) -> Option<u8> {
        if !self.answering || !matches!(self.walk.at, Answer::Rows { .. }) {
            return None;
        }
        self.waiting.front().map(|first| first.next)
    }

    /// A row may come next.
    pub(super) fn in_rows(&self) -> bool {
        self.answering && matches!(self.walk.at, Answer::ColumnsEnd | Answer::Rows { .. })
    }

    /// So many rows were taken at once.
    pub(super) fn count_rows(&mut self, rows: u64, next: u8) {
        self.frame = None;
        if let Some(first) = self.waiting.front_mut() {
            first.next = next;
            self.walk.rows = self.walk.rows.map(|seen| seen + rows);
        }
    }

    /// A command's front came. It is being received until [`Self::request_ended`].
    pub(super) fn request(&mut self, command: Command, role: Role, side: Side, out: &mut Output) {
        if self.may_have_ended() {
            self.end_silently(out);
        }
        self.uploading = false;
        match self.trial.asks(!self.waiting.is_empty()) {
            Verdict::Stands => {}
            Verdict::Passed => self.release(out),
            Verdict::Failed => {
                self.distrust(Incomplete::Gap, out);
                self.trial.begin(true);
            }
        }
        let Command { reply, effect, asked } = command;
        let statement = asked.as_ref().and_then(|asked| asked.statement);
        let mut exchange = asked.map(|asked| {
            let id = ExchangeId(self.next);
            self.next += 1;
            out.begun(id, role.requests(), side.first);
            let others = self.waiting.len() + self.held.len();
            let room = others == 0 || self.exchanges() + asked.text.capacity() <= MAX_HEAP;
            asked.begin(id, role, side, room)
        });
        self.receiving = !self.trial.is_unsure() && self.waiting.len() < MAX_WAITING;
        if self.receiving {
            let mut waiting = Waiting { exchange, reply, effect, statement, learnt: false, next: 1 };
            waiting.name(&mut self.session);
            self.waiting.push_back(waiting);
            return;
        }
        let why = if self.trial.is_unsure() { Incomplete::Gap } else { Incomplete::Desync };
        if why == Incomplete::Desync {
            self.distrust(why, out);
        }
        if let Some(mut exchange) = exchange.take() {
            exchange.incomplete.insert(why);
            out.emitted.push(Emitted::Done(exchange));
        }
    }

    /// A client's packet came that goes on with the oldest command, if there is one that may: not with sequence id 0.
    pub(super) fn continued(&mut self, taken: u64, last: Mark) -> bool {
        let auth = self.waiting.front().is_some_and(|first| first.reply == Reply::Auth);
        (self.receiving, self.sending) = (false, self.uploading || auth);
        self.request_bytes(taken, last);
        self.sending
    }

    fn sender(&mut self) -> Option<&mut Waiting> {
        match (self.receiving, self.sending) {
            (true, _) => self.waiting.back_mut(),
            (false, true) => self.waiting.front_mut(),
            (false, false) => None,
        }
    }

    /// More bytes of the client's message.
    pub(super) fn request_bytes(&mut self, len: u64, last: Mark) {
        self.trial.moved();
        if let Some(exchange) = self.sender().and_then(|waiting| waiting.exchange.as_deref_mut()).filter(|_| len > 0) {
            exchange.request.bytes += len;
            exchange.request.last = last;
        }
    }

    /// The client's message was received to its end, which has this sequence id.
    pub(super) fn request_ended(&mut self, seq: u8) {
        if let Some(waiting) = self.sender() {
            waiting.next = seq.wrapping_add(1);
        }
        (self.receiving, self.sending) = (false, false);
    }

    /// The request direction lost its place; commands may be hidden from here on.
    pub(super) fn request_lost(&mut self, why: Incomplete, out: &mut Output) {
        self.trial.moved();
        if let Some(exchange) = self.sender().and_then(|last| last.exchange.as_deref_mut()) {
            exchange.incomplete.insert(why);
        }
        (self.receiving, self.sending, self.uploading) = (false, false, false);
        if self.on_trial() {
            return self.distrust(why, out);
        }
        // Commands from before the loss are still answered first, in their order; what they change, others may change again.
        self.trial.lost();
        self.session.forget();
        self.waiting.iter_mut().for_each(|waiting| waiting.effect = Effect::Nothing);
    }

    /// A handshake was found: the connection begins here, or its plaintext does, and no command is hidden in front of it.
    pub(super) fn begins(&mut self) {
        if self.waiting.is_empty() && self.held.is_empty() {
            self.trial = Trial::default();
        }
    }

    /// Bytes of the response direction came.
    pub(super) fn turn(&mut self) {
        self.trial.turned();
    }

    /// The front of a packet of the response direction. False: no known command can be meant.
    pub(super) fn response(&mut self, front: &Front<'_>, last: Mark, out: &mut Output) -> Result<bool, Malformed> {
        if self.may_have_ended() && !self.adrift() {
            let eof = front.len == 5 && front.bytes.first() == Some(&0xfe);
            if !eof || self.waiting.front().is_none_or(|first| first.next != front.seq) {
                self.end_silently(out);
            }
        }
        if self.waiting.is_empty() {
            self.distrust(Incomplete::Gap, out);
            return Ok(false);
        }
        let Some(first) = self.waiting.front_mut() else { return Ok(false) };
        if front.seq != first.next && self.frame != Some(front.seq) {
            return Err(Malformed("an answer out of sequence"));
        }
        self.frame = None;
        if !self.answering {
            self.walk = Walk::new();
        }
        let then = self.walk.step(first.reply, front, &mut self.session.format)?;
        if !self.answering {
            self.answering = true;
            first.name(&mut self.session);
            if let Some(exchange) = &mut first.exchange {
                exchange.response = Some(Side { first: front.first, last, bytes: front.taken });
                out.answered(exchange.id, front.first);
            }
        }
        self.uploading = then == Then::Upload;
        self.ending = match then {
            Then::On | Then::Upload => None,
            Then::Ok => Some(Ending::Ok),
            Then::Err(number) => Some(Ending::Err(number)),
            Then::Prepared { id, ended } => {
                if let (Effect::Prepares { moves, summary }, Some(exchange)) = (&first.effect, &first.exchange)
                    && let Details::Db(Db { query, .. }) = exchange.details
                {
                    // Of a text that was cut off nothing is told later, when nothing says that it was.
                    let whole = !exchange.incomplete.contains(Incomplete::Truncated);
                    let text = [query, *summary].map(|span| span.filter(|_| whole).map(|span| exchange.text.str(span)));
                    self.session.statements.insert(id, text, *moves);
                }
                ended.then_some(Ending::Ok)
            }
        };
        Ok(true)
    }

    /// More bytes of the answer.
    pub(super) fn response_bytes(&mut self, len: u64, last: Mark) {
        let answered = self.waiting.front_mut().filter(|_| self.answering && len > 0);
        if let Some(side) = answered.and_then(|first| first.exchange.as_mut()).and_then(|one| one.response.as_mut()) {
            side.bytes += len;
            side.last = last;
        }
    }

    /// A packet of the answer ended, which has this sequence id.
    pub(super) fn response_packet_ended(&mut self, seq: u8, out: &mut Output) {
        if let Some(first) = self.waiting.front_mut().filter(|_| self.answering) {
            first.next = seq.wrapping_add(1);
        }
        if let Some(ending) = self.ending.take() {
            self.finish(ending, out);
        }
    }

    /// An answer of which it was not certain whether anything follows turned out to be over.
    fn end_silently(&mut self, out: &mut Output) {
        if self.adrift() {
            return self.finish(Ending::Unknown, out);
        }
        self.session.format.no_eof = Some(true);
        self.finish(Ending::Ok, out);
    }

    /// The response direction lost its place: ends and beginnings of answers may be hidden. `counted`: how many bytes are
    /// missing is known, so that the answer goes on without being read.
    pub(super) fn response_lost(&mut self, why: Incomplete, counted: bool, out: &mut Output) {
        self.turn();
        self.ending = None;
        if self.on_trial() {
            return self.distrust(why, out);
        }
        if self.answering {
            if let Some(exchange) = self.waiting.front_mut().and_then(|first| first.exchange.as_deref_mut()) {
                exchange.incomplete.insert(why);
            }
            if counted
                && self.waiting.len() == 1
                && self.trial.is_sure()
                && !self.trial.is_pipelined()
                && !self.uploading
            {
                self.walk.at = Answer::Open;
                return;
            }
            self.finish(Ending::Unknown, out);
        } else {
            // The loss began where an answer was to begin.
            self.give_up_first(why, out);
        }
        if self.trial.is_unsure() {
            self.give_up_all(why, out);
        } else {
            // A loss is noticed late: these came while answers were lost, each when the one before was answered.
            while self.waiting.len() > 1 {
                self.give_up_first(why, out);
            }
            self.trial.begin(false);
        }
    }

    /// The connection ended, or its response direction: nothing will be answered any more. `proven`: nor was anything that is
    /// not known of.
    pub(super) fn end(&mut self, why: Incomplete, proven: bool, out: &mut Output) {
        if self.may_have_ended() {
            self.end_silently(out);
        }
        if self.trial.has_asked() && proven && !self.answering {
            self.release(out);
        } else if self.trial.is_on() {
            // An answer that does not end may be another command's.
            self.distrust(why, out);
        }
        self.give_up_all(why, out);
    }

    /// About a second passed. `between`: no message is being received; a part of one that nobody comes to end was no part of one.
    pub(super) fn tick(&mut self, between: bool, out: &mut Output) {
        if !self.trial.idle() {
            return;
        }
        if self.may_have_ended() && !self.adrift() {
            self.end_silently(out);
        }
        if self.waiting.is_empty() && self.trial.has_asked() && between {
            self.release(out);
        }
    }

    /// Gives out the oldest command, whose answer ended.
    fn finish(&mut self, ending: Ending, out: &mut Output) {
        (self.answering, self.uploading, self.ending) = (false, false, None);
        self.gone = self.gone.wrapping_add(1);
        let Some(Waiting { exchange, effect, learnt, .. }) = self.waiting.pop_front() else { return };
        self.receiving &= !self.waiting.is_empty();
        // What enters a database is shown in it, everything else where it began.
        let enters = matches!(effect, Effect::Enters(_) | Effect::EntersAny);
        if enters {
            self.session.apply(&effect, ending.outcome(), self.walk.several);
        }
        if let Some(exchange) = exchange {
            self.give(exchange, learnt, ending, out);
        }
        if !enters {
            self.session.apply(&effect, ending.outcome(), self.walk.several);
        }
    }

    fn give(&mut self, mut exchange: Box<Exchange>, learnt: bool, ending: Ending, out: &mut Output) {
        exchange.outcome = ending.outcome();
        let Exchange { details, text, .. } = &mut *exchange;
        if let Details::Db(db) = details {
            match ending {
                Ending::Ok => db.rows = self.walk.rows,
                Ending::Err(number) => db.status = Some(push_number(text, number)),
                Ending::Unknown => {}
            }
            self.session.locate(db, text);
        }
        if self.walk.several && exchange.incomplete.contains(Incomplete::Truncated) {
            // What was not read of its text may have moved.
            self.session.enter(None);
        }
        if !self.on_trial() {
            out.emitted.push(Emitted::Done(exchange));
        } else if self.held.len() < MAX_HELD {
            self.held.push((exchange, learnt));
        } else {
            unpaired(exchange, learnt, out);
        }
    }

    /// The trial ended well.
    fn release(&mut self, out: &mut Output) {
        out.emitted.extend(std::mem::take(&mut self.held).into_iter().map(|(exchange, _)| Emitted::Done(exchange)));
        self.trial.passed();
    }

    /// Nothing known is known to belong together.
    fn distrust(&mut self, why: Incomplete, out: &mut Output) {
        std::mem::take(&mut self.held).into_iter().for_each(|(exchange, learnt)| unpaired(exchange, learnt, out));
        self.give_up_all(why, out);
        self.session.forget();
        self.trial.lost();
    }

    fn give_up_first(&mut self, why: Incomplete, out: &mut Output) {
        let Some(Waiting { exchange, effect, learnt, .. }) = self.waiting.pop_front() else { return };
        (self.answering, self.uploading, self.ending) = (false, false, None);
        self.gone = self.gone.wrapping_add(1);
        self.receiving &= !self.waiting.is_empty();
        self.session.apply(&effect, None, self.walk.several);
        let Some(mut exchange) = exchange else { return };
        exchange.incomplete.insert(why);
        if self.on_trial() {
            return unpaired(exchange, learnt, out);
        }
        let Exchange { details, text, .. } = &mut *exchange;
        if let Details::Db(db) = details {
            self.session.locate(db, text);
        }
        out.emitted.push(Emitted::Done(exchange));
    }

    fn give_up_all(&mut self, why: Incomplete, out: &mut Output) {
        while !self.waiting.is_empty() {
            self.give_up_first(why, out);
        }
        self.waiting = VecDeque::new();
    }
}
